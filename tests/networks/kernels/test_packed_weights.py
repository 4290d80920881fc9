from copy import deepcopy

import torch

from deepinside.networks.kernels.packed_weights import MOST, PackedWeights


class Makes:
    """Counts what it makes."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return self.count


def test_what_was_made_is_given_again_for_as_many_sizes_as_a_run_has() -> None:
    kept, make, weight = PackedWeights[int](), Makes(), torch.ones(2)
    sizes = range(MOST)
    assert [kept.of(weight, make, size) for _ in range(3) for size in sizes] == [*range(1, MOST + 1)] * 3


def test_the_one_asked_for_longest_ago_makes_room() -> None:
    kept, make, weight = PackedWeights[int](), Makes(), torch.ones(2)
    first, second, again, third = (kept.of(weight, make, size) for size in "abac")
    assert (first, second, again, third) == (1, 2, 1, 3)
    assert [kept.of(weight, make, size) for size in "acb"] == [1, 3, 4]


def test_a_changed_weight_and_a_copy_know_nothing() -> None:
    kept, make, weight = PackedWeights[int](), Makes(), torch.ones(2)
    kept.of(weight, make)
    assert deepcopy(kept).of(weight, make) == 2
    weight.add_(1)
    assert kept.of(weight, make) == kept.of(weight, make) == 3
