"""Atomic writing of files, and relative links between pages."""

import os
from pathlib import Path
from urllib.parse import quote


def write_atomically(target: Path, data: bytes) -> None:
    """Write under a temporary name and rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def address(path: str, page: str = "index.html") -> str:
    """The link from `page` to `path`, both relative to the root, with special characters escaped."""
    return "../" * page.count("/") + quote(os.fsencode(path), safe="/=,+~@!-._")
