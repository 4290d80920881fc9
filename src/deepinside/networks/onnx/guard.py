"""Turns every error over a damaged file into one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepinside.errors import DeepInsideError


@contextmanager
def one_sentence(file: str) -> Iterator[None]:
    """Turn any error that a library raises over a file into a `DeepInsideError` that names it, with the cause attached.

    A `DeepInsideError` that does not name the file gets the file's name in front.
    """
    try:
        yield
    except DeepInsideError as error:
        if Path(file).stem not in str(error):
            error.args = (f"{file}: {error}",)
        raise
    except (Exception, RecursionError) as error:
        words = " ".join(str(error).encode("utf-8", "replace").decode().split())[:200]
        raise DeepInsideError(
            f"{file} cannot be used: its graph is damaged or has something that is not supported "
            f"({type(error).__name__}{': ' if words else ''}{words}); export or fetch it again"
        ) from error
