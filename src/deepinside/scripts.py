"""The console scripts: the three commands, and an end that takes nothing apart.

Python takes every module apart before a process ends: a second for torch, a seventh of a short run. The operating
system takes all back at once.
"""

import atexit
import os
import sys
from collections.abc import Callable


def deepinside() -> None:
    from deepinside.cli import main

    run(main)


def deepinside_model() -> None:
    from deepinside.networks.command import main

    run(main)


def deepinside_results() -> None:
    from deepinside.reference import main

    run(main)


def run(main: Callable[[], int | None]) -> None:
    """Call `main`, and end the process with the exit code that it returns or leaves with.

    Other threads are waited for, and what was registered with `atexit` since is called, as ever. A `main` that an
    exception ends, ends as ever too.
    """
    codes: list[int] = []
    atexit.register(lambda: leave(*codes))  # the last of all: they are called in the order opposite to registering
    try:
        sys.exit(main())
    except SystemExit as end:
        codes.append(end.code if isinstance(end.code, int) else 0 if end.code is None else 1)
        raise


def leave(code: int | None = None) -> None:
    """End the process now, with nothing left unwritten; nothing where there is no code to end with."""
    if code is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
