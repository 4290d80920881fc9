"""The comparison of precisions: a network agrees with itself, another one does not, and the table shows both."""

from pathlib import Path

import precision_fidelity as fidelity
import pytest
import torch
import toys

from deepinside.networks.precision import to_device
from deepinside.optimisation.optimisers import Momentum
from deepinside.techniques.class_model import ClassModel
from deepinside.types import Seeds

MODEL = ClassModel(targets=(0,), optimiser=Momentum(steps=2))


def test_a_network_agrees_with_itself(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    pair, found = (network, network), [toys.photos(network)]
    rows = fidelity.maps(pair, found) | fidelity.boxes(pair, found, Seeds(0))
    assert rows.pop("class score: relative change, median (largest)") == "0.0% (0.0%)"
    assert rows.pop("photos with another best class") == rows.pop("boxes with IoU < 0.9") == "0"
    assert set(rows.values()) == {"1.000 (1.000)"} and len(rows) == 4
    models = fidelity.class_models(pair, MODEL, Seeds(0))
    assert models["class models: rank correlation of the intensities"] == "1.000 (1.000)"
    before, after = models["class models: mean probability of the class"].split(" → ")
    assert before == after


def test_rounding_shows_in_every_row_of_maps(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    (batch,) = [toys.photos(network)]
    for correlation, similarity, shared, change, _ in fidelity.compared_maps(
        (network, to_device(network, "cpu", "bf16")), batch
    ):
        assert 0.5 < correlation < 1 and 0.5 < similarity < 1 and 0.2 < shared <= 1 and 0 < change < 0.1


def test_the_brightest_pixels_in_common() -> None:
    first = torch.arange(100.0).view(10, 10)
    second = first.clone()
    second[9, 5:] = torch.tensor([0.0, 0, 97, 98, 99])  # two of the five brightest are gone
    assert fidelity.common(first, first) == 1
    assert fidelity.common(first, second) == pytest.approx(3 / 5)


def test_networks_stand_side_by_side() -> None:
    lines = fidelity.table([{"": "one", "photos": "3"}, {"": "two", "photos": "4", "error": "1 → 2"}]).splitlines()
    assert lines == ["|  | one | two |", "| --- | --- | --- |", "| photos | 3 | 4 |", "| error |  | 1 → 2 |"]
