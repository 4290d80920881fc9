"""From a folder of JPEGs to a folder of PNGs: the whole command beside its own computation alone and a plain loop."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import commands, peers
from bench.networks import network
from bench.photos import BUILD, jpegs
from bench.task import OURS, Task, Way
from bench.timing import Patience
from deepinside.images.batches import all_batches
from deepinside.images.settings import ImageSettings
from deepinside.techniques.saliency import Saliency
from deepinside.types import ImageBatch, Seeds, TechniqueOutput

ENLARGE = 1.143
KEPT = 32
THRICE = Patience(seconds=60, least=3, most=5, warm=False)
LOOP = Path(__file__).with_name("captum_loop.py")


def end_to_end(count: int, size: tuple[int, int]) -> Task:
    """Ten-crop saliency of so many JPEGs of `size` (width, height) on tinycaffenet; the first few are compared."""
    threads = torch.get_num_threads()
    photos = jpegs(count, size)
    results = commands.RESULTS / photos.name

    def whole(limit: int, place: str, processes: int = 1) -> commands.Cost:
        words = ["technique.crops=ten", "images=none", f"images.root={photos}", f"images.enlarge={ENLARGE}"]
        if limit != KEPT:  # what is asked for is pictures; of the few, numbers are compared
            words.append("save.maps=shown")
        shutil.rmtree(results / place, ignore_errors=True)  # of another configuration
        words.append(f"images.limit={limit}")
        return commands.run(*[commands.deepinside(results / place, max(1, threads // processes), *words)] * processes)

    ways = [
        Way(OURS, lambda: whole(count, "all"), lambda _: written_maps(results / "few"),
            "the whole command, from JPEG to PNG: photo and map, figure, numbers", trial=lambda: whole(KEPT, "few")),
        Way("computation", computation(photos, count), visual_maps, "the technique alone, photos already in memory",
            part=True, trial=computation(photos, KEPT)),
        Way("two processes", lambda: whole(count, "two", 2), lambda _: written_maps(results / "few two"),
            "the same command twice at once, each with half of the threads", trial=lambda: whole(KEPT, "few two", 2)),
        Way("start-up", lambda: whole(1, "one"), None, "the command with one photo", part=True),
    ]  # fmt: skip
    if peers.installed("captum"):
        work, few = (captum_loop(photos, threads, limit) for limit in (count, KEPT))
        ways.append(Way("captum loop", work, kept_maps, "a loop over the files; the map alone", trial=few))
    name = f"folder_{size[0]}x{size[1]}"
    title = f"tinycaffenet: ten-crop saliency of {count} JPEGs of {size[0]}×{size[1]}"
    return Task(name, title, "photo", count, tuple(ways), tolerance=1e-3, patience=THRICE)


def computation(photos: Path, limit: int) -> Callable[[], list[TechniqueOutput]]:
    """The technique over batches that are read once and kept."""
    bench, technique, seeds = network("tinycaffenet"), Saliency(crops="ten"), Seeds(0)
    held: list[ImageBatch] = []

    def work() -> list[TechniqueOutput]:
        return [technique(bench.network, batch, seeds) for batch in held]

    settings = ImageSettings(root=str(photos), enlarge=ENLARGE, resize="short_side_crop", limit=limit)
    held.extend(loaded.batch for loaded in all_batches(settings, bench.network.input) if loaded.batch)
    return work


def visual_maps(outputs: list[TechniqueOutput]) -> Tensor:
    items = [item for output in outputs for item in output.items][:KEPT]
    return torch.stack([item.panels[-1].values for item in items])


def written_maps(results: Path) -> Tensor:
    """The first maps of the result, as it lies on disk."""
    (path,) = (results / "adhoc").glob("*/*/arrays.npz")
    with np.load(path) as arrays:
        names = sorted(name for name in arrays.files if name.endswith("/saliency"))[:KEPT]
        return torch.stack([torch.from_numpy(arrays[name]) for name in names])


def captum_loop(photos: Path, threads: int, limit: int) -> Callable[[], commands.Cost]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(LOOP.parents[1]), str(LOOP.parents[2] / "tests" / "support")])
    words = [sys.executable, str(LOOP), str(photos), str(BUILD / "captum"), "--threads", str(threads)]
    return lambda: commands.run([*words, "--limit", str(limit), "--keep", str(BUILD / "captum.npz")])


def kept_maps(_: commands.Cost) -> Tensor:
    with np.load(BUILD / "captum.npz") as arrays:
        return torch.stack([torch.from_numpy(arrays[name]) for name in sorted(arrays.files)])
