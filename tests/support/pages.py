"""README and docs as the tests read them: their blocks of code, and their commands run small in this process."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import caffe_nets
import numpy as np
import pytest
import torch
from corridor import OWN_NETWORK, small
from PIL import Image

from deepinside.cli import model as model_command
from deepinside.cli import results as results_command
from deepinside.cli import run as cli
from deepinside.config import catalogue
from deepinside.config.paths import ROOT
from deepinside.pipeline import run as pipeline

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = {"deepinside": cli.main, "deepinside-model": model_command.main, "deepinside-results": results_command.main}
SHELL = ("bash", "powershell")
"""Languages whose blocks are commands."""
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# ([\w/.-]+\.(?:py|yaml))\n")
LAUNCHERS = ("hydra/launcher=", "hydra.launcher.")
"""Words that say where a sweep runs: elsewhere in the tests, here in this process."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that its first line says it is, if it does."""

    page: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = FILE.match(self.text)
        return found[1] if found else None

    def __str__(self) -> str:
        return f"{self.page}: {self.text.strip().splitlines()[0]}"


def blocks(language: str, pages: list[Path] = PAGES) -> list[Block]:
    """Every block of the language, page by page."""
    return [
        Block(page.name, kind, text)
        for page in pages
        for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))
        if kind == language
    ]


def all_blocks(page: Path) -> list[Block]:
    """Every block of a page, in its order."""
    return [Block(page.name, kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8"))]


def furnish(folder: Path) -> None:
    """What the pages' words in capitals stand for, in a working directory."""
    (folder / "FOLDER").mkdir()
    for name, level in (("my photo.png", 90), ("another.png", 200)):
        image = Image.linear_gradient("L").convert("RGB")
        image.paste((level, 40, 40), (60, 60, 180, 200))
        image.save(folder / "FOLDER" / name)
    (folder / "FOLDER" / "labels.csv").write_text("my photo.png,lion\nanother.png,goose\n", encoding="utf-8")
    shutil.copy(ROOT / "conf_models" / "tinycaffenet.onnx", folder / "NETWORK.onnx")
    furnish_caffe(folder)
    furnish_data_set(folder / "tiny-imagenet-200" / "train" / "n01443537")


def furnish_caffe(folder: Path) -> None:
    """The files of a Caffe network, with a mean image."""
    net = caffe_nets.caffenet()
    net.write(folder)
    mean = caffe_nets.old_blob(np.full((3, 80, 80), 110.0))
    (folder / "mean.binaryproto").write_bytes(mean.SerializeToString())


def furnish_data_set(folder: Path) -> None:
    """One class of a data set with boxes, as Tiny ImageNet lays it out."""
    (folder / "images").mkdir(parents=True)
    lines = []
    for number, level in enumerate((60, 160)):
        image = Image.linear_gradient("L").convert("RGB").resize((64, 64))
        image.paste((level, 120, 20), (10, 12, 50, 44))
        image.save(folder / "images" / f"n01443537_{number}.JPEG")
        lines.append(f"n01443537_{number}.JPEG\t10\t12\t49\t43\n")
    (folder / "n01443537_boxes.txt").write_text("".join(lines), encoding="utf-8")


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every line, lines that end in a backslash joined; nothing here is given to a shell."""
    for line in block.text.replace("\\\n", " ").splitlines():
        backslashes = block.language == "powershell"
        words = shlex.split(line.replace("\\", "\\\\") if backslashes else line, comments=True)
        if words:
            yield words


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of one command: `make` says what it would do, the project's programs do it, with few steps.

    Commands of the shell, of pip and of Ray are checked as far as that is possible without changing this machine.
    """
    program = re.sub(r"^\.venv[/\\](bin|Scripts)[/\\]", "", words[0])
    if program == "make":
        return subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True).returncode
    if program in CHECKED:
        CHECKED[program](words[1:])
        return 0
    assert program in PROGRAMS, f"not a program of the project: {words[0]}"
    arguments = here(words[1:]) if program == "deepinside" else words[1:]
    complete = pipeline.run
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run", lambda config, folder: complete(quick(config), folder))
        patch.setattr(cli.Outcome, "complete", True)
        patch.setattr(sys, "argv", [program, *arguments])
        try:
            return int(PROGRAMS[program]() or 0)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)


