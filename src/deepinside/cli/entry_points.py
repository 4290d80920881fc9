"""The console scripts: the three commands, and an end that takes nothing apart.

Python takes every module apart before a process ends: a second for torch, a seventh of a short run. The operating
system takes all back at once.
"""

import atexit
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from deepinside.console import loading

INTERRUPTED = 128 + signal.SIGINT
UNREAD = 128 + 13
"""Exit codes, as a shell tells of a process that these signals end: SIGINT, and SIGPIPE, which Windows has not got."""


def deepinside() -> None:
    loading.begin(sys.argv[1:])
    run("deepinside.cli.run")


def deepinside_model() -> None:
    run("deepinside.cli.model")


def deepinside_results() -> None:
    run("deepinside.cli.results")


def run(module: str) -> None:
    """Call the module's `main`, and end the process with the exit code that it returns or leaves with.

    Other threads are waited for, and what was registered with `atexit` since is called, as ever. A `main` that an
    exception ends, ends as ever too.
    """
    codes: list[int] = []
    atexit.register(lambda: leave(*codes))  # the last of all: they are called in the order opposite to registering
    try:
        sys.exit(import_module(module).main())
    except SystemExit as end:
        codes.append(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
        raise
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # once more, and it ends without a word
        codes.append(INTERRUPTED)
        sys.exit(say_interrupted())
    except BrokenPipeError:
        codes.append(UNREAD)
        silence()
        sys.exit(UNREAD)


def say_interrupted() -> int:
    name = Path(sys.argv[0]).name
    newline = "\n" if sys.stderr.isatty() else ""  # the terminal has written ^C
    said = "interrupted; what is finished is kept, and the same command goes on from there."
    print(f"{newline}{name}: {said}", file=sys.stderr)
    return INTERRUPTED


def silence() -> None:
    """Nobody reads what is printed any more, as behind `| head`: it goes nowhere from here on."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def leave(code: int | None = None) -> None:
    """End the process now, with nothing left unwritten; nothing where there is no code to end with."""
    if code is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            code = code or UNREAD
        sys.stderr.flush()
        os._exit(code)
