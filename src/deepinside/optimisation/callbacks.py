"""Who is told how an optimisation goes: the screen shows it, the pipeline remembers it for a process that is killed.

An optimiser reports every step to the watchers of the block it runs in, and asks them once, at its start, whether an
earlier process left off in the middle. Watchers never change a result: one that goes on gives the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Snapshot = Mapping[str, Any]
"""All that an optimisation needs to go on after `step` steps: mappings, lists, numbers and tensors only."""


@dataclass(frozen=True)
class Step:
    """An optimisation of N images after `number` of `total` steps.

    `images` (N, C, H, W) in zero-centred pixels; `parts` maps a part of the gain (at least "gain" and
    "gradient_norm") to its values at this step, (N,); nothing of it is to be changed. `snapshot()` makes the state.
    """

    number: int
    total: int
    images: Tensor
    parts: Mapping[str, Tensor]
    snapshot: Callable[[], Snapshot]


class Callback:
    """Somebody who is told; this one does nothing."""

    def restore(self) -> Snapshot | None:
        """Where an earlier process left this optimisation, if it did; asked once an optimisation, in order."""
        return None

    def step(self, now: Step) -> None:
        """One more step is done."""


CALLBACKS: ContextVar[tuple[Callback, ...]] = ContextVar("watchers", default=())


@contextmanager
def using_callback(*watchers: Callback) -> Iterator[None]:
    """Optimisations in the block report to `watchers`, and to those of the blocks around it."""
    token = CALLBACKS.set((*CALLBACKS.get(), *watchers))
    try:
        yield
    finally:
        CALLBACKS.reset(token)


def restore() -> Snapshot | None:
    """The first snapshot that any watcher has; every watcher is asked, so that each can count."""
    found = [watcher.restore() for watcher in CALLBACKS.get()]
    return next((snapshot for snapshot in found if snapshot is not None), None)


def notify(now: Step) -> None:
    """Tell every watcher of the step that was just taken."""
    for watcher in CALLBACKS.get():
        watcher.step(now)
