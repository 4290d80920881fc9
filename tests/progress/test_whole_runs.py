"""The whole command in a terminal and in a pipe."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MAIN = "import sys; from deepinside.cli import run as cli; sys.argv[0] = 'deepinside'; cli.main()"
WORDS = [
    "technique=class_model", "images=none", "technique.targets=[lion]", "technique.optimiser.steps=400",
    "runtime.threads=1", "runtime.preview=0.2",
    "figure.panels=[nosuch]",
]  # fmt: skip
PLAIN = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}


def test_a_terminal_shows_bars_and_then_the_result(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-c", MAIN, *WORDS]
    with subprocess.Popen(command, cwd=tmp_path, stdout=slave, stderr=slave, env=PLAIN) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                written += os.read(master, 65536)
            except OSError:  # the other side is closed
                break
    os.close(master)
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", written.decode())
    assert process.returncode == 0
    assert "optimisation 1" in text
    assert "/400 score" in text
    assert text.rindex("adhoc · tinycaffenet ·") > text.rindex("optimisation 1")
    assert "note: figure.panels: expected some of class_model; found 'nosuch'" in " ".join(text.split())
    folder = tmp_path / "results" / "adhoc" / "tinycaffenet"
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]  # and no preview is left


def test_a_pipe_gets_no_escape_codes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MAIN, *WORDS, "--verbose"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, env=PLAIN, text=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert "optimisation 1: step 400 of 400, score" in done.stderr
    assert "found 'nosuch'" in done.stdout
