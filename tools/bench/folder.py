"""From a folder of JPEGs to a folder of PNGs: the whole command beside its own computation alone and a plain loop."""

import os
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
from deepinside.values import ImageBatch, Seeds, Visual

ENLARGE = 1.143
KEPT = 32
THRICE = Patience(seconds=60, least=3, most=5, warm=False)
LOOP = Path(__file__).with_name("captum_loop.py")


def end_to_end(count: int, size: tuple[int, int]) -> Task:
    """Ten-crop saliency of so many JPEGs of `size` (width, height) on tinycaffenet."""
    threads = torch.get_num_threads()
    photos = jpegs(count, size)
    words = ["technique.crops=ten", "images=none", f"images.root={photos}", f"images.enlarge={ENLARGE}"]
    results = commands.RESULTS / photos.name
    whole = commands.deepinside(results, threads, *words)
    short = commands.deepinside(results / "short", threads, *words, "images.limit=1")
    ways = [
        Way(OURS, lambda: commands.run(whole), lambda _: written_maps(results), "the whole command, from JPEG to PNG"),
        Way("computation", computation(photos), visual_maps, "the technique alone, photos already in memory"),
        Way("start-up", lambda: commands.run(short), None, "the command with one photo"),
    ]
    if peers.installed("captum"):
        ways.append(Way("captum loop", captum_loop(photos, threads), kept_maps, "a loop over the files; the map alone"))
    name = f"folder_{size[0]}x{size[1]}"
    title = f"tinycaffenet: ten-crop saliency of {count} JPEGs of {size[0]}×{size[1]}"
    note = "The computation's ratio is the share of the whole command's time that is pure computation."
    return Task(name, title, "photo", count, tuple(ways), tolerance=1e-3, patience=THRICE, note=note)


def computation(photos: Path) -> Callable[[], list[Visual]]:
    """The technique over batches that are read once and kept."""
    bench, technique, seeds = network("tinycaffenet"), Saliency(crops="ten"), Seeds(0)
    held: list[ImageBatch] = []

    def work() -> list[Visual]:
        if not held:
            settings = ImageSettings(root=str(photos), enlarge=ENLARGE, resize="short_side_crop")
            held.extend(loaded.batch for loaded in all_batches(settings, bench.network.input) if loaded.batch)
        return [technique(bench.network, batch, seeds) for batch in held]

    return work


def visual_maps(visuals: list[Visual]) -> Tensor:
    items = [item for visual in visuals for item in visual.items][:KEPT]
    return torch.stack([item.panels[-1].values for item in items])


def written_maps(results: Path) -> Tensor:
    """The first maps of the result, as it lies on disk."""
    (path,) = (results / "adhoc").glob("*/*/arrays.npz")
    with np.load(path) as arrays:
        names = sorted(name for name in arrays.files if name.endswith("/saliency"))[:KEPT]
        return torch.stack([torch.from_numpy(arrays[name]) for name in names])


def captum_loop(photos: Path, threads: int) -> Callable[[], commands.Cost]:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(LOOP.parents[1]), str(LOOP.parents[2] / "tests")])
    words = [sys.executable, str(LOOP), str(photos), str(BUILD / "captum"), "--threads", str(threads)]
    return lambda: commands.run([*words, "--keep", str(BUILD / "captum.npz")])


def kept_maps(_: commands.Cost) -> Tensor:
    with np.load(BUILD / "captum.npz") as arrays:
        return torch.stack([torch.from_numpy(arrays[name]) for name in sorted(arrays.files)])
