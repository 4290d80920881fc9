"""What is made of a layer's weights, once, and anew when they have changed."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """Something made of a weight. A copy of it knows nothing: copied weights are to be changed or converted."""

    def __init__(self, make: Callable[[Tensor], Made]) -> None:
        self.make = make
        self._source: tuple[Any, ...] | None = None
        self._made: Made

    def of(self, weight: Tensor) -> Made:
        source = (weight.data_ptr(), weight._version, weight.dtype)
        if self._source != source:
            self._source, self._made = source, self.make(weight)
        return self._made

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept[Made]":
        return Kept(self.make)
