"""Everything that is measured, by name. A task is built when its turn comes: networks are large."""

from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial

from bench import climbs, folder, gradients, growth
from bench.growth import Growth
from bench.task import Task

Build = Callable[[], Task | Growth]


PHOTOS = 1000


def workloads() -> dict[str, Build]:
    """By name, in the order of the tables."""
    found: dict[str, Build] = {}
    for name, batch in gradients.BATCHES.items():
        for kind in gradients.RULES:
            found[f"{name}_{kind}"] = partial(gradients.maps, name, kind, batch)
    for name, steps in {"caffenet": 4, "tinycaffenet": 10}.items():
        found[f"{name}_class_models"] = partial(climbs.class_models, name, 12, steps)
        found[f"{name}_sweep"] = partial(climbs.sweep, name, steps)
        found[f"{name}_inversion"] = partial(climbs.inversion, name, 4, steps)
    for size in ((64, 64), (500, 375)):
        found[f"folder_{size[0]}x{size[1]}"] = partial(folder.end_to_end, PHOTOS, size)
    found["growth_photos"] = growth.by_photos
    found["growth_steps"] = growth.by_steps
    return found


def chosen(only: str | None) -> dict[str, Build]:
    """Those whose names match one of the patterns, comma-separated; all of them where there is none."""
    every = workloads()
    patterns = [word.strip() for word in (only or "*").split(",")]
    return {name: build for name, build in every.items() if any(fnmatch(name, pattern) for pattern in patterns)}
