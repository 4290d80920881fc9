"""What the items of a batch have for themselves: numbers of their own, and kinds that are computed apart.

On a GPU, sending even one number waits for everything before it; so what a loop needs at every step is sent once.
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
    """(N,): numbers as a tensor on a device. It is shared, so it must not be changed."""
    return torch.tensor(values, dtype=dtype, device=device)


def numbers_like(values: Sequence[float], like: Tensor) -> Tensor:
    """(N,): numbers of the precision and on the device of `like`; shared, so they must not be changed."""
    return on_same_device(tuple(values), like.dtype, like.device)


@dataclass(frozen=True, eq=False)
class Rows:
    """Some items of a batch: their places, and the `index` that picks them out of a tensor."""

    places: tuple[int, ...]
    index: slice | Tensor

    def of(self, values: Sequence[Value]) -> list[Value]:
        """Those of the items, out of a value for each of the batch."""
        return [values[place] for place in self.places]


@dataclass(frozen=True, eq=False)
class Groups:
    """The rows of every kind in a batch; `order` puts them back, None where they stand in order."""

    rows: Mapping[Any, Rows]
    order: Tensor | None

    def map(self, compute: Callable[[Any, Rows], Tensor]) -> Tensor:
        """`compute(kind, rows)`, (rows, …), for each kind, put back in order, (N, …)."""
        values = torch.cat([compute(kind, rows) for kind, rows in self.rows.items()])
        return values if self.order is None else values[self.order]


@lru_cache(maxsize=128)
def grouped(kinds: tuple[Hashable, ...], device: torch.device) -> Groups:
    """The groups of a batch whose item i is of `kinds[i]`, for tensors on that device."""
    places = {kind: tuple(i for i, other in enumerate(kinds) if other == kind) for kind in dict.fromkeys(kinds)}
    order = torch.tensor([i for some in places.values() for i in some])
    back = None if bool((order.diff() > 0).all()) else order.argsort().to(device)
    return Groups({kind: Rows(some, index(some, device)) for kind, some in places.items()}, back)


def index(places: tuple[int, ...], device: torch.device) -> slice | Tensor:
    """What picks these places: a slice, which copies nothing, where they follow each other."""
    first, last = places[0], places[-1]
    return slice(first, last + 1) if last - first + 1 == len(places) else torch.tensor(places, device=device)
