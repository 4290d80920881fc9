"""One word in a terminal from the start until there is something to say: torch takes seconds to load."""

import os
import sys

WORD = "Loading…"
SHOWN: list[str] = []


def begin() -> None:
    """Show the word; not in a log, nor in a terminal that cannot take it back."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        SHOWN.append(WORD)
        sys.stderr.write(WORD)
        sys.stderr.flush()


def over() -> None:
    """Take it back, if it is there."""
    if SHOWN:
        SHOWN.clear()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
