"""The same row of a batch, the same bytes, whatever stands beside it: measured where it is not certain.

A kernel may sum in another order when a batch is larger or smaller, and then a photo's numbers depend on its company.
Here a layer has two ways: one that cannot depend on it, and a quicker one that is taken once it has been seen to give
the same bytes.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]


class Steady:
    """Which shapes of input may go the quick way. Asked of random numbers, once a shape."""

    def __init__(self) -> None:
        self._known: dict[Hashable, bool] = {}

    def __call__(self, x: Tensor, *, quick: Compute, certain: Compute) -> Tensor:
        """`certain(x)`, by way of `quick` where that gives the same bytes."""
        key = (x.shape, x.dtype, torch.get_num_threads())
        if key not in self._known:
            probe = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(0))
            self._known[key] = torch.equal(quick(probe), certain(probe))
        return quick(x) if self._known[key] else certain(x)


def in_company(compute: Compute) -> Compute:
    """`compute` for a batch of one, as the first of two: kernels go other ways for one row than for several."""
    return lambda x: compute(torch.cat([x, x]))[:1]


def alone_as_in_company(steady: Steady, compute: Compute, x: Tensor) -> Tensor:
    """`compute(x)` of images `x` (N, …), for a single one on a CPU as it is in a batch."""
    if len(x) != 1 or x.device.type != "cpu":
        return compute(x)
    return steady(x, quick=compute, certain=in_company(compute))


def in_blocks(compute: Compute, rows: int) -> Compute:
    """`compute` for blocks of exactly `rows` rows, the last one filled up with zeros."""

    def blocks(x: Tensor) -> Tensor:
        filled = torch.cat([x, x.new_zeros(-len(x) % rows, *x.shape[1:])])
        return torch.cat([compute(block) for block in filled.split(rows)])[: len(x)]

    return blocks
