"""README and docs as the tests read them: their blocks of code, and their commands run small in this process."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from corridor import small
from PIL import Image

from deepinside import catalogue, cli, pipeline, reference
from deepinside.home import HOME
from deepinside.networks import command

PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").glob("*.md"))]
PROGRAMS = {"deepinside": cli.main, "deepinside-model": command.main, "deepinside-results": reference.main}
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


def furnish(folder: Path) -> None:
    """What the pages' words in capitals stand for, in a working directory."""
    (folder / "FOLDER").mkdir()
    for name, level in (("my photo.png", 90), ("another.png", 200)):
        image = Image.linear_gradient("L").convert("RGB")
        image.paste((level, 40, 40), (60, 60, 180, 200))
        image.save(folder / "FOLDER" / name)
    shutil.copy(HOME / "conf_models" / "tinycaffenet.onnx", folder / "NETWORK.onnx")


def commands(block: Block) -> Iterator[list[str]]:
    """The words of every line, lines that end in a backslash joined; nothing here is given to a shell."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of one command: `make` says what it would do, the project's programs do it, with few steps."""
    if words[0] == "make":
        return subprocess.run([*words, "--dry-run"], cwd=HOME, capture_output=True).returncode
    program = words[0].removeprefix(".venv/bin/")
    assert program in PROGRAMS, f"not a program of the project: {words[0]}"
    arguments = here(words[1:]) if program == "deepinside" else words[1:]
    complete = pipeline.run
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "run", lambda config, folder: complete(quick(config), folder))
        patch.setattr(cli.Outcome, "complete", True)
        patch.setattr(sys, "argv", [words[0], *arguments])
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
    kept = [word for word in words if not word.startswith(LAUNCHERS)]
    if any(word in ("--help", "--repeat") for word in kept):
        return kept
    own = {path.stem for path in Path("conf_models").glob("*.yaml")} if Path("conf_models").is_dir() else set()
    named = [word for word in kept if word.startswith("network=")]
    if named and set(named[0].removeprefix("network=").split(",")) <= own | {"tinycaffenet"}:
        return kept
    return [*(word for word in kept if word not in named), "network=tinycaffenet"]


def execute(block: Block, names: dict[str, Any]) -> None:
    """A block of Python, in the page's own namespace; an error says the page's line of code."""
    exec(compile(block.text, f"{block.page}", "exec"), names)


def compose(block: Block) -> None:
    """A block of YAML that says which file it is: written there, below the working directory, and read."""
    from deepinside import api, compose
    from deepinside.experiment import read_experiment

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
        assert read_experiment(compose.compose_plain([f"experiment={path.stem}", "network=tinycaffenet"])).title
