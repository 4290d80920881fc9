"""The randomisation test: which weights go, when, and that maps are compared with the trained network's."""

from dataclasses import replace
from typing import Any

import graphs
import numpy as np
import pytest
import torch

from deepinside.attribution.averaging import SmoothGrad, attributions
from deepinside.attribution.gradients import image_gradient
from deepinside.attribution.relu_rules import with_rule
from deepinside.claims import Evidence, NotMeasuredError, evaluate
from deepinside.errors import DeepInsideError
from deepinside.metrics.aggregation import BLANK
from deepinside.metrics.similarity import rank_correlation, ssim
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.targets import Target
from deepinside.techniques.randomisation import Randomisation, cascade, entropy_rise, item, randomised, summary
from deepinside.types import ImageBatch, Item, Photo, Seeds

WEIGHTED = ["fc8", "fc6", "conv2", "conv1"]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    spec = graphs.save(graphs.caffe(), tmp_path_factory.mktemp("caffe"), target="fc8")
    return replace(load(spec), labels=tuple(Label(i, "", f"class {i}") for i in range(10)))


def batch(count: int = 2) -> ImageBatch:
    x = 50 * torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    shown = [Photo(f"photo{i}", pixels, "") for i, pixels in enumerate(x)]
    return ImageBatch(tuple(shown), x)


def items(network: Network, photos: ImageBatch | None = None, **settings: Any) -> tuple[Item, ...]:
    return Randomisation(**settings)(network, photos or batch(), Seeds(0)).items


def test_the_cascade_goes_from_the_top_down(network: Network) -> None:
    assert cascade(network, "fc8", 99) == [("fc8",), ("fc6",), ("conv2",), ("conv1",)]
    assert cascade(network, "fc8", 2) == [("fc8",), ("fc6", "conv2", "conv1")]
    assert cascade(network, "conv2", 99) == [("conv2",), ("conv1",)]


def test_from_the_bottom_up_a_stage_takes_over_the_one_before(network: Network) -> None:
    assert cascade(network, "fc8", 2, "bottom_up") == [("conv1",), ("conv2", "fc6", "fc8")]
    found = Randomisation(stages=4, order="bottom_up").randomise(network, "fc8", Seeds(0))
    assert list(found) == list(reversed(WEIGHTED))
    assert found["conv2"].module_of("conv1") is found["conv1"].module_of("conv1") is not network.module_of("conv1")
    assert found["conv2"].module_of("fc8") is network.module_of("fc8")


def test_independent_stages_randomise_their_own_layer_only(network: Network) -> None:
    found = Randomisation(stages=4, order="independent").randomise(network, "fc8", Seeds(0))
    for stage, other in found.items():
        changed = [name for name in WEIGHTED if other.module_of(name) is not network.module_of(name)]
        assert changed == [stage]


def test_averaged_maps_are_those_of_the_average(network: Network) -> None:
    average = SmoothGrad(samples=3, sigma=0.2)
    one = items(network, target="class 2", rules=("gradient",), stages=2, average=average)[0]
    x, target = batch(), [Target("class 2", "fc8", (2,))] * 2
    other = randomised(network, ("fc8",), Seeds(0))
    for panel, each in zip(one.panels[1:3], (network, other), strict=True):
        assert torch.allclose(panel.values, attributions(each, x, target, average, Seeds(0))[0].abs().amax(0))


def test_entropy_rises_from_one_spike_to_noise(network: Network) -> None:
    """A map whose values fill k of the 100 bins equally has entropy log k."""
    two, four = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.3, 0.6, 1.0]])
    assert entropy_rise(two, four) == pytest.approx(1)  # log 4 is twice log 2
    assert entropy_rise(four, two) == pytest.approx(-0.5)
    item = items(network, order="independent", rules=("gradient",), stages=4)[0]
    rises = item.trace["entropy_rise"]
    assert item.metrics["gradient/entropy_rise_bottom"] == pytest.approx(rises[-1].item())
    assert rises[0].item() == pytest.approx(entropy_rise(item.panels[1].values, item.panels[2].values), abs=1e-6)


def test_a_stage_takes_over_the_one_before(network: Network) -> None:
    found = Randomisation(stages=3).randomise(network, "fc8", Seeds(0))
    assert list(found) == ["fc8", "fc6", "conv1"]  # four layers in three stages
    assert found["conv1"].module_of("fc8") is found["fc8"].module_of("fc8") is not network.module_of("fc8")
    assert found["fc8"].module_of("conv1") is network.module_of("conv1") is not found["conv1"].module_of("conv1")


def test_only_the_layers_named_are_drawn_anew_at_their_own_scale(network: Network) -> None:
    other = randomised(network, ("fc8", "conv2"), Seeds(1))
    for name in WEIGHTED:
        old, new = network.module_of(name).weight, other.module_of(name).weight
        if name in ("fc8", "conv2"):
            assert abs(rank_correlation(old, new)) < 0.25
            assert new.std().item() == pytest.approx(old.std().item(), rel=0.2)
        else:
            assert new is old


