"""Files that are damaged in unforeseen ways end in one sentence, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepinside.errors import DeepInsideError


@contextmanager
def one_sentence(file: str) -> Iterator[None]:
    """Turn whatever libraries raise over a file into a `DeepInsideError` that names it; the cause stays attached.

    A `DeepInsideError` that names neither the file nor the network gets the file's name in front.
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
