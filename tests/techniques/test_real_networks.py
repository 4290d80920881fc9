"""Real ImageNet weights, if they are there: networks recognise the class models and inversions converge."""

import math

import pytest
import torch

import deepinside as di
from deepinside.api.results import Results
from deepinside.config.paths import ROOT
from deepinside.networks.network import Network

SHARED = ROOT.parent / "shared"
FILES = ("squeezenet1.0-9.onnx", "squeezenet1.0.onnx")
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
    photo = SHARED / "data" / "photos" / "n02123045_tabby.jpg"
    found = di.inversion(networks[name], photo, layers="fire9/concat")  # fewer steps than the default do not converge
    error = found.metrics["fire9_concat/error"]
    assert math.isfinite(error)
    assert error < 0.3
