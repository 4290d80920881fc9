"""SmoothGrad and integrated gradients against closed forms and plain autograd."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from pydantic import TypeAdapter, ValidationError

from deepinside.attribution.averaging import Average, IntegratedGradients, SmoothGrad, attributions, completeness_error
from deepinside.networks.network import Network
from deepinside.targets import Target, resolve
from deepinside.techniques.saliency import Saliency
from deepinside.types import Seeds


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


def targets(network: Network, *classes: int) -> list[Target]:
    return [resolve(one, network) for one in classes]


def test_averages_of_a_linear_score_are_its_weights_and_its_contributions(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    batch = toys.photos(toy.network, 3)
    asked = targets(toy.network, 2, 0, 3)
    weights = toy.weights[[2, 0, 3]]
    smooth = attributions(toy.network, batch, asked, SmoothGrad(samples=3), Seeds(0))
    assert torch.allclose(smooth, weights, rtol=1e-5)
    from_mean = attributions(toy.network, batch, asked, IntegratedGradients(samples=2, baseline="mean"), Seeds(0))
    assert torch.allclose(from_mean, weights * batch.pixels, rtol=1e-4, atol=1e-5)
    from_black = attributions(toy.network, batch, asked, IntegratedGradients(samples=2), Seeds(0))
    mean = toy.network.input.mean_at((6, 6), torch.float32, torch.device("cpu"))
    assert torch.allclose(from_black, weights * (batch.pixels + mean), rtol=1e-4, atol=1e-4)


def test_smooth_grad_is_the_mean_of_autograd_at_the_noisy_photos(network: Network) -> None:
    batch, average = toys.photos(network, 2), SmoothGrad(samples=4, sigma=0.2)
    expected = torch.zeros_like(batch.pixels)
    for copy in average.versions(network, batch, Seeds(5)):
        x = copy.detach().requires_grad_()
        scores = network.scores(x)
        expected += torch.autograd.grad(scores[0, 1] + scores[1, 0], x)[0] / 4
    found = attributions(network, batch, targets(network, 1, 0), average, Seeds(5))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-7 * float(expected.abs().max()) + 1e-9)


def test_the_noise_is_a_share_of_the_photos_range_and_belongs_to_the_photo(network: Network) -> None:
    batch, average = toys.photos(network, 2), SmoothGrad(samples=200, sigma=0.25)
    noise = torch.stack([copy - batch.pixels for copy in average.versions(network, batch, Seeds(0))])
    spread = noise.std((0, 2, 3, 4)) / (batch.pixels.amax((1, 2, 3)) - batch.pixels.amin((1, 2, 3)))
    assert torch.allclose(spread, torch.tensor(0.25), rtol=0.05)
    again = next(average.versions(network, batch, Seeds(0))) - batch.pixels
    assert torch.equal(again, noise[0]) and not torch.equal(noise[0, 0], noise[0, 1])


def test_integrated_gradients_add_up_to_the_difference_of_scores(network: Network) -> None:
    batch, asked = toys.photos(network, 2), targets(network, 1, 0)
    errors = []
    for samples in (1, 64):
        average = IntegratedGradients(samples=samples)
        found = attributions(network, batch, asked, average, Seeds(0))
        errors.append(completeness_error(network, batch.pixels, found, asked, average))
    assert (errors[1] < 0.05).all() and (errors[1] <= errors[0] + 1e-6).all()


def test_the_technique_averages_every_crop_and_reports_completeness(network: Network) -> None:
    batch = toys.photos(network, 2)
    plain = Saliency(average="integrated_gradients")(network, batch, Seeds(0)).items  # type: ignore[arg-type]
    assert all(0 <= item.metrics["completeness_error"] < 0.5 for item in plain)
    said = Saliency(average={"kind": "smooth_grad", "samples": 2})(network, batch, Seeds(0))  # type: ignore[arg-type]
    assert any("SmoothGrad, 2 samples" in deviation for deviation in said.deviations)
    assert all("completeness_error" not in item.metrics for item in said.items)


def test_none_is_the_plain_gradient() -> None:
    assert TypeAdapter(Average).validate_python("none") is None


@pytest.mark.parametrize("value", ["smoothgrad", {"kind": "smooth_grad", "samples": 0}, {"samples": 3}])
def test_unknown_kinds_and_keys_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Average).validate_python(value)


@pytest.mark.filterwarnings("ignore")  # of Captum's own
def test_integrated_gradients_are_captums(network: Network) -> None:
    captum = pytest.importorskip("captum.attr")
    batch, average = toys.photos(network, 2), IntegratedGradients(samples=7)
    baseline = batch.pixels - average.factor(network, batch.pixels)
    captums = captum.IntegratedGradients(network.scores)
    expected = captums.attribute(batch.pixels, baseline, target=[1, 0], n_steps=7, method="riemann_middle")
    found = attributions(network, batch, targets(network, 1, 0), average, Seeds(0))
    assert torch.allclose(found, expected.to(found), rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore")  # of Captum's own
def test_smooth_grad_is_captums(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captum's noise tunnel over the plain gradient, which draws the same noise here."""
    captum = pytest.importorskip("captum.attr")
    batch, average, asked = toys.photos(network, 2), SmoothGrad(samples=5, sigma=0.2), [1, 0]
    copies = torch.stack(list(average.versions(network, batch, Seeds(3))), 1)  # (N, samples, C, H, W), as Captum's
    monkeypatch.setattr(torch, "normal", lambda mean, std: (copies - batch.pixels[:, None]).flatten(0, 1))
    plain = captum.Saliency(network.scores)
    expected = captum.NoiseTunnel(plain).attribute(
        batch.pixels, nt_type="smoothgrad", nt_samples=5, stdevs=1.0, target=asked, abs=False
    )
    found = attributions(network, batch, targets(network, *asked), average, Seeds(3))
    assert torch.allclose(found, expected.to(found), rtol=1e-3, atol=1e-5 * float(expected.abs().max()))