def quick(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration made small, with two class models at most."""
    found: dict[str, Any] = small(config)
    if "targets" in found["technique"]:
        found["technique"]["targets"] = found["technique"]["targets"][:2]
    return found


def here(words: list[str]) -> list[str]:
    """The words of a run, without a launcher, and on the network that ships where another would have to be fetched."""
    kept = [word for word in words if not word.startswith(LAUNCHERS) and word not in unable()]
    if any(word in ("--help", "--repeat") for word in kept):
        return kept
    own = {path.stem for path in Path("conf_models").glob("*.yaml")} if Path("conf_models").is_dir() else set()
    named = [word for word in kept if word.startswith("network=")]
    if named and set(named[0].removeprefix("network=").split(",")) <= own | {"tinycaffenet"}:
        return kept
    if any(word.removeprefix("experiment=") in OWN_NETWORK for word in kept):
        return kept
    return [*(word for word in kept if word not in named), "network=tinycaffenet"]


def unable() -> tuple[str, ...]:
    """Words that need a GPU, where there is none."""
    return () if torch.cuda.is_available() else ("runtime=cuda", "runtime.device=cuda", "runtime.precision=tf32")


# ---- commands that are not the project's -----------------------------------------------------------------------------


def check_pip(words: list[str]) -> None:
    """What it is given is there: options of files, extras of the project, a wheel of this version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert words[0] in ("install", "wheel")
    for word, value in pairwise([*words, ""]):
        assert word != "-c" or (ROOT / value).is_file(), value
        wheel = re.search(r"deepinside-([\d.]+)-py3-none-any\.whl$", word)
        assert wheel is None or wheel[1] == project["version"], word
        extras = re.search(r"^(?:\.|deepinside)\[([\w,]+)\]$", word)
        assert extras is None or set(extras[1].split(",")) <= set(project["optional-dependencies"]), word


def check_python(words: list[str]) -> None:
    """A module that is installed, or a script of the project."""
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), words[0]
    elif words[1] == "pip":
        check_pip(words[2:])
    else:
        assert importlib.util.find_spec(words[1]), words[1]


def check_pytest(words: list[str]) -> None:
    for word in words:
        assert word.startswith("-") or (ROOT / word).exists() or (ROOT / word).parent.is_dir(), word


def check_source(words: list[str]) -> None:
    assert words == [".venv/bin/activate"]


def check_git(words: list[str]) -> None:
    assert words[0] == "clone"


def check_ray(words: list[str]) -> None:
    """Ray's own parser takes the words, where Ray is installed."""
    if importlib.util.find_spec("ray"):
        from ray.scripts.scripts import cli as ray_cli

        ray_cli.commands[words[0]].make_context(words[0], list(words[1:]))


def check_assignment(words: list[str]) -> None:
    assert all(re.match(r"[A-Z_]+=\S+$", word) for word in words)


CHECKED: dict[str, Callable[[list[str]], None]] = {
    "cd": lambda words: None,
    "export": check_assignment,
    "git": check_git,
    "pip": check_pip,
    "py": check_python,
    "pytest": check_pytest,
    "python": check_python,
    "ray": check_ray,
    "source": check_source,
}


def execute(block: Block, names: dict[str, Any]) -> None:
    """A block of Python, in the page's own namespace; an error says the page's line of code."""
    exec(compile(block.text, f"{block.page}", "exec"), names)


def compose_block(block: Block) -> None:
    """A block of YAML that says which file it is: written there, below the working directory, and read."""
    from deepinside.api import functions as api
    from deepinside.config import composition
    from deepinside.experiment.schema import read_experiment

    assert block.file is not None
    path = Path(block.file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")
    if path.parent.name == "conf_models":
        if not Path("conf_models/NETWORK.onnx").exists():
            os.link("NETWORK.onnx", "conf_models/NETWORK.onnx")
        assert api.load(path.stem).name == path.stem
    elif path.parent.name == "experiments":
        assert path.stem in catalogue.files("experiment")
        assert read_experiment(composition.compose_dict([f"experiment={path.stem}", "network=tinycaffenet"])).title
