"""What is made of a layer's weights, once for each kind of input, and anew when they have changed."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


MOST = 2
"""Things kept of a weight: passes of one run are of two sizes, as one crop of a batch and then the other nine."""


class Kept(Generic[Made]):
    """What was made of a weight last. A copy of it knows nothing: copied weights are to be changed or converted."""

    def __init__(self) -> None:
        self._weight: tuple[Hashable, ...] | None = None
        self._made: dict[tuple[Hashable, ...], Made] = {}

    def of(self, weight: Tensor, make: Callable[[], Made], *further: Hashable) -> Made:
        """What `make()` gave for this weight, and for `further` that it depends on."""
        known = (weight.data_ptr(), weight._version, weight.dtype)
        if self._weight != known:
            self._weight, self._made = known, {}
        if further not in self._made and len(self._made) == MOST:
            del self._made[next(iter(self._made))]  # the one asked for longest ago
        self._made[further] = self._made.pop(further) if further in self._made else make()
        return self._made[further]

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept[Made]":
        return Kept()
