"""Callbacks of optimisations: progress displays use them, and so do the checkpoints of a run.

An optimiser calls the callbacks of the enclosing `using_callback` blocks after every step. At its start it asks each
for a snapshot to continue from. Callbacks do not change results: a restored optimisation gives the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Snapshot = Mapping[str, Any]
"""What an optimisation needs to continue after `step` steps: mappings, lists, numbers and tensors only."""


@dataclass(frozen=True)
class Step:
    """An optimisation of N images after `number` of `total` steps.

    `images` (N, C, H, W) are mean-subtracted. `parts` maps the parts of the objective (at least "objective" and
    "gradient_norm") to their values at this step, (N,). Do not modify them. `snapshot()` returns the state.
    """

    number: int
    total: int
    images: Tensor
    parts: Mapping[str, Tensor]
    snapshot: Callable[[], Snapshot]


class Callback:
    """The base class of callbacks; it does nothing."""

    def restore(self) -> Snapshot | None:
        """A snapshot to continue from, if there is one. Called once per optimisation, in order."""
        return None

    def step(self, now: Step) -> None:
        """Called after every step."""


CALLBACKS: ContextVar[tuple[Callback, ...]] = ContextVar("callbacks", default=())


@contextmanager
def using_callback(*callbacks: Callback) -> Iterator[None]:
    """Optimisations in the block call `callbacks` and those of the enclosing blocks."""
    token = CALLBACKS.set((*CALLBACKS.get(), *callbacks))
    try:
        yield
    finally:
        CALLBACKS.reset(token)


def restore() -> Snapshot | None:
    """The first snapshot that a callback has. Every callback is called, so that each can count optimisations."""
    found = [callback.restore() for callback in CALLBACKS.get()]
    return next((snapshot for snapshot in found if snapshot is not None), None)


def notify(now: Step) -> None:
    """Call every callback with the last step."""
    for callback in CALLBACKS.get():
        callback.step(now)
