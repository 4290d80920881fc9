"""Batches of items with different settings: a number for each item, and items grouped by kind.

On a GPU, each transfer waits for all work before it. So these tensors are made once and cached, not at every step.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


@lru_cache(maxsize=128)
def on_same_device(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """(N,): numbers as a tensor on a device. The tensor is cached; do not modify it."""
    return torch.tensor(values, dtype=dtype, device=device)


def numbers_like(values: Sequence[float], like: Tensor) -> Tensor:
    """(N,): numbers with the dtype and device of `like`. The tensor is cached; do not modify it."""
    return on_same_device(tuple(values), like.dtype, like.device)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some items of a batch: their positions, and the `index` that selects them from a tensor."""

    positions: tuple[int, ...]
    index: slice | Tensor

    def of(self, values: Sequence[Value]) -> list[Value]:
        """The values of these items, from one value for each item of the batch."""
        return [values[position] for position in self.positions]


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of every kind in a batch. `order` restores the batch's order; None if no reordering is needed."""

    rows: Mapping[Any, Rows]
    order: Tensor | None

    def map(self, compute: Callable[[Any, Rows], Tensor]) -> Tensor:
        """`compute(kind, rows)`, (rows, …), for each kind, in the batch's order, (N, …)."""
        values = torch.cat([compute(kind, rows) for kind, rows in self.rows.items()])
        return values if self.order is None else values[self.order]


@lru_cache(maxsize=128)
def grouped(kinds: tuple[Hashable, ...], device: torch.device) -> Groups:
    """The groups of a batch whose item i is of `kinds[i]`, for tensors on that device."""
    positions = {kind: tuple(i for i, other in enumerate(kinds) if other == kind) for kind in dict.fromkeys(kinds)}
    order = torch.tensor([i for group in positions.values() for i in group])
    back = None if bool((order.diff() > 0).all()) else order.argsort().to(device)
    return Groups({kind: Rows(group, index(group, device)) for kind, group in positions.items()}, back)


def index(positions: tuple[int, ...], device: torch.device) -> slice | Tensor:
    """The index of these positions: a slice, which copies nothing, if they are consecutive."""
    first, last = positions[0], positions[-1]
    return slice(first, last + 1) if last - first + 1 == len(positions) else torch.tensor(positions, device=device)
