"""Reads text files in any common encoding."""

import codecs
import logging
from pathlib import Path

from deepinside.errors import DeepInsideError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks and their encodings; UTF-32 comes first, because its marks begin with those of UTF-16."""
LOG = logging.getLogger(__name__)


def read_text(path: Path) -> str:
    """The file's text, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark, or in Latin-1.

    Raises DeepInsideError for a file that cannot be read, and for one with zero bytes, which is no text.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise DeepInsideError(f"{path} cannot be read as text: {getattr(error, 'strerror', None) or error}.") from error
    return decoded(data, path)


def decoded(data: bytes, path: Path | str) -> str:
    """The text of a file's bytes; `path` is its path or URL, for messages."""
    try:
        text = data.decode(encoding(data, path))
    except ValueError as error:
        raise DeepInsideError(f"{path} cannot be read as text: {error}.") from error
    before, zero, _ = text.partition("\0")
    if zero:
        raise DeepInsideError(f"{path}, line {before.count(chr(10)) + 1}: expected text, found a zero byte.")
    return text


def encoding(data: bytes, path: Path | str) -> str:
    """The encoding of the bytes. Latin text in UTF-16 has a zero in every second byte."""
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    start = data[: min(len(data) // 2 * 2, 4096)]
    for name, zeros, others in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if zeros.count(0) * 2 > len(zeros) and not others.count(0):
            return name
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        LOG.warning("%s is not UTF-8 and was read as Latin-1.", path)
        return "cp1252" if can_decode(data, "cp1252") else "latin-1"
    return "utf-8"


def can_decode(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True
