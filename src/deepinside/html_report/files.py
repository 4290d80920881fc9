"""Files written so that nobody ever sees half of one, and the addresses that pages find each other by."""

import os
from pathlib import Path
from urllib.parse import quote


def write_aside(target: Path, data: bytes) -> None:
    """Write beside the target and rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        aside.write_bytes(data)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def address(path: str, page: str = "index.html") -> str:
    """The link from `page` to `path`, both relative to the root; names with `#`, `%`, blanks and umlauts included."""
    return "../" * page.count("/") + quote(os.fsencode(path), safe="/=,+~@!-._")
