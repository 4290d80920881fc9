"""Occlusion on a linear network, where covering a square removes what its pixels add to the score."""

from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor

import deepinside as di
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.targets import resolve
from deepinside.techniques.occlusion import Occlusion, places
from deepinside.types import ImageBatch, Seeds


def maps(network: Network, batch: ImageBatch, **settings: object) -> list[Tensor]:
    found = Occlusion(**settings)(network, batch, Seeds(0))  # type: ignore[arg-type]
    return [item.panels[1].values for item in found.items]


def test_a_square_removes_its_part_of_a_linear_score(tmp_path: Path) -> None:
    """Squares of 2 pixels side by side: each has Σ w·x over its own pixels."""
    linear = toys.linear(tmp_path)
    batch = toys.photos(linear.network, 2)
    for found, x in zip(maps(linear.network, batch, target=1, side=1 / 3, stride=1 / 3), batch.pixels, strict=True):
        parts = (linear.weights[1] * x).sum(0).unfold(0, 2, 2).unfold(1, 2, 2).sum((2, 3))
        wanted = parts.repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-3)


def test_a_pixel_has_the_mean_over_the_squares_that_cover_it(tmp_path: Path) -> None:
    linear = toys.linear(tmp_path)
    batch = toys.photos(linear.network, 1)
    (found,) = maps(linear.network, batch, target=1, side=0.5, stride=1 / 6)
    terms = (linear.weights[1] * batch.pixels[0]).sum(0)
    for row, column in product(range(6), repeat=2):
        covering = [
            terms[top : top + 3, left : left + 3].sum()
            for top, left in product(range(4), repeat=2)
            if 0 <= row - top < 3 and 0 <= column - left < 3
        ]
        assert torch.isclose(found[row, column], torch.stack(covering).mean(), rtol=1e-4, atol=1e-3)


def test_the_largest_fall_is_that_of_one_square(tmp_path: Path) -> None:
    linear = toys.linear(tmp_path)
    batch = toys.photos(linear.network, 1)
    (item,) = Occlusion(target=1, side=0.5, stride=1 / 6)(linear.network, batch, Seeds(0)).items
    squares = (linear.weights[1] * batch.pixels[0]).sum(0).unfold(0, 3, 1).unfold(1, 3, 1).sum((2, 3))
    assert item.metrics["largest_fall"] == pytest.approx(squares.max().item(), rel=1e-4)


@pytest.mark.parametrize(("length", "side", "stride"), [(64, 16, 4), (65, 16, 4), (7, 3, 3), (5, 5, 1), (227, 57, 14)])
def test_squares_reach_from_edge_to_edge(length: int, side: int, stride: int) -> None:
    found = places(length, side, stride)
    assert (found[0], found[-1]) == (0, length - side)
    assert all(0 < after - before <= stride for before, after in pairwise(found))


def test_a_photo_of_a_batch_is_as_alone(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    batch = toys.photos(network, 3)
    settings = {"target": "goose", "objective": "posterior"}
    found = maps(network, batch, **settings)
    assert all(torch.equal(found[i], *maps(network, toys.alone(batch, i), **settings)) for i in range(3))


@pytest.mark.filterwarnings("ignore")  # of Captum's own
@pytest.mark.parametrize(("side", "stride"), [(16, 8), (24, 5)])
def test_it_is_captums(side: int, stride: int) -> None:
    captum = pytest.importorskip("captum.attr")
    network = di.load("tinycaffenet")
    batch, target = toys.photos(network, 2), resolve("goose", network)
    with torch.no_grad():
        expected = captum.Occlusion(network.scores).attribute(
            batch.pixels, (3, side, side), strides=(3, stride, stride), baselines=0, target=target.channels[0]
        )
    found = torch.stack(maps(network, batch, target="goose", side=side / 64, stride=stride / 64))
    assert (64 - side) % stride == 0  # else Captum cuts off its last squares
    assert torch.allclose(found, expected[:, 0].float(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_settings_that_do_not_fit_fail_before_any_work(tmp_path: Path) -> None:
    network = toys.linear(tmp_path).network
    with pytest.raises(DeepInsideError, match="nowhere"):
        Occlusion(target="nowhere").check(network)
    with pytest.raises(DeepInsideError, match=r"stride: expected at most side, 0.1, .* found 0.2"):
        Occlusion(side=0.1, stride=0.2).check(network)
    with pytest.raises(DeepInsideError, match="posterior is defined for classes"):
        Occlusion(target="flatten1:1", objective="posterior").check(network)
