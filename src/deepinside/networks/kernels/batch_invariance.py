"""Batch invariance: an item's result does not depend on the rest of its batch. Probed at run time where needed.

A kernel may sum in another order for another batch size. A layer therefore has two implementations: one that is
invariant by construction, and a faster one that is used only after a probe showed the same bytes.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]


class BatchInvariant:
    """Chooses between a fast and an invariant implementation, by one random probe per input shape."""

    def __init__(self) -> None:
        self._known: dict[Hashable, bool] = {}

    def __call__(self, x: Tensor, *, fast: Compute, certain: Compute) -> Tensor:
        """`certain(x)`, computed by `fast` where the probe gave the same bytes."""
        key = (x.shape, x.dtype, torch.get_num_threads())
        if key not in self._known:
            probe = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(0))
            self._known[key] = torch.equal(fast(probe), certain(probe))
        return fast(x) if self._known[key] else certain(x)


def padded_to_two(compute: Compute) -> Compute:
    """`compute` for a batch of one, run as the first of two: kernels switch algorithm for a single row."""
    return lambda x: compute(torch.cat([x, x]))[:1]


def batch_invariant(choose: BatchInvariant, compute: Compute, x: Tensor) -> Tensor:
    """`compute(x)` for images `x` (N, …); on a CPU a single image gives the same bytes as in a batch."""
    if len(x) != 1 or x.device.type != "cpu":
        return compute(x)
    return choose(x, fast=compute, certain=padded_to_two(compute))


def in_blocks(compute: Compute, rows: int) -> Compute:
    """`compute` in blocks of exactly `rows` rows; the last block is padded with zeros."""

    def blocks(x: Tensor) -> Tensor:
        filled = torch.cat([x, x.new_zeros(-len(x) % rows, *x.shape[1:])])
        return torch.cat([compute(block) for block in filled.split(rows)])[: len(x)]

    return blocks
