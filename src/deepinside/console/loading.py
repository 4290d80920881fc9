"""Shows `Loading…` in a terminal while torch is imported, which takes seconds."""

import os
import sys
from collections.abc import Iterable

WORD = "Loading…"
SHOWN: list[str] = []


def begin(words: Iterable[str]) -> None:
    """Show `Loading…` if the command line's `words` start a run that is not quiet, not for help or completion.

    Does nothing in a log or in a terminal that cannot erase the line.
    """
    options = {word for word in words if word.startswith("-")}
    able = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    if able and options <= {"-m", "--multirun", "--verbose", "--repeat"}:
        SHOWN.append(WORD)
        sys.stderr.write(WORD)
        sys.stderr.flush()


def end() -> None:
    """Erase `Loading…` if it is shown."""
    if SHOWN:
        SHOWN.clear()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
