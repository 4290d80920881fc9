"""Whole commands: how long they take and how much memory, as the system counts it."""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.photos import BUILD

RESULTS = BUILD / "results"
START = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""
"""A small process that starts the command in `argv[2:]` and writes its largest memory into `argv[1]`.

The system counts a process as large, at least, as the one that started it, and this one may have held a large network.
"""


@dataclass(frozen=True)
class Cost:
    """Seconds from start to end, and the largest resident memory in MiB."""

    seconds: float
    memory: float


def deepinside(results: Path, threads: int, *words: str) -> list[str]:
    """A command line of deepinside that computes anew, whatever lies there."""
    program = Path(sys.executable).with_name("deepinside")
    runtime = [f"runtime.results={results}", "runtime.overwrite=true", f"runtime.threads={threads}"]
    return [str(program), *words, *runtime, "runtime.verbosity=quiet"]


def run(*commands: list[str]) -> Cost:
    """Run a command, or several at once, to the end. Raises CalledProcessError, with what was said, where one fails."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        said, used = Path(folder, "said"), [Path(folder, str(number)) for number in range(len(commands))]
        with said.open("w") as file:
            processes = [begun(words, path, file) for words, path in zip(commands, used, strict=True)]
            codes = [process.wait() for process in processes]
        seconds = time.perf_counter() - started
        for words, code in zip(commands, codes, strict=True):
            if code:
                raise subprocess.CalledProcessError(code, words, said.read_text())
        return Cost(seconds, sum(mebibytes(path) for path in used))


def begun(words: list[str], used: Path, said: IO[str]) -> "subprocess.Popen[bytes]":
    """The command on its way; its largest memory will be written to `used`."""
    start = [sys.executable, "-I", "-S", "-c", START, str(used), *words]
    return subprocess.Popen(start, stdout=said, stderr=subprocess.STDOUT)


def mebibytes(used: Path) -> float:
    kilo = 1024 if sys.platform != "darwin" else 1024**2  # Linux counts in KiB, macOS in bytes
    return int(used.read_text()) / kilo
