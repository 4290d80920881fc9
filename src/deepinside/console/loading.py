"""One word in a terminal from the start until there is something to say: torch takes seconds to load."""

import os
import sys
from collections.abc import Iterable

WORD = "Loading…"
SHOWN: list[str] = []


def begin(words: Iterable[str]) -> None:
    """Show the word if the command line's `words` ask for a run, and not for help, a list, a completion or silence.

    Not in a log, nor in a terminal that cannot take it back.
    """
    options = {word for word in words if word.startswith("-")}
    able = sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    if able and options <= {"-m", "--multirun", "--verbose", "--repeat"}:
        SHOWN.append(WORD)
        sys.stderr.write(WORD)
        sys.stderr.flush()


def over() -> None:
    """Take it back, if it is there."""
    if SHOWN:
        SHOWN.clear()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
