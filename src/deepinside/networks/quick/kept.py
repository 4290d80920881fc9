"""What is made of a layer's weights, once, and anew when they have changed."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from torch import Tensor

Made = TypeVar("Made")


class Kept(Generic[Made]):
    """The last that was made of a weight. A copy of it knows nothing: copied weights are to be changed or converted."""

    def __init__(self) -> None:
        self._source: tuple[Hashable, ...] | None = None
        self._made: Made

    def of(self, weight: Tensor, make: Callable[[], Made], *further: Hashable) -> Made:
        """What `make()` gave for this weight, and for `further` that it depends on."""
        source = (weight.data_ptr(), weight._version, weight.dtype, *further)
        if self._source != source:
            self._source, self._made = source, make()
        return self._made

    def __deepcopy__(self, memo: dict[int, Any]) -> "Kept[Made]":
        return Kept()
