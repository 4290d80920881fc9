"""A small cache of packed weights, invalidated when the weights change."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


MOST = 2
"""Cached packings per weight. One run uses two batch sizes: the centre crops, then the other nine crops."""


class PackedWeights(Generic[Made]):
    """Packed copies of one weight, by input shape. A deep copy starts empty: its weights get changed or converted."""

    def __init__(self) -> None:
        self._weight: tuple[Hashable, ...] | None = None
        self._made: dict[tuple[Hashable, ...], Made] = {}

    def of(self, weight: Tensor, make: Callable[[], Made], *further: Hashable) -> Made:
        """The cached result of `make()` for this weight and the further keys."""
        known = (weight.data_ptr(), weight._version, weight.dtype)
        if self._weight != known:
            self._weight, self._made = known, {}
        if further not in self._made and len(self._made) == MOST:
            del self._made[next(iter(self._made))]  # the least recently used
        self._made[further] = self._made.pop(further) if further in self._made else make()
        return self._made[further]

    def __deepcopy__(self, memo: dict[int, Any]) -> "PackedWeights[Made]":
        return PackedWeights()
