"""The fast implementation is used only where it gives the same bytes."""

import torch
from torch import Tensor

from deepinside.networks.kernels.batch_invariance import BatchInvariant, in_blocks, padded_to_two


def test_a_way_that_rounds_differently_is_not_taken() -> None:
    choose, x = BatchInvariant(), torch.zeros(3, 4)
    assert choose(x, fast=lambda x: x * 1.0000001 + 1, certain=lambda x: x + 2).eq(2).all()  # equal on no probe
    assert BatchInvariant()(x, fast=lambda x: x + 1, certain=lambda x: 1 + x).eq(1).all()


def test_the_certain_way_is_asked_once_a_shape() -> None:
    asked: list[int] = []

    def certain(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x

    choose = BatchInvariant()
    for rows in (2, 2, 3, 2):
        choose(torch.zeros(rows, 4), fast=torch.clone, certain=certain)
    assert asked == [2, 3]


def test_blocks_are_filled_up_and_cut_off() -> None:
    seen: list[int] = []

    def compute(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x * 2

    x = torch.arange(10.0).view(5, 2)
    assert torch.equal(in_blocks(compute, 4)(x), x * 2)
    assert seen == [4, 4]


def test_one_is_computed_as_the_first_of_two() -> None:
    assert torch.equal(padded_to_two(lambda x: x + len(x))(torch.zeros(1, 2)), torch.full((1, 2), 2.0))
