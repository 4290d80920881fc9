"""Gradients of photos and the putting together of crops."""

from pathlib import Path

import pytest
import torch
import toys

from deepinside.attribution.gradients import (
    Crop,
    ForwardPass,
    average_over_crops,
    centre_crop,
    image_gradient,
    in_micro_batches,
    ten_crops,
)
from deepinside.errors import DeepInsideError
from deepinside.targets import resolve


@pytest.mark.parametrize("convention", [toys.GREY, toys.BGR, toys.RGB], ids=["grey", "bgr", "rgb"])
def test_the_gradient_of_a_linear_score_is_its_weights(tmp_path: Path, convention: toys.InputConvention) -> None:
    toy = toys.linear(tmp_path, convention)
    x = toys.photos(toy.network, 3).pixels
    assert torch.allclose(toy.network.scores(x), x.flatten(1) @ toy.weights.flatten(1).T + toy.bias, rtol=1e-4)
    gradient = image_gradient(toy.network, x, [resolve(c, toy.network) for c in (2, 0, 3)])
    assert torch.allclose(gradient, toy.weights[[2, 0, 3]], rtol=1e-5)


def test_it_is_taken_also_without_grad_mode_and_leaves_the_photo_alone(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    x = toys.photos(toy.network, 1).pixels
    with torch.no_grad():
        gradient = image_gradient(toy.network, x, [resolve(0, toy.network)])
    assert torch.allclose(gradient, toy.weights[:1]) and not x.requires_grad and x.grad is None


def test_the_ten_crops_are_the_papers() -> None:
    crops = ten_crops((10, 12), (6, 6))
    corners = [(0, 0), (0, 6), (4, 0), (4, 6), (2, 3)]
    assert [(c.top, c.left, c.mirrored) for c in crops] == [(*p, m) for m in (False, True) for p in corners]


def test_photos_too_small_for_crops_say_what_to_set() -> None:
    with pytest.raises(DeepInsideError, match=r"larger than the network's 6x6, found 6x9; set images\.enlarge"):
        ten_crops((6, 9), (6, 6))


def test_what_is_cut_out_is_put_back_in_place() -> None:
    x = torch.randn(2, 3, 9, 10)
    crops = ten_crops((9, 10), (6, 6))
    found = average_over_crops([crop.cut(x, (6, 6)) for crop in crops], crops, (9, 10))
    covered = average_over_crops([torch.ones(1, 6, 6)] * 10, crops, (9, 10))[0] == 1
    assert torch.allclose(found, x * covered, atol=1e-6)
    assert covered.sum() == 90


def test_every_pixel_is_the_mean_over_the_crops_that_see_it() -> None:
    crops = ten_crops((8, 8), (6, 6))
    found = average_over_crops([torch.full((1, 6, 6), float(k)) for k in range(10)], crops, (8, 8))[0]
    # crops 0 to 4 at (0,0), (0,2), (2,0), (2,2), (1,1), then the same mirrored: k and k + 5
    assert found[0, 0] == (0 + 5) / 2
    assert found[0, 3] == (0 + 1 + 5 + 6) / 4
    assert found[7, 7] == (3 + 8) / 2
    assert found[4, 4] == 4.5
    assert found[1, 1] == (0 + 4 + 5 + 9) / 4


def test_a_mirrored_map_is_mirrored_back() -> None:
    window = torch.arange(4.0).view(1, 2, 2)
    found = average_over_crops([window], [Crop(1, 2, mirrored=True)], (4, 5))[0]
    assert found[1:3, 2:4].tolist() == [[1, 0], [3, 2]]
    assert found.sum() == window.sum()


def test_the_centre_is_in_the_middle() -> None:
    assert centre_crop((10, 7), (6, 7)) == [Crop(2, 0)]


def test_one_glance_serves_the_scores_and_any_number_of_targets(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    x = toys.photos(network, 2).pixels
    rows = [[resolve(a, network), resolve(b, network)] for a, b in ((0, 1), (5, 5))]
    glance = ForwardPass(network, x, [network.target])
    assert torch.equal(glance.scores, network.scores(x)) and not glance.scores.requires_grad
    for row in rows:
        assert torch.equal(glance.gradient(row), image_gradient(network, x, row))


def test_crops_are_looked_at_together_as_far_as_a_batch_goes() -> None:
    crops = ten_crops((10, 12), (6, 6))
    large, small = (227, 227), (64, 64)
    assert [len(group) for group in in_micro_batches(crops, 1, large)] == [10]
    assert [len(group) for group in in_micro_batches(crops, 3, large)] == [5, 5]
    assert [len(group) for group in in_micro_batches(crops, 40, large)] == [1] * 10
    assert [len(group) for group in in_micro_batches(crops, 16, small)] == [10]
    assert [crop for group in in_micro_batches(crops, 5, large) for crop in group] == crops
    assert list(in_micro_batches([], 2, large)) == []
