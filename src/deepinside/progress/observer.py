"""The base class of everything that follows a run's progress."""

import math
import time
from collections.abc import Mapping

from torch import Tensor

from deepinside.optimisation.callbacks import Callback, Snapshot, Step

TOLD = ("score", "error", "objective")
"""The objective's term to show: the first of these that exists."""


class Observer(Callback):
    """Receives completed photos and optimisation steps. This base class counts and displays nothing."""

    def __init__(self, photos: int = 0) -> None:
        self.total, self.done = photos, 0
        self.optimisation, self.words = 0, ""
        self.started = time.monotonic()

    def restore(self) -> Snapshot | None:
        """A new optimisation begins."""
        self.optimisation += 1
        return None

    def step(self, now: Step) -> None:
        """An optimisation has completed a step."""

    def advance(self, photos: int) -> None:
        self.at(self.done + photos)

    def at(self, photos: int) -> None:
        self.done = photos

    def doing(self, words: str) -> None:
        self.words = words

    def close(self) -> None:
        """The run has ended."""

    @property
    def title(self) -> str:
        """The optimisation's display name: its variant and its number."""
        return f"{self.words}, optimisation {self.optimisation}".removeprefix(", ")


class Seldom:
    """Rate limiter: true at most once per interval, first after one interval (or `immediately`)."""

    def __init__(self, seconds: float, *, immediately: bool = False) -> None:
        self.seconds = seconds
        self.last = -math.inf if immediately else time.monotonic()

    def now(self) -> bool:
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


def told(parts: Mapping[str, Tensor]) -> str:
    """A step in words: the mean over its images of the most informative term."""
    name = next((name for name in TOLD if name in parts), None)
    return "" if name is None else f"{name} {parts[name].double().mean().item():.4g}"
