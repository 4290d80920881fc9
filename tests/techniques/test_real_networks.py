"""Real ImageNet weights, if they are there: techniques at the experiments' settings, each judged by a number."""

import math

import pytest
import torch

import deepinside as di
from deepinside.api.results import Results
from deepinside.config.composition import compose_dict
from deepinside.config.paths import ROOT
from deepinside.networks.network import Network

SHARED = ROOT.parent / "shared"
FILES = ("squeezenet1.0-9.onnx", "squeezenet1.0.onnx")
PHOTO = SHARED / "data" / "photos" / "n02123045_tabby.jpg"
CLASSES = ("n02056570", "n03085013", "n07720875")  # king penguin, computer keyboard, bell pepper
pytestmark = pytest.mark.skipif(
    not all((SHARED / "models" / name).is_file() for name in FILES), reason="no networks with real weights here"
)


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: di.load(SHARED / "models" / name) for name in FILES}


def rank(network: Network, image: torch.Tensor, wnid: str) -> int:
    """The place of a class among the network's scores for the image as a user would show it: eight bits, as a photo."""
    picture = image.clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    scores = network.scores(di.photos(network, picture).pixels)[0]
    number = [label.wnid for label in network.labels].index(wnid)
    return int((scores > scores[number]).sum())


def recognised(network: Network, found: Results, classes: tuple[str, ...]) -> int:
    """How many of the images show the network their class, among its first five."""
    pairs = zip(found.items, classes, strict=True)
    return sum(rank(network, item.image, wnid) < 5 for item, wnid in pairs)


@pytest.mark.parametrize("name", FILES)
def test_class_models_of_few_steps_are_recognised_as_displayed(networks: dict[str, Network], name: str) -> None:
    network = networks[name]
    found = di.class_model(network, CLASSES, optimiser={"steps": 25})
    assert recognised(network, found, CLASSES) >= 2
    assert found.metrics["clipped"] < 0.01
    assert all(item.image.std() > 10 for item in found.items), "not grey"


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_an_inversion_of_a_deep_layer_converges(networks: dict[str, Network], name: str) -> None:
    found = di.inversion(networks[name], PHOTO, layers="fire9/concat")  # fewer steps than the default do not converge
    error = found.metrics["fire9_concat/error"]
    assert math.isfinite(error)
    assert error < 0.3


@pytest.mark.parametrize("name", FILES)
def test_bare_ascent_leaves_strokes_on_grey_that_the_network_recognises(
    networks: dict[str, Network], name: str
) -> None:
    settings = compose_dict(["experiment=caffe_class_model_cat"])["variants"]["project"]
    found = di.class_model(networks[name], "n02123045", **settings)
    assert found.metrics["recognised_top5"] == 1
    image = found.items[0].image
    display = 255 * (image - image.min()) / (image.max() - image.min())
    assert 3 < display.std() < 40, "neither uniform nor noise of high contrast"
    assert (display - display.mean((1, 2), keepdim=True)).std() > 0.9 * display.std(), "grey, not the mean's colour"


@pytest.mark.parametrize("name", FILES)
def test_a_cat_is_found_and_its_map_is_not_blank(networks: dict[str, Network], name: str) -> None:
    found = di.localisation(networks[name], PHOTO)
    assert found.metrics["found"] == 1
    assert 0.05 < found.metrics["mask_share"] < 0.9


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("rule", ["gradient", "guided"])
def test_maps_mark_the_top_class(networks: dict[str, Network], name: str, rule: str) -> None:
    found = di.saliency(networks[name], PHOTO, relu_rule=rule)
    assert found.metrics["posterior"] > 0.3
    assert 1e-4 < found.metrics["map_spread"] < 0.9, "neither a single pixel nor uniform"


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_pixels_of_the_map_carry_the_class(networks: dict[str, Network], name: str) -> None:
    found = di.faithfulness(networks[name], PHOTO, relu_rule="guided").metrics
    assert found["insertion_area"] > found["random_insertion_area"]
    assert found["deletion_area"] < found["random_deletion_area"] + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_randomised_weights_change_the_gradient(networks: dict[str, Network], name: str) -> None:
    found = di.randomisation(networks[name], PHOTO, rules=("gradient",), stages=3).metrics
    assert found["gradient/rank_correlation_all"] < 0.7
