"""Deletion and insertion on a network whose answer is known: it counts the brightness of one square."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch

from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.techniques.faithfulness import Faithfulness, area, ranks
from deepinside.types import ImageBatch, Item, Photo, Seeds

SQUARE = (slice(8, 16), slice(16, 24))
SHARE = 64 / 1024


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Two classes; the first's score is the brightness in the square, the second's is always 5."""
    weights = np.zeros((2, 3, 32, 32))
    weights[0, :, SQUARE[0], SQUARE[1]] = 10 / (3 * 64 * 50)
    folder: Path = tmp_path_factory.mktemp("square")
    network = load(graphs.save(graphs.linear(weights), folder, target="score", output="scores"))
    return replace(network, labels=(Label(0, "", "square"), Label(1, "", "other")))


def batch(count: int = 2) -> ImageBatch:
    generator = torch.Generator().manual_seed(4)
    x = 5 * torch.randn(count, 3, 32, 32, generator=generator)
    x[..., SQUARE[0], SQUARE[1]] = 50
    shown = [Photo(f"photo{i}", pixels, "", number=i) for i, pixels in enumerate(x)]
    return ImageBatch(tuple(shown), x)


def items(network: Network, photos: ImageBatch | None = None, **settings: Any) -> tuple[Item, ...]:
    return Faithfulness(target="square", steps=16, **settings)(network, photos or batch(), Seeds(0)).items


def test_the_map_comes_of_the_pass_that_gave_the_scores(network: Network, passes: list[int]) -> None:
    items(network)
    assert passes == [2] * (1 + 4 * 17)  # once for the map, then along four curves


def test_pixels_rank_by_falling_value() -> None:
    maps = torch.tensor([[[0.1, 3.0], [2.0, 2.0]]])
    assert ranks(maps).tolist() == [[[0.75, 0.0], [0.25, 0.5]]]


def test_the_area_is_the_trapezias() -> None:
    assert area(torch.tensor([1.0, 0.5, 0.0])) == pytest.approx(0.5)
    assert area(torch.ones(9)) == pytest.approx(1)


def test_the_square_decides_and_the_curves_end_where_they_must(network: Network) -> None:
    found = items(network)[0]
    trace = {name: values.tolist() for name, values in found.trace.items()}
    full, none = 1 / (1 + np.exp(-10.0)), 0.5  # sigmoid of the difference of the two scores
    assert trace["deletion"][0] == pytest.approx(full, abs=1e-4)
    # a sixteenth of the photo is the square: gone after the first step, whatever comes later
    assert trace["deletion"][1:] == pytest.approx([none] * 16, abs=1e-4)
    assert trace["insertion"][1:] == pytest.approx([full] * 16, abs=1e-4)
    assert trace["insertion"][0] < full
    assert SHARE == 1 / 16


def test_a_map_beats_a_random_order(network: Network) -> None:
    for item in items(network):
        assert item.metrics["deletion_area"] < item.metrics["random_deletion_area"] - 0.1
        assert item.metrics["insertion_area"] > item.metrics["random_insertion_area"]


def test_a_batch_is_its_photos_one_by_one(network: Network) -> None:
    for photo, together in zip(batch().photos, items(network), strict=True):
        (alone,) = items(network, ImageBatch((photo,), photo.pixels[None]))
        assert alone.metrics == pytest.approx(together.metrics, abs=1e-5)


def test_a_unit_has_no_posterior_and_nothing_is_left(network: Network) -> None:
    code = network.module.code
    with pytest.raises(DeepInsideError, match="posterior is defined for classes"):
        Faithfulness(target="flat_1:3")(network, batch(), Seeds(0))
    assert network.module.code == code


def test_a_map_that_tells_nothing_has_no_curves(network: Network) -> None:
    (item, *_) = Faithfulness(target="other", steps=4)(network, batch(), Seeds(0)).items  # the score is always 5
    assert item.panels[1].blank == "zero everywhere"
    assert (item.metrics, item.trace) == ({}, {})
