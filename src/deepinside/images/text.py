"""Lists and tables that people write."""

from pathlib import Path

from deepinside.errors import DeepInsideError


def read_text(path: Path) -> str:
    """The file's text, in UTF-8 with or without a mark at its beginning."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DeepInsideError(f"{path} cannot be read as text: {error}.") from error
