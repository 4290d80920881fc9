"""How a process ends that a console script began."""

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, sys, threading, time, types
from deepinside.cli import entry_points

class Held:
    def __del__(self):
        print("taken apart")

def later():
    time.sleep(0.1)
    print("thread")

sys.modules["held"] = Held()
def main():
    atexit.register(print, "registered")
    threading.Thread(target=later).start()
    sys.stdout.write("written ")
    END

sys.modules["held.main"] = types.SimpleNamespace(main=main)
entry_points.run("held.main")
"""


def ended(end: str) -> tuple[int, str, str]:
    found = subprocess.run([sys.executable, "-c", SCRIPT.replace("END", end)], capture_output=True, text=True)
    return found.returncode, found.stdout, found.stderr


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("return", 0, ""),
        ("return 2", 2, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('why')", 1, "why\n"),
    ],
)
def test_all_is_written_and_waited_for_and_nothing_taken_apart(end: str, code: int, said: str) -> None:
    assert ended(end) == (code, "written thread\nregistered\n", said)


def test_what_an_exception_ends_is_ended_as_ever() -> None:
    code, out, said = ended("raise ValueError('a fault')")
    assert (code, out) == (1, "written thread\nregistered\ntaken apart\n")
    assert said.startswith("Traceback") and said.endswith("ValueError: a fault\n")
