"""A photo's scores and gradients are the same bytes alone, in any company and at any place."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor

from deepinside.attribution.gradients import ForwardPass
from deepinside.config.catalogue import files, network_node
from deepinside.config.settings import construct
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import NetworkSpec
from deepinside.targets import class_target

BATCH = 16
COMPANIES = [(1, 0), (1, 7), (1, 15), (2, 0), (2, 11), (3, 5), (5, 10), (8, 1), (12, 4), (16, 0)]
"""Sizes of a batch, and the places of its first photo among the sixteen."""


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained() -> Network:
    path = files("network")["tinycaffenet"]
    return load(construct(NetworkSpec, network_node("tinycaffenet", path), "network"))


def test_the_trained_network_gives_a_photo_the_same_bytes_in_every_company(trained: Network, threads: int) -> None:
    assert_steady(trained)


@pytest.mark.parametrize("kind", ["caffe", "grey", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_networks_give_a_photo_the_same_bytes_in_every_company(
    kind: str, dtype: torch.dtype, tmp_path: Path, threads: int
) -> None:
    made = {"caffe": toys.caffe, "grey": toys.grey, "linear": lambda folder: toys.linear(folder).network}[kind]
    assert_steady(made(tmp_path).to(dtype=dtype))


def assert_steady(network: Network) -> None:
    x = torch.randn(BATCH, network.input.count, *network.size, generator=torch.Generator().manual_seed(3)) * 50
    scores, gradients = look(network, x.to(network.mean), 0)
    for size, first in COMPANIES:
        some = x[first : first + size].to(network.mean)
        found, back = look(network, some, first)
        assert torch.equal(found, scores[first : first + size]), (size, first)
        assert torch.equal(back, gradients[first : first + size]), (size, first)


def look(network: Network, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Scores and input gradients; each of the sixteen photos is asked for a class of its own."""
    targets = [class_target((first + i) % network.classes, network) for i in range(len(x))]
    glance = ForwardPass(network, x, [network.target])
    return glance.scores, glance.gradient(targets)


def test_gradients_are_those_of_float64(trained: Network) -> None:
    x = torch.randn(4, 3, *trained.size, generator=torch.Generator().manual_seed(5)) * 50
    found = look(trained, x, 0)
    expected = look(trained.to(dtype=torch.float64), x.double(), 0)
    for one, other in zip(found, expected, strict=True):
        off = (one - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1)
        assert off.median() <= 1e-5  # where a rectifier or a maximum is on the brink, a photo may be further off
        assert off.max() <= 0.1
