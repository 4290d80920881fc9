"""Everything that is measured, by name. A task is built when its turn comes: networks are large."""

from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial

from bench import climbs, gradients
from bench.task import Task

Build = Callable[[], Task]


def workloads() -> dict[str, Build]:
    """By name, in the order of the tables."""
    found: dict[str, Build] = {}
    for name, batch in gradients.BATCHES.items():
        for kind in gradients.RULES:
            found[f"{name}_{kind}"] = partial(gradients.maps, name, kind, batch)
    for name, steps in {"caffenet": 4, "tinycaffenet": 20}.items():
        found[f"{name}_class_models"] = partial(climbs.class_models, name, 12, steps)
        found[f"{name}_sweep"] = partial(climbs.sweep, name, steps)
        found[f"{name}_inversion"] = partial(climbs.inversion, name, 4, steps)
    return found


def chosen(only: str | None) -> dict[str, Build]:
    """Those whose names match one of the patterns, comma-separated; all of them where there is none."""
    every = workloads()
    patterns = [word.strip() for word in (only or "*").split(",")]
    return {name: build for name, build in every.items() if any(fnmatch(name, pattern) for pattern in patterns)}