def test_a_layer_gets_the_same_weights_at_every_stage_and_others_with_another_seed(network: Network) -> None:
    early, late = randomised(network, ("fc8",), Seeds(0)), randomised(network, WEIGHTED, Seeds(0))
    other = randomised(network, ("fc8",), Seeds(1))
    assert torch.equal(early.module_of("fc8").weight, late.module_of("fc8").weight)
    assert not torch.equal(early.module_of("fc8").weight, other.module_of("fc8").weight)


@pytest.mark.parametrize("rule", ["gradient", "guided"])
def test_maps_and_numbers_of_one_stage(network: Network, rule: str) -> None:
    item = items(network, target="class 2", rules=("deconvnet", rule), stages=2)[3]
    assert item.name == f"photo1_{rule}"
    target, x = [Target("class 2", "fc8", (2,))] * 2, batch().pixels
    first = randomised(network, ("fc8",), Seeds(0))
    own, after = (image_gradient(with_rule(each, rule)[0], x, target)[1].abs().amax(0) for each in (network, first))
    assert torch.allclose(item.panels[1].values, own) and torch.allclose(item.panels[2].values, after)
    assert [panel.name for panel in item.panels] == ["photo", "trained", "down_to_fc8", "down_to_conv1"]
    assert item.metrics[f"{rule}/rank_correlation_top"] == pytest.approx(rank_correlation(own, after), abs=1e-4)
    assert item.metrics[f"{rule}/ssim_top"] == pytest.approx(ssim(own, after), abs=1e-4)
    assert item.trace["ssim"].tolist()[-1] == pytest.approx(item.metrics[f"{rule}/ssim_all"])


def test_a_map_that_looks_at_no_weights_above_does_not_change(network: Network) -> None:
    """A unit's map depends on the layers below it only."""
    item = items(network, target="conv1:3", rules=("gradient",))[0]
    assert [panel.name for panel in item.panels] == ["photo", "trained", "down_to_conv1"]


def test_no_weights_no_test(network: Network) -> None:
    with pytest.raises(DeepInsideError, match="layers with weights below conv1"):
        cascade(network.with_modules(lambda *_: torch.nn.Identity()), "conv1", 3)


def test_a_batch_is_its_photos_one_by_one(network: Network) -> None:
    for photo, together in zip(batch().photos, items(network, rules=("guided",)), strict=True):
        (alone,) = items(network, ImageBatch((photo,), photo.pixels[None]), rules=("guided",))
        assert alone.metrics == pytest.approx(together.metrics, abs=1e-3)


def test_nothing_is_left_on_the_network(network: Network) -> None:
    before = {name: values.clone() for name, values in network.module.state_dict().items()}
    code = network.module.code
    items(network, rules=("guided",))
    with pytest.raises(DeepInsideError, match="no layer"):
        items(network, target="nowhere:3", rules=("guided",))
    assert network.module.code == code
    assert all(torch.equal(values, before[name]) for name, values in network.module.state_dict().items())


@pytest.mark.parametrize(("found", "gradient", "guided"), [(0.2, "holds", "fails"), (0.8, "fails", "holds")])
def test_the_claims_read_the_means(network: Network, found: float, gradient: str, guided: str) -> None:
    around = found + np.linspace(-0.1, 0.1, 8)
    columns = {"gradient/rank_correlation_mean": around, "guided/rank_correlation_mean": around}
    evidence = Evidence(network, batch(), Seeds(0), {}, columns)
    assert evaluate("gradient_passes_randomisation", evidence).verdict == gradient
    assert evaluate("guided_fails_randomisation", evidence).verdict == guided


def test_stages_whose_map_tells_nothing_are_left_out() -> None:
    assert summary("x", torch.tensor([0.5, torch.nan, 0.3])) == pytest.approx(
        {"x_top": 0.5, "x_all": 0.3, "x_mean": 0.4}
    )
    assert summary("x", torch.tensor([torch.nan, 0.4])) == pytest.approx({"x_all": 0.4, "x_mean": 0.4})
    assert summary("x", torch.tensor([torch.nan, torch.nan])) == {}


def test_a_map_of_zeros_is_like_nothing_and_unlike_nothing(network: Network) -> None:
    own, zero, other = torch.rand(8, 8), torch.zeros(8, 8), torch.rand(8, 8)
    photo = batch(1).photos[0]
    found = {"trained": own[None], "fc8": zero[None], "conv1": other[None]}
    one = item(photo, photo.pixels, "gradient", found, 0, ())
    rank = rank_correlation(own, other)
    expected = {"gradient/rank_correlation_mean": rank, "gradient/rank_correlation_all": rank}
    assert {k: v for k, v in one.metrics.items() if "rank" in k} == pytest.approx(expected)
    assert [panel.blank for panel in one.panels] == ["", "", "zero everywhere", ""]
    dark = item(photo, photo.pixels, "gradient", {**found, "trained": zero[None]}, 0, ())
    assert dark.metrics == {}


def test_claims_are_not_measured_where_every_map_tells_nothing(network: Network) -> None:
    evidence = Evidence(network, batch(1), Seeds(0), {}, {BLANK: np.ones(1)})
    with pytest.raises(NotMeasuredError, match=r"all maps that gradient/rank_correlation_mean needs are blank"):
        evaluate("gradient_passes_randomisation", evidence)
