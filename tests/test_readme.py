"""Every command of the README, as pasted: those of make are looked up, the others run, small, in an empty folder."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepinside import cli
from deepinside.home import HOME
from deepinside.networks import command

README = (HOME / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)]
SMALL = {"fig1_class_models": "technique.optimiser.steps=2"}
PROGRAMS = {".venv/bin/deepinside": cli.main, ".venv/bin/deepinside-model": command.main}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what the README's placeholders stand for."""
    from PIL import Image

    (tmp_path / "FOLDER").mkdir()
    Image.linear_gradient("L").save(tmp_path / "FOLDER" / "my photo.png")
    shutil.copy(HOME / "conf_models" / "tinycaffenet.onnx", tmp_path / "NETWORK.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("lines", BLOCKS, ids=lambda lines: lines[0])
def test_the_commands_work_as_pasted(lines: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in lines:
        words = shlex.split(line)
        if words[0] == "make":
            subprocess.run([*words, "--dry-run"], cwd=HOME, check=True, capture_output=True)
        else:
            assert run(words, monkeypatch) == 0, line


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of one of the project's programs, in this process, with as few steps as possible."""
    small = next((few for name, few in SMALL.items() if any(name in word for word in words)), None)
    words = [*words, small] if small else words
    monkeypatch.setattr(sys, "argv", words)
    try:
        PROGRAMS[words[0]]()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def test_the_figure_is_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (HOME / path).is_file(), path


def test_every_target_of_make_help_can_be_made() -> None:
    told = subprocess.run(["make", "help"], cwd=HOME, check=True, capture_output=True, text=True).stdout
    targets = re.findall(r"^  make (\w+)", told, re.MULTILINE)
    assert {"reproduce", "verify", "models", "test", "lint", "clean"} <= set(targets)
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=HOME, check=True, capture_output=True)
