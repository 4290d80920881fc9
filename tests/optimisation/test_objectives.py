"""Objectives against the soft-max written out, and their gradients against finite differences."""

from pathlib import Path

import pytest
import torch
import toys

from deepinside.attribution.gradients import image_gradient
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import Objective, measure
from deepinside.targets import resolve

UNITS = ("conv1:2", "conv2:5:max", "conv2:3:1:2", "fc6:3")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


def test_objectives_are_their_formulas(network: Network) -> None:
    x = toys.photos(network, 2).pixels
    scores = network.scores(x)
    targets = [resolve("goose", network), resolve("cats", network)]
    posterior = scores.softmax(1)
    expected = torch.stack([posterior[0, 4], posterior[1, :2].sum()])
    assert torch.allclose(measure(network, x, targets, "score"), torch.stack([scores[0, 4], scores[1, :2].mean()]))
    assert torch.allclose(measure(network, x, targets, "posterior"), expected)
    assert torch.allclose(measure(network, x, targets, "log_posterior"), expected.log(), atol=1e-6)


def test_a_log_posterior_stays_finite_where_the_posterior_is_zero(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    x = 1e3 * (toy.weights[0] - toy.weights[1])[None]
    (found,) = measure(toy.network, x, [resolve(1, toy.network)], "log_posterior").tolist()
    assert -1e6 < found < -1e3


def test_items_may_have_targets_in_different_layers(network: Network) -> None:
    x = toys.photos(network, 3).pixels
    requests = ("goose", "conv2:5:max", "cats")
    together = measure(network, x, [resolve(r, network) for r in requests], "score")
    for i, request in enumerate(requests):
        single = measure(network, x[i : i + 1], [resolve(request, network)], "score")
        assert torch.allclose(together[i : i + 1], single, rtol=1e-5)


@pytest.mark.parametrize("kind", ["posterior", "log_posterior"])
def test_a_unit_has_no_posterior(network: Network, kind: Objective) -> None:
    with pytest.raises(DeepInsideError, match=r"defined for classes, found 'conv2:5' in conv2; use objective=score"):
        measure(network, toys.photos(network, 1).pixels, [resolve("conv2:5", network)], kind)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [(r, k) for r in ("goose", "dogs") for k in ("score", "log_posterior", "posterior")]
    + [(unit, "score") for unit in UNITS],
)
def test_gradients_are_the_finite_differences(network: Network, request_: str, kind: Objective) -> None:
    exact = network.to(dtype=torch.float64)
    x = toys.photos(network, 1).pixels.double()
    target = resolve(request_, network)
    gradient = image_gradient(exact, x, [target], kind).flatten()
    places = gradient.abs().topk(5).indices
    with torch.no_grad():
        expected = toys.numerical_gradient(lambda y: measure(exact, y, [target], kind), x, places, 1e-5)
    assert gradient.abs().max() > 0
    assert torch.allclose(gradient[places], expected, rtol=1e-4, atol=1e-9 * gradient.abs().max().item())


@pytest.mark.parametrize("kind", ["score", "log_posterior"])
def test_float32_is_float64_to_rounding(network: Network, kind: Objective) -> None:
    x, targets = toys.photos(network, 2).pixels, [resolve("goose", network)] * 2
    rough = image_gradient(network, x, targets, kind).double()
    exact = image_gradient(network.to(dtype=torch.float64), x.double(), targets, kind)
    assert (rough - exact).abs().max() <= 1e-4 * exact.abs().max()
