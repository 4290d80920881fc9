"""Means over items, and the agreement of variants' maps."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from deepinside.metrics.aggregation import (
    BLANK,
    agreement,
    blank_note,
    fidelity,
    intervals_by_group,
    means,
    means_by_group,
    numbers,
)
from deepinside.types import Item, Panel

UP = torch.arange(12.0).view(3, 4)


def item(*panels: tuple[str, Tensor, str]) -> Item:
    return Item("one", "one", tuple(Panel(name, values, look) for name, values, look in panels))  # type: ignore[arg-type]


def columns(**values: list[float]) -> dict[str, np.ndarray]:
    return {name: np.array(numbers) for name, numbers in values.items()}


def test_means_are_over_the_items_that_have_the_number() -> None:
    assert means(columns(score=[1, 3], only=[5, np.nan], none=[np.nan, np.nan])) == {"score": 2, "only": 5}
    assert means({}) == {}


def test_means_by_group() -> None:
    found = means_by_group(columns(iou=[0.2, 0.4, 0.9, 7]), ["small", "small", "large", None])
    assert list(found) == ["large", "small"]
    assert found["small"] == pytest.approx({"count": 2, "iou": 0.3})
    assert found["large"] == {"count": 1, "iou": 0.9}


def test_intervals_by_group_are_those_of_shares_and_of_numbers_with_enough_items() -> None:
    hits, sizes = [1.0, 0, 1, 1, 0, 1, np.nan, 1], [2.0, 3, 5, 7, 11, 13, np.nan, 1]
    found = intervals_by_group(columns(right=hits, size=sizes, blank_maps=sizes), ["a"] * 7 + ["b"])
    low, high = scipy.stats.binomtest(4, 6).proportion_ci(method="exact")
    student = scipy.stats.t.interval(0.95, 5, np.mean(sizes[:6]), scipy.stats.sem(sizes[:6]))
    assert found == {"a": {"right": pytest.approx((low, high)), "size": pytest.approx(student)}, "b": {}}


def test_maps_of_one_order_agree_and_of_the_opposite_disagree() -> None:
    found = agreement(item(("a/map", UP, "magnitude"), ("b/map", UP.exp(), "magnitude"), ("c/map", -UP, "signed")))
    assert found == pytest.approx({"rank_correlation/a~b": 1, "rank_correlation/a~c": -1})


def test_the_mean_is_over_maps_of_the_same_name() -> None:
    found = agreement(item(("a/x", UP, "signed"), ("a/y", UP, "signed"), ("b/x", UP, "signed"), ("b/y", -UP, "signed")))
    assert found == pytest.approx({"rank_correlation/a~b": 0})


def test_photos_masks_and_maps_of_other_sizes_are_not_compared() -> None:
    assert agreement(item(("a/photo", UP, "photo"), ("b/photo", UP, "photo"))) == {}
    assert agreement(item(("a/map", UP, "signed"), ("b/map", UP.T, "signed"))) == {}
    assert agreement(item(("map", UP, "signed"), ("other", UP, "signed"))) == {}


def test_a_constant_map_agrees_with_nothing() -> None:
    found = agreement(item(("a/map", UP, "magnitude"), ("b/map", torch.zeros(3, 4), "magnitude")))
    assert found == {"rank_correlation/a~b": 0}


def test_a_reconstruction_is_compared_with_the_photo() -> None:
    photo = 255 * torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = fidelity(
        item(
            ("photo", photo, "photo"),
            ("v/reconstruction_fc6", photo, "photo"),
            ("reconstruction_x", photo * 0, "photo"),
        )
    )
    assert found["v/fc6/psnr"] == 100 and found["v/fc6/ssim"] == pytest.approx(1)
    assert found["x/psnr"] < 15 and found["x/ssim"] < 0.2


def test_blank_maps_are_counted_left_out_and_named() -> None:
    maps = [Panel(f"{name}/map", values, "magnitude") for name, values in (("a", UP), ("b", UP.exp()))]
    blank = Panel("c/map", torch.zeros(3, 4), "magnitude", blank="zero everywhere")
    found = numbers(Item("one", "one", (*maps, blank)))
    assert found == {"rank_correlation/a~b": pytest.approx(1), BLANK: 1}
    assert BLANK not in numbers(Item("one", "one", tuple(maps)))
    table = columns(blank_maps=[1, np.nan, 2], score=[1, 2, 3])
    (note,) = blank_note(["cat", "dog", "cow"], table)
    assert note.startswith("3 maps, of 2 of 3 items, tell nothing") and "cat, cow; numbers and claims leave" in note
    assert means(table) == {"score": 2}
    assert blank_note(["cat"], columns(score=[1])) == []
