"""Times taken in turn, and what can be said of them: medians of paired ratios with their quartiles."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Work = Callable[[], Any]


@dataclass(frozen=True)
class Patience:
    """How long to measure: at least and at most so many rounds, and in between until the seconds are used up.

    `warm`: the first call of each work, which builds caches, is not counted.
    """

    seconds: float = 15.0
    least: int = 3
    most: int = 60
    warm: bool = True


QUICK = Patience(seconds=0.0, least=2, most=2)


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    median: float
    high: float


def in_turn(works: Mapping[str, Work], patience: Patience) -> dict[str, np.ndarray]:
    """Seconds of each work in each round, (rounds,). Every round does all of them, starting one further on."""
    names = list(works)
    for work in works.values() if patience.warm else ():
        work()
    rows: list[dict[str, float]] = []
    started = time.perf_counter()
    while goes_on(len(rows), time.perf_counter() - started, patience):
        first = len(rows) % len(names)
        rows.append({name: seconds(works[name]) for name in names[first:] + names[:first]})
    return {name: np.array([row[name] for row in rows]) for name in names}


def goes_on(rounds: int, elapsed: float, patience: Patience) -> bool:
    return rounds < patience.least or (rounds < patience.most and elapsed < patience.seconds)


def seconds(work: Work) -> float:
    """How long one call takes; the garbage of earlier ones is collected outside it."""
    gc.collect(0)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def spread(values: np.ndarray) -> Spread:
    return Spread(*(float(value) for value in np.percentile(values, (25, 50, 75))))


def ratio(times: np.ndarray, of: np.ndarray) -> Spread:
    """How many times as long as `of` something took: of both times of each round, so that slow rounds cancel."""
    return spread(times / of)
