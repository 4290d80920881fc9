"""Everything that is measured, by name. A task is built when its turn comes: networks are large."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from bench import climbs, folder, gradients, growth
from bench.growth import Growth
from bench.photos import USUAL
from bench.task import Task

Build = Callable[[], Task | Growth]


FEW, PHOTOS = 300, 1000
LONG = ("folder_*", "growth_*")
"""Measured only by name: minutes each."""
BATCH, STEPS = 8, 4


def workloads(names: Sequence[str] = ()) -> dict[str, Build]:
    """By name, in the order of the tables; of these networks instead of the usual ones, if any are named."""
    return {name: build for network in names for name, build in of_network(network).items()} or usual()


def of_network(name: str) -> dict[str, Build]:
    """What any network of class scores can be measured on."""
    stem, batch = Path(name).stem, gradients.BATCHES.get(name, BATCH)
    found: dict[str, Build] = {f"{stem}_{kind}": partial(gradients.maps, name, kind, batch) for kind in gradients.RULES}
    return found | {
        f"{stem}_class_models": partial(climbs.class_models, name, 12, STEPS),
        f"{stem}_sweep": partial(climbs.sweep, name, STEPS),
    }


def usual() -> dict[str, Build]:
    found: dict[str, Build] = {}
    for name, batch in gradients.BATCHES.items():
        for kind in gradients.RULES:
            found[f"{name}_{kind}"] = partial(gradients.maps, name, kind, batch)
    for name, steps in {"caffenet": 3, "tinycaffenet": 10}.items():
        found[f"{name}_class_models"] = partial(climbs.class_models, name, 12, steps)
        found[f"{name}_sweep"] = partial(climbs.sweep, name, steps)
        found[f"{name}_inversion"] = partial(climbs.inversion, name, 4, steps)
    found["folder"] = partial(folder.end_to_end, FEW, USUAL)
    for size in ((64, 64), USUAL):
        found[f"folder_{size[0]}x{size[1]}"] = partial(folder.end_to_end, PHOTOS, size)
    found["growth_photos"] = growth.by_photos
    found["growth_steps"] = growth.by_steps
    return found


def chosen(only: str | None, names: Sequence[str] = ()) -> dict[str, Build]:
    """Those whose names match one of the patterns, comma-separated; all but the long ones where there is none."""
    every = workloads(names)
    if only is None:
        return {name: build for name, build in every.items() if not any(fnmatch(name, long) for long in LONG)}
    patterns = [word.strip() for word in only.split(",")]
    return {name: build for name, build in every.items() if any(fnmatch(name, pattern) for pattern in patterns)}
