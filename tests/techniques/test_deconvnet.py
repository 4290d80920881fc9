"""Saliency with a rule for its ReLUs: DeconvNet and guided back-propagation, of classes and of units."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import torch
from plain_backward import image_signal
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.figures import picture
from deepinside.metrics.aggregation import agreement
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.pipeline.run import combine_variants
from deepinside.techniques.saliency import Saliency
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    spec = graphs.save(graphs.caffe(), tmp_path_factory.mktemp("caffe"), target="fc8")
    return replace(load(spec), labels=tuple(Label(i, "", f"class {i}") for i in range(10)))


def batch(count: int = 3, side: int = 32) -> ImageBatch:
    x = 50 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    shown = [Photo(f"photo{i}", pixels, "") for i, pixels in enumerate(x)]
    return ImageBatch(tuple(shown), x)


def items(network: Network, photos: ImageBatch | None = None, **settings: Any) -> tuple[Item, ...]:
    return Saliency(**settings)(network, photos or batch(), Seeds(0)).items


def maps(found: tuple[Item, ...], place: int = 1) -> Tensor:
    return torch.stack([item.panels[place].values for item in found])


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided"])
def test_the_map_is_the_plain_loops(tmp_path: Path, rule: str) -> None:
    model = graphs.caffe()
    for node in model.graph.node:
        if node.op_type == "LRN":  # the plain loop knows none; ReLU of a rectified value is one more ReLU
            node.op_type = "Relu"
            del node.attribute[:]
    network = load(graphs.save(model, tmp_path, target="fc8"))
    network = replace(network, labels=tuple(Label(i, "", f"class {i}") for i in range(10)))
    found = items(network, target="3", show="colour", relu_rule=rule)
    expected = image_signal(network, batch().pixels, 3, rule)
    assert (maps(found) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert [item.metrics["relu_count"] for item in found] == [4, 4, 4]


def test_magnitude_is_the_largest_of_the_colours(network: Network) -> None:
    colour = maps(items(network, show="colour", relu_rule="guided"))
    assert torch.equal(maps(items(network, relu_rule="guided")), colour.abs().amax(1))


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_unit_of_a_layer(network: Network, rule: str) -> None:
    (one, *_) = items(network, target="conv2:5:max", show="colour", relu_rule=rule)
    (plain, *_) = items(network, target="conv2:5:max", show="colour")
    assert one.panels[1].caption == "conv2:5:max" and one.metrics["relu_count"] == 1
    assert (one.panels[1].values - plain.panels[1].values).abs().max() > 0


def test_a_rule_with_nothing_to_act_on_is_refused(network: Network) -> None:
    with pytest.raises(DeepInsideError, match="ReLUs for guided to act on, found none below the target's layer conv1"):
        items(network, target="conv1:2", relu_rule="guided")
    assert items(network, target="conv1:2")[0].metrics["relu_count"] == 0


def test_a_linear_network_has_a_gradient_and_no_deconvnet(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 3, 32, 32))
    network = load(graphs.save(graphs.linear(weights), tmp_path, target="score", output="scores"))
    network = replace(network, labels=tuple(Label(i, "", str(i)) for i in range(4)))
    expected = torch.tensor(weights[2]).flip(0).abs().amax(0).float()
    assert torch.allclose(maps(items(network, target="2")), expected.expand(3, -1, -1))
    with pytest.raises(DeepInsideError, match="found none"):
        items(network, target="2", relu_rule="deconvnet")


def test_several_targets_are_panels_of_one_item(network: Network) -> None:
    found = items(network, target=("top1", 4, "conv2:5:max"), relu_rule="guided")
    names = [panel.name for panel in found[0].panels]
    assert names == ["photo", "saliency_top1", "saliency_class_4", "conv2_5_max"]
    assert torch.equal(maps(found, 2), maps(items(network, target=4, relu_rule="guided")))
    assert torch.equal(maps(found, 3), maps(items(network, target="conv2:5:max", relu_rule="guided")))
    assert found[0].metrics["relu_count"] == 1


def test_ten_crops_go_with_a_rule(network: Network) -> None:
    found = items(network, batch(2, 36), crops="ten", show="colour", relu_rule="guided")
    assert maps(found).shape == (2, 3, 36, 36)


def test_a_batch_is_its_photos_one_by_one(network: Network) -> None:
    together = maps(items(network, show="colour", relu_rule="deconvnet"))
    for place, photo in enumerate(batch().photos):
        (alone,) = items(network, ImageBatch((photo,), photo.pixels[None]), show="colour", relu_rule="deconvnet")
        assert (alone.panels[1].values - together[place]).abs().max() <= 1e-5 * together.abs().max()


def test_nothing_is_left_on_the_network(network: Network) -> None:
    before, code = maps(items(network)), network.module.code
    items(network, relu_rule="guided")
    with pytest.raises(DeepInsideError):
        items(network, target="conv2:5", objective="posterior", relu_rule="guided")
    assert network.module.code == code
    assert torch.equal(maps(items(network)), before)


def test_the_report_says_which_rule() -> None:
    said = Saliency(relu_rule="guided", crops="ten").deviations()
    assert said == ("the ReLUs use the rule guided, not gradient",)


def test_colour_is_drawn_about_mid_grey_and_kept_raw() -> None:
    values = torch.tensor([[[0.0, -2.0]], [[1.0, 2.0]], [[0.0, 0.0]]])
    panel = Panel("saliency", values, "colour")
    assert picture(panel, "inferno").tolist() == [[[128, 191, 128], [0, 255, 128]]]
    assert torch.equal(panel.values, values)


def test_maps_in_colour_are_compared_between_variants(network: Network) -> None:
    techniques = {rule: Saliency(show="colour", relu_rule=rule) for rule in ("gradient", "guided")}
    output = combine_variants({name: technique(network, batch(1), Seeds(0)) for name, technique in techniques.items()})
    correlation = agreement(output.items[0])["rank_correlation/gradient~guided"]
    assert 0 < correlation < 0.95
