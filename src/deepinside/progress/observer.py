"""Somebody who is told how a run goes."""

import math
import time
from collections.abc import Mapping

from torch import Tensor

from deepinside.maths.watching import Snapshot, Step, Watcher

TOLD = ("score", "error", "gain")
"""Which part of a gain is shown: the first of these that there is."""


class Observer(Watcher):
    """Told of photos and of every step of an optimisation; this one counts and shows nothing."""

    def __init__(self, photos: int = 0) -> None:
        self.total, self.done = photos, 0
        self.optimisation, self.words = 0, ""
        self.started = time.monotonic()

    def recall(self) -> Snapshot | None:
        """A new optimisation begins."""
        self.optimisation += 1
        return None

    def step(self, now: Step) -> None:
        """An optimisation has done one more step."""

    def advance(self, photos: int) -> None:
        self.at(self.done + photos)

    def at(self, photos: int) -> None:
        self.done = photos

    def doing(self, words: str) -> None:
        self.words = words

    def close(self) -> None:
        """It is over."""

    @property
    def title(self) -> str:
        """What the optimisation is called: its variant and its number."""
        return f"{self.words}, optimisation {self.optimisation}".removeprefix(", ")


class Seldom:
    """Says yes at most every so many seconds, the first time after as many."""

    def __init__(self, seconds: float, *, at_once: bool = False) -> None:
        self.seconds = seconds
        self.last = -math.inf if at_once else time.monotonic()

    def now(self) -> bool:
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def told(parts: Mapping[str, Tensor]) -> str:
    """What is shown of a step: the mean over its images of the part that says most."""
    name = next((name for name in TOLD if name in parts), None)
    return "" if name is None else f"{name} {parts[name].double().mean().item():.4g}"
