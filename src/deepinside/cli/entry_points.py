"""The entry points of the three console scripts, which end the process without Python's teardown of modules.

That teardown takes a second for torch, 15 % of a short run; the operating system frees the memory at once.
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
"""The shell's exit codes for processes ended by SIGINT and by SIGPIPE, which Windows does not have."""


def deepinside() -> None:
    loading.begin(sys.argv[1:])
    run("deepinside.cli.run")


def deepinside_model() -> None:
    run("deepinside.cli.model")


def deepinside_results() -> None:
    run("deepinside.cli.results")


def run(module: str) -> None:
    """Call the module's `main` and end the process with its exit code.

    Other threads are joined, and functions registered with `atexit` are called, as usual. An exception in `main` ends
    the process as usual.
    """
    codes: list[int] = []
    atexit.register(lambda: leave(*codes))  # called last: atexit runs in reverse order of registration
    try:
        sys.exit(import_module(module).main())
    except SystemExit as end:
        codes.append(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
        raise
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends the process silently
        codes.append(INTERRUPTED)
        sys.exit(print_interrupted())
    except BrokenPipeError:
        codes.append(UNREAD)
        discard_output()
        sys.exit(UNREAD)


def print_interrupted() -> int:
    name = Path(sys.argv[0]).name
    newline = "\n" if sys.stderr.isatty() else ""  # the terminal has printed ^C
    said = "interrupted; finished work is kept, and the same command resumes it."
    print(f"{newline}{name}: {said}", file=sys.stderr)
    return INTERRUPTED


def discard_output() -> None:
    """Discard all further output, because its reader has closed the pipe, as with `| head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def leave(code: int | None = None) -> None:
    """Flush the output and end the process; do nothing without an exit code."""
    if code is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            code = code or UNREAD
        sys.stderr.flush()
        os._exit(code)
