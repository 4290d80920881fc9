"""The corridor in tests: the command line called in this process, and experiments made small."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from PIL import Image
from pydantic.dataclasses import dataclass

from deepinside.cli import run as cli
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput

OWN_NETWORK = {"mahendran_table1": "hog_sift"}
"""Experiments on layers that no other network has."""
SMALL = {"steps": 3, "restarts": 1, "stages": 2, "limit": 1, "threads": 1}
"""The most that a setting of this name may be in a test."""


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    """The exit code, or the sentence, that `deepinside WORDS` ends with."""
    # one thread: on a busy machine two wait for each other longer than they compute
    alone = [] if words[0].startswith("--") else ["runtime.threads=1"]
    monkeypatch.setattr(sys, "argv", ["deepinside", *words, *alone])
    monkeypatch.setattr(cli.Outcome, "complete", True)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return found


def content(folder: Path) -> dict[str, bytes]:
    """The bytes of everything in a result that the same run must repeat."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    del found["provenance.json"]
    numbers = metrics(folder)
    del numbers["seconds"]
    return {**found, "metrics.json": json.dumps(numbers).encode()}


def photo(path: Path, level: int = 128) -> Path:
    """A photo of a grey square on white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (40, 36), "white")
    image.paste((level, level, level), (8, 8, 30, 30))
    image.save(path, format="PNG")
    return path


def small(node: Any) -> Any:
    """A configuration whose optimisations take few steps and whose photos are few, whatever the experiment."""
    if isinstance(node, Mapping):
        return {key: shrunk(key, small(value)) for key, value in node.items()}
    return [small(value) for value in node] if isinstance(node, list) else node


def shrunk(key: str, value: Any) -> Any:
    if key == "schedule":
        return [[1, rate] for _, rate in value]
    if key == "limit":
        return SMALL[key]
    return min(value, SMALL[key]) if key in SMALL and isinstance(value, int) else value


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Probe:
    """A technique that needs no network: the photo and its mean level; what `trouble` names goes wrong in it."""

    trouble: Literal["none", "refused", "error", "fault", "nan"] = "none"
    noise: float = 0.0

    def check(self, network: Network) -> None:
        if self.trouble == "refused":
            raise DeepInsideError("trouble: expected none, found a refusal.")

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        if self.trouble == "error":
            raise DeepInsideError("probe: diverged; take smaller steps.")
        if self.trouble == "fault":
            raise ZeroDivisionError("a fault of the program")
        return TechniqueOutput(tuple(self.item(photo, seeds) for photo in batch.photos))

    def item(self, photo: Photo, seeds: Seeds) -> Item:
        stream = seeds.generator(photo.number, "probe")
        values = photo.pixels + self.noise * torch.randn(photo.pixels.shape, generator=stream)
        level = float("nan") if self.trouble == "nan" else values.mean().item()
        return Item(photo.stem, photo.stem, (Panel("map", values[0], "signed"),), {"level": level})
