"""Class models: the linear score's known answer, batches against single classes, starts, seeds and refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import conf_models, find_spec
from deepinside.optimisation.optimisers import LBFGS, Adam, Momentum, Optimiser
from deepinside.techniques.class_model import ClassModel
from deepinside.types import ImageBatch, Item, Seeds

NOTHING = ImageBatch((), torch.zeros(0, 3, 32, 32))
OPTIMISERS: tuple[Optimiser, ...] = (
    Momentum(steps=20, rate=0.4, rate_in="pixels"),
    Momentum(steps=20, rate=100.0),
    Adam(steps=15),
    LBFGS(steps=4),
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


@pytest.fixture(scope="module")
def embedded() -> Network:
    if not (conf_models() / "tinycaffenet.onnx").is_file():
        pytest.skip("the embedded network is still being trained")
    return load(find_spec("tinycaffenet"))


def items(
    network: Network, *targets: str | int, batch: ImageBatch = NOTHING, seed: int = 0, **settings: Any
) -> list[Item]:
    settings = {"l2": 1e-6, "start": "noise", "optimiser": Momentum(steps=5, rate_in="pixels"), **settings}
    return list(ClassModel(targets=targets, **settings)(network, batch, Seeds(seed)).items)


def shown(found: list[Item]) -> Tensor:
    return torch.stack([item.panels[0].values for item in found])


def raw(network: Network, found: list[Item]) -> Tensor:
    """The images before the mean is added for display."""
    return shown(found) - network.mean


@pytest.mark.parametrize("convention", [toys.BGR, toys.GREY], ids=["bgr", "grey"])
@pytest.mark.parametrize(
    "optimiser",
    [Momentum(steps=40, rate=0.5, momentum=0.5), Adam(steps=250, rate=0.05, beta2=0.9), LBFGS(steps=8)],
    ids=lambda o: type(o).__name__,
)
def test_a_linear_scores_class_model_is_its_weights_over_twice_lambda(
    tmp_path: Path, optimiser: Optimiser, convention: toys.InputConvention
) -> None:
    toy = toys.linear(tmp_path, convention)
    found = items(toy.network, 0, 1, 2, start="zero", l2=0.5, optimiser=optimiser)
    assert (raw(toy.network, found) - toy.weights[:3] / (2 * 0.5)).abs().max() < 0.01
    best = toy.weights.square().flatten(1).sum(1) / (4 * 0.5) + toy.bias
    assert [item.trace["objective"][-1].item() for item in found] == pytest.approx(best[:3].tolist(), rel=1e-2)


def test_a_group_of_a_linear_score_is_the_mean_of_its_weights(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    found = items(toy.network, "cats", start="zero", l2=2.0, optimiser=LBFGS(steps=6))
    assert torch.allclose(raw(toy.network, found)[0], toy.weights[:2].mean(0) / 4, atol=1e-4)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("extra", [{"start": "zero"}, {"jitter": 0.1, "total_variation": 0.1}], ids=["paper", "jitter"])
def test_many_classes_are_as_one_at_a_time(network: Network, optimiser: Optimiser, extra: dict[str, Any]) -> None:
    names = ("goose", "cats", "lemon", "conv2:5")
    compare(network, names, optimiser=optimiser, **extra)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: type(o).__name__)
def test_many_classes_are_as_one_at_a_time_on_the_embedded_network(embedded: Network, optimiser: Optimiser) -> None:
    compare(embedded, ("goose", "school bus", "cats"), optimiser=optimiser, jitter=0.06, l2=1e-7)


def compare(network: Network, names: tuple[str, ...], **settings: Any) -> None:
    together = items(network, *names, **settings)
    reach = shown(together).amax((1, 2, 3)) - shown(together).amin((1, 2, 3))
    for i, name in enumerate(names):
        (alone,) = items(network, name, **settings)
        assert alone.name == together[i].name
        assert (alone.panels[0].values - together[i].panels[0].values).abs().max() <= 1e-5 * reach[i]
        for part, values in alone.trace.items():
            assert torch.allclose(values, together[i].trace[part], rtol=1e-5)


def test_the_order_of_classes_changes_nothing(network: Network) -> None:
    forth = items(network, "goose", "lemon", jitter=0.1)
    back = items(network, "lemon", "goose", jitter=0.1)
    assert torch.equal(shown(forth), shown(back[::-1]))


def test_seeds(network: Network) -> None:
    zero, again, one = (shown(items(network, "goose", jitter=0.1, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(zero, again) and not torch.equal(zero, one)
    noise = [raw(network, items(network, "goose", seed=seed, optimiser=still())) for seed in (0, 1)]
    assert not torch.equal(*noise)


def test_jitter_alone_depends_on_the_seed_and_without_it_nothing_does(network: Network) -> None:
    for jitter, differs in ((0.07, True), (0.0, False)):
        start = [
            shown(items(network, "goose", start="photo", jitter=jitter, seed=s, batch=photo(network))) for s in (0, 1)
        ]
        assert torch.equal(*start) != differs


def test_what_the_network_says_of_all_models_is_asked_together(network: Network, passes: list[int]) -> None:
    items(network, "goose", "cats", "lemon", "conv2:5", optimiser=Momentum(steps=5))
    assert passes == [4] * (5 + 2)  # the steps, the images found, the images they began as


def still() -> Momentum:
    return Momentum(steps=1, rate=1e-30)


def photo(network: Network) -> ImageBatch:
    return toys.photos(network, 2)


def test_starts(network: Network) -> None:
    begun = {
        start: raw(network, items(network, "goose", "lemon", start=start, batch=photo(network), optimiser=still()))
        for start in ("zero", "mean", "noise", "photo")
    }
    assert begun["zero"].abs().max() < 1e-4
    assert torch.allclose(begun["mean"], network.mean.expand(2, 3, 32, 32))
    assert torch.allclose(begun["photo"], photo(network).pixels[:1].expand(2, -1, -1, -1), atol=1e-4)
    noise = begun["noise"]
    assert noise.min() > -1e-4 and noise.max() < 1.0001 and noise.std() == pytest.approx(12**-0.5, rel=0.05)
    assert not torch.equal(noise[0], noise[1])


def test_a_photo_to_start_from_is_asked_for(network: Network) -> None:
    with pytest.raises(DeepInsideError, match=r"start=photo: expected a photo .*set images\.root"):
        items(network, "goose", start="photo")


def test_the_mean_is_added_back_for_display(network: Network) -> None:
    (found,) = items(network, "goose", start="zero", optimiser=still())
    assert found.panels[0].values.flatten(1).mean(1).tolist() == pytest.approx([123, 117, 104])
    assert found.panels[0].kind == "photo"


def test_the_numbers_are_those_of_the_last_image(network: Network) -> None:
    (found,) = items(network, "goose")
    x = raw(network, [found])
    scores = network.scores(x)
    assert found.metrics["score"] == pytest.approx(scores[0, 4].item(), rel=1e-4)
    assert found.metrics["posterior"] == pytest.approx(scores.softmax(1)[0, 4].item(), rel=1e-3)
    assert found.metrics["contrast"] == pytest.approx(x.square().mean().sqrt().item(), rel=1e-4)


def test_every_part_of_the_gain_is_traced(network: Network) -> None:
    (found,) = items(network, "goose", total_variation=1e-6, p_norm=1e-12, l2=1e-5)
    assert set(found.trace) == {"objective", "score", "regulariser", "gradient_norm"}
    assert {values.shape for values in found.trace.values()} == {(5,)}
    assert torch.allclose(found.trace["objective"], found.trace["score"] - found.trace["regulariser"], atol=1e-5)


def test_the_score_rises_and_penalties_hold_it_down(network: Network) -> None:
    plain, smooth = (items(network, "goose", start="zero", total_variation=tv)[0] for tv in (0.0, 1e-4))
    assert plain.trace["score"][-1] > plain.trace["score"][0]
    variation = [raw(network, [one]).diff(dim=-1).square().sum() for one in (plain, smooth)]
    assert variation[1] < variation[0]


def test_blur_smooths_every_few_steps(network: Network) -> None:
    plain, blurred, later = (
        raw(network, items(network, "goose", blur=blur, blur_every=every)).diff(dim=-1).square().sum()
        for blur, every in ((0.0, 1), (1.0, 1), (1.0, 6))
    )
    assert blurred < 0.5 * plain and later == plain


def test_objectives_lead_to_different_images(network: Network) -> None:
    score, posterior = (items(network, "goose", start="zero", objective=kind)[0] for kind in ("score", "log_posterior"))
    assert not torch.equal(score.panels[0].values, posterior.panels[0].values)
    share = posterior.metrics["log_odds_share_of_other_classes"]
    assert share > score.metrics["log_odds_share_of_other_classes"]


def test_a_network_of_one_class_has_no_others(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path, toys.RGB, classes=1)
    (found,) = items(toy.network, 0, start="zero", l2=1.0)
    assert set(found.metrics) == {"score", "contrast"}


def test_paper_settings_depart_in_nothing(network: Network) -> None:
    assert ClassModel(targets=("goose",)).deviations() == ()
    said = ClassModel(targets=("goose",), objective="posterior", start="noise", jitter=0.07, blur=1.0).deviations()
    assert len(said) == 4


def test_a_dead_start_says_what_to_change(tmp_path: Path) -> None:
    network = toys.dead(tmp_path)
    with pytest.raises(DeepInsideError, match=r"gradient at the start is zero .*technique\.start=noise"):
        items(network, 0, 1, start="zero")


def test_divergence_says_what_to_change(network: Network) -> None:
    with pytest.raises(DeepInsideError, match=r"lower technique\.optimiser\.rate"):
        items(network, "goose", l2=1.0, optimiser=Momentum(steps=60, rate=1e3))


@pytest.mark.parametrize("wrong", [{"l2": -1.0}, {"jitter": -1}, {"start": "grey"}, {"targets": ()}, {"tv": 1.0}])
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClassModel(**{"targets": ("goose",), **wrong})


def test_nothing_is_left_behind(network: Network) -> None:
    before, code, random = state(network), network.module.code, torch.get_rng_state()
    items(network, "goose", jitter=0.07)
    with pytest.raises(DeepInsideError):
        items(network, "goose", l2=1.0, optimiser=Momentum(steps=60, rate=1e3))
    with pytest.raises(DeepInsideError):
        items(network, "conv2:3", objective="posterior")
    assert network.module.code == code and torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled()
    assert before.keys() == state(network).keys()
    assert all(torch.equal(value, before[name]) for name, value in state(network).items())
    assert not any(p.requires_grad or p.grad is not None for p in network.module.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, kind) for module in network.module.modules() for kind in hooks)
    assert not any(module.training for module in network.module.modules())


def state(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.module.state_dict().items()}


def test_a_units_posterior_is_refused_before_any_work(network: Network) -> None:
    with pytest.raises(DeepInsideError, match="objective: posterior is defined for classes, found 'conv2:3' in conv2"):
        ClassModel(targets=(1, "conv2:3"), objective="posterior").check(network)
    ClassModel(targets=(1, "cats"), objective="posterior").check(network)
    ClassModel(targets=(1, "conv2:3")).check(network)
