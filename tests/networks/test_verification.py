"""Verification: agreement is measured at every layer, and a wrong layer is found and named."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from graphs import caffe, save
from torch import nn

from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.networks.verification import check_reference, difference, probe_images, verify


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load(save(caffe(), tmp_path_factory.mktemp("caffe"), target="fc8"))


def test_every_layer_is_checked_and_agrees(network: Network) -> None:
    checks = verify(caffe(), network)
    assert list(checks) == list(network.layers)
    assert max(checks.values()) <= 1e-5
    assert checks == network.checks, "the figures recorded are the same on each run"


@pytest.mark.parametrize("layer", ["conv1", "norm1", "fc6", "fc8"])
def test_the_first_layer_that_disagrees_is_named(network: Network, layer: str) -> None:
    wrong = network.with_modules(lambda name, module: Off(module) if name == layer else None)
    with pytest.raises(DeepInsideError, match=f"but layer '{layer}' .* differs by"):
        verify(caffe(), wrong)


class Off(nn.Module):
    """A layer wrong by a thousandth at one place of the second image."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = self.module(x).clone()
        values[(1, *[0] * (values.ndim - 1))] += 1e-3 * values.abs().max()
        return values


def test_a_normalisation_with_other_constants_is_found(network: Network) -> None:
    """Caffe, ONNX and torch all divide alpha by the size of the window; a converter that did not would be seen."""
    other = nn.LocalResponseNorm(size=5, alpha=5e-2, beta=0.75, k=1)
    wrong = network.with_modules(lambda name, module: other if name == "norm1" else None)
    with pytest.raises(DeepInsideError, match="layer 'norm1'"):
        verify(caffe(), wrong)


def test_a_wrong_input_convention_does_not_pass_for_a_wrong_layer(network: Network) -> None:
    """The probe goes through the same convention on both sides: colours are checked by the reference photo."""
    rgb = replace(network, spec=replace(network.spec, input=replace(network.input, channels="rgb")))
    assert max(verify(caffe(), rgb).values()) <= 1e-5


def test_difference_is_relative_to_the_largest_value() -> None:
    truth = torch.tensor([[2.0, -4.0]])
    assert difference(torch.tensor([[2.0, -3.0]]), truth) == 0.25
    assert difference(truth, truth) == 0
    assert difference(torch.zeros(1, 2), torch.zeros(1, 2)) == 0


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([[1.0, math.nan]], [[1.0, 2.0]]),
        ([[1.0, 2.0]], [[1.0, math.inf]]),
        ([[math.inf, 1.0]], [[math.inf, 1.0]]),
        ([[1e-9, 0.0]], [[0.0, 0.0]]),
        ([[1.0]], [[1.0, 1.0]]),
    ],
)
def test_what_cannot_be_compared_is_infinitely_different(found: list[list[float]], expected: list[list[float]]) -> None:
    assert difference(torch.tensor(found), torch.tensor(expected)) == math.inf


def test_the_probe_is_two_seeded_images_within_the_pixels_range(network: Network) -> None:
    probe = probe_images(network)
    assert probe.shape == (2, 3, 32, 32)
    assert torch.equal(probe, probe_images(network))
    assert not torch.equal(probe, probe_images(network, seed=1))
    levels = network.input.to_intensities(probe)
    assert levels.min() >= 0
    assert levels.max() <= 255
    assert not torch.equal(probe[0], probe[1])


def labelled(network: Network) -> tuple[Network, torch.Tensor, int]:
    photo = torch.randint(0, 256, (3, 50, 50), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    known = replace(network, labels=tuple(Label(i, f"n{i:08d}", f"class {i}") for i in range(10)))
    scaled = nn.functional.interpolate(photo[None].float(), size=(32, 32), mode="bilinear", antialias=True)
    return known, photo, int(network.scores(network.input.to_network(scaled.round())).argmax())


def test_the_reference_photo_gets_its_class(network: Network) -> None:
    known, photo, best = labelled(network)
    assert check_reference(known, photo, ("n99999999", f"n{best:08d}")) == f"n{best:08d}"


def test_a_reference_photo_with_another_class_says_both(network: Network) -> None:
    known, photo, best = labelled(network)
    other = (best + 1) % 10
    with pytest.raises(DeepInsideError, match=f"should be n{other:08d} class {other}, found n{best:08d} class {best}"):
        check_reference(known, photo, (f"n{other:08d}",))


def test_a_network_without_labels_cannot_pass_the_reference(network: Network) -> None:
    with pytest.raises(DeepInsideError, match="which has no label"):
        check_reference(network, labelled(network)[1], ("n00000000",))


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    load(save(caffe(), tmp_path, target="fc8"))
    assert torch.equal(state, torch.random.get_rng_state())
