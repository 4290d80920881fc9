"""Whole commands: how long they take and how much memory, as the system counts it."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.photos import BUILD

RESULTS = BUILD / "results"


@dataclass(frozen=True)
class Cost:
    """Seconds from start to end, and the largest resident memory in MiB."""

    seconds: float
    memory: float


def deepinside(results: Path, threads: int, *words: str) -> list[str]:
    """A command line of deepinside that computes anew, whatever lies there."""
    program = Path(sys.executable).with_name("deepinside")
    runtime = [f"runtime.results={results}", "runtime.again=true", f"runtime.threads={threads}"]
    return [str(program), *words, *runtime, "runtime.verbosity=quiet"]


def run(*commands: list[str]) -> Cost:
    """Run a command, or several at once, to the end. Raises CalledProcessError, with what was said, where one fails."""
    started = time.perf_counter()
    said = BUILD / "said.txt"
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("w") as file:
        processes = [subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT) for words in commands]
        memory = sum([ended(process, said) for process in processes])
    return Cost(time.perf_counter() - started, memory)


def ended(process: "subprocess.Popen[bytes]", said: Path) -> float:
    """Wait for the process; the largest resident memory it had, in MiB."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, said.read_text())
    kilo = 1024 if sys.platform != "darwin" else 1024**2  # Linux counts in KiB, macOS in bytes
    return used.ru_maxrss / kilo
