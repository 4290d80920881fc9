"""Saliency: the linear score's known map, targets, crops, variants, batches, and what is left behind."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import toys
from torch import Tensor, nn

from deepinside.api.results import Results
from deepinside.attribution.gradients import average_over_crops, image_gradient, ten_crops
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import conf_models, find_spec
from deepinside.targets import class_target
from deepinside.techniques.saliency import Saliency
from deepinside.types import ImageBatch, Item, Seeds, TechniqueOutput


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.caffe(tmp_path_factory.mktemp("caffe"))


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return toys.grey(tmp_path_factory.mktemp("grey"))


def items(network: Network, batch: ImageBatch | None = None, **settings: Any) -> tuple[Item, ...]:
    return Saliency(**settings)(network, toys.photos(network) if batch is None else batch, Seeds(0)).items


def maps(network: Network, batch: ImageBatch | None = None, **settings: Any) -> Tensor:
    return torch.stack([item.panels[1].values for item in items(network, batch, **settings)])


@pytest.mark.parametrize("convention", [toys.BGR, toys.RGB, toys.GREY], ids=["bgr", "rgb", "grey"])
def test_a_linear_scores_map_is_the_largest_weight(tmp_path: Path, convention: toys.InputConvention) -> None:
    toy = toys.linear(tmp_path, convention)
    for c in range(4):
        expected = toy.weights[c].abs().amax(0).expand(3, 6, 6)
        assert torch.allclose(maps(toy.network, target=c), expected, rtol=1e-5)


def test_signed_colour_and_input_times_gradient_are_their_formulas(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    batch, w = toys.photos(toy.network), toy.weights[1]
    assert torch.allclose(maps(toy.network, batch, target=1, show="signed"), w.sum(0).expand(3, 6, 6), atol=1e-5)
    assert torch.allclose(maps(toy.network, batch, target=1, show="colour"), w.expand(3, 3, 6, 6), rtol=1e-5)
    product = maps(toy.network, batch, target=1, show="input_times_gradient")
    assert torch.allclose(product, (w * batch.pixels).sum(1), atol=1e-3)
    # the shares of all pixels and the bias make up the score
    total = product.flatten(1).sum(1) + toy.bias[1]
    assert torch.allclose(total, toy.network.scores(batch.pixels)[:, 1], rtol=1e-3)


def test_looks_say_how_a_map_is_drawn(network: Network) -> None:
    looks = {"magnitude": "magnitude", "signed": "signed", "colour": "colour", "input_times_gradient": "signed"}
    for show, look in looks.items():
        assert items(network, toys.photos(network, 1), show=show)[0].panels[1].kind == look


def test_ten_crops_of_a_linear_score_are_put_back_in_place(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path, classes=2)
    found = maps(toy.network, toys.photos(toy.network, 2, larger=3), target=1, crops="ten")
    map_ = toy.weights[1].abs().amax(0)
    total, cover = torch.zeros(9, 9), torch.zeros(9, 9)
    for top, left in ((0, 0), (0, 3), (3, 0), (3, 3), (1, 1)):
        for one in (map_, map_.flip(1)):
            total[top : top + 6, left : left + 6] += one
            cover[top : top + 6, left : left + 6] += 1
    assert cover.min() == 2 and cover.max() == 10
    assert torch.allclose(found, (total / cover).expand(2, 9, 9), rtol=1e-5)


def test_the_average_of_ten_crops_is_mirrored_with_the_photo(network: Network) -> None:
    batch = toys.photos(network, 2, larger=4)
    mirrored = ImageBatch(batch.photos, batch.pixels.flip(-1))
    one, other = (maps(network, b, target="goose", crops="ten") for b in (batch, mirrored))
    assert (one - other.flip(-1)).abs().max() <= 1e-5 * one.max()
    plain = [maps(network, b, target="goose") for b in (batch, mirrored)]
    assert (plain[0] - plain[1].flip(-1)).abs().max() > 0.1 * plain[0].max()


def test_one_crop_of_a_larger_photo_stays_in_the_middle(network: Network) -> None:
    batch = toys.photos(network, 2, larger=4)
    found = maps(network, batch, target="goose")
    centre = ImageBatch(batch.photos, batch.pixels[..., 2:34, 2:34])
    assert found.shape == (2, 36, 36)
    assert torch.allclose(found[:, 2:34, 2:34], maps(network, centre, target="goose"))
    assert found[:, :2].abs().max() == 0 and found[..., 34:].abs().max() == 0


def test_ten_crops_need_larger_photos(network: Network) -> None:
    with pytest.raises(DeepInsideError, match=r"set images\.enlarge"):
        items(network, crops="ten")


def test_two_classes_give_two_maps_and_the_asked_one_is_used(network: Network) -> None:
    x = toys.photos(network).pixels.requires_grad_()
    found = {}
    for name, c in (("goose", 4), ("lion", 9)):
        (gradient,) = torch.autograd.grad(network.scores(x)[:, c].sum(), x)
        found[name] = maps(network, target=name)
        assert torch.allclose(found[name], gradient.abs().amax(1), rtol=1e-4, atol=1e-7)
    assert (found["goose"] - found["lion"]).abs().max() > 0.1 * found["goose"].max()


def test_top1_is_each_photos_own_best_class(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    batch = toys.photos(toy.network, 6)
    best = toy.network.scores(batch.pixels).argmax(1).tolist()
    assert len(set(best)) > 1
    for item, c in zip(items(toy.network, batch, target="top1"), best, strict=True):
        assert item.panels[1].caption == toy.network.labels[c].name
        assert torch.allclose(item.panels[1].values, toy.weights[c].abs().amax(0))


def test_the_best_three_the_true_class_and_a_group(network: Network) -> None:
    batch = toys.photos(network, 2, labels=("goose", "lemon"))
    found = items(network, batch, target=("top3", "true", "cats", "conv2:5"))
    order = network.scores(batch.pixels).argsort(1, descending=True)
    for i, item in enumerate(found):
        names = [network.labels[c].name for c in order[i, :3].tolist()]
        assert [p.caption for p in item.panels[1:]] == [*names, ("goose", "lemon")[i], "cats", "conv2:5"]
    assert torch.equal(found[1].panels[4].values, maps(network, batch, target="lemon")[1])


def test_the_objective_is_the_one_asked_for(network: Network) -> None:
    score, posterior = (maps(network, target="goose", objective=kind) for kind in ("score", "log_posterior"))
    x = toys.photos(network).pixels.requires_grad_()
    (gradient,) = torch.autograd.grad(network.scores(x).log_softmax(1)[:, 4].sum(), x)
    assert torch.allclose(posterior, gradient.abs().amax(1), rtol=1e-3, atol=1e-6)
    assert (score - posterior).abs().max() > 0.01 * score.max()


@pytest.mark.parametrize("settings", [{}, {"show": "signed"}, {"target": ("top2", "conv2:3")}], ids=str)
def test_a_batch_is_its_photos_one_by_one(network: Network, settings: dict[str, Any]) -> None:
    same_alone(network, toys.photos(network, 4), **settings)


def test_a_batch_is_its_photos_one_by_one_also_over_ten_crops(network: Network) -> None:
    same_alone(network, toys.photos(network, 2, larger=4), crops="ten")


def test_a_batch_is_its_photos_one_by_one_on_the_embedded_network() -> None:
    if not (conf_models() / "tinycaffenet.onnx").is_file():
        pytest.skip("the embedded network is still being trained")
    embedded = load(find_spec("tinycaffenet"))
    same_alone(embedded, toys.photos(embedded, 3))


def same_alone(network: Network, batch: ImageBatch, **settings: Any) -> None:
    together = items(network, batch, **settings)
    for i, item in enumerate(together):
        (alone,) = items(network, toys.alone(batch, i), **settings)
        assert [p.name for p in alone.panels] == [p.name for p in item.panels]
        for one, other in zip(alone.panels, item.panels, strict=True):
            assert (one.values - other.values).abs().max() <= 1e-5 * one.values.abs().max()
        assert alone.metrics == pytest.approx(item.metrics, rel=1e-4)


def test_grey_photos(grey: Network) -> None:
    batch = toys.photos(grey, 2)
    x = batch.pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(grey.scores(x)[:, 3].sum(), x)
    assert torch.allclose(maps(grey, batch, target=3), gradient[:, 0].abs(), rtol=1e-4, atol=1e-7)
    assert maps(grey, toys.photos(grey, 2, larger=2), target=3, crops="ten").shape == (2, 18, 18)


def test_the_photo_is_shown_with_its_mean_and_under_its_stem(network: Network) -> None:
    batch = toys.photos(network, 2)
    for photo, item in zip(batch.photos, items(network, batch), strict=True):
        assert item.name == photo.stem
        assert torch.equal(item.panels[0].values, photo.pixels + network.mean)
        assert item.panels[0].kind == "photo"


def test_the_numbers(tmp_path: Path) -> None:
    toy = toys.linear(tmp_path)
    batch = toys.photos(toy.network, 2)
    scores = toy.network.scores(batch.pixels)
    for i, item in enumerate(items(toy.network, batch, target="cats")):
        assert item.metrics["score"] == pytest.approx(scores[i, :2].mean().item(), rel=1e-4)
        assert item.metrics["posterior"] == pytest.approx(scores.softmax(1)[i, :2].sum().item(), rel=1e-3, abs=1e-9)
        map_ = item.panels[1].values
        assert item.metrics["map_max"] == pytest.approx(map_.max().item())
        assert 0 < item.metrics["map_spread"] <= 1


def test_no_photos_no_items(network: Network) -> None:
    assert items(network, ImageBatch((), torch.zeros(0, 3, 32, 32))) == ()


def test_float64_is_float32_to_rounding(network: Network) -> None:
    batch = toys.photos(network)
    exact = maps(network.to(dtype=torch.float64), ImageBatch(batch.photos, batch.pixels.double()), target="goose")
    assert (maps(network, batch, target="goose") - exact).abs().max() <= 1e-4 * exact.max()


def test_the_same_bytes_again(network: Network) -> None:
    assert torch.equal(maps(network), maps(network))


def test_paper_settings_depart_in_nothing() -> None:
    assert Saliency(crops="ten").deviations() == ()
    assert len(Saliency(objective="posterior", show="signed", relu_rule="guided").deviations()) == 4


def test_nothing_is_left_behind(network: Network) -> None:
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    code, first, random = network.module.code, maps(network), torch.get_rng_state()
    items(network, target=("top2", "conv2:3"), show="signed")
    with pytest.raises(DeepInsideError):
        items(network, target="conv2:3", objective="posterior")
    assert network.module.code == code and torch.equal(torch.get_rng_state(), random) and torch.is_grad_enabled()
    after = network.module.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)
    assert not any(p.requires_grad or p.grad is not None for p in network.module.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, kind) for module in network.module.modules() for kind in hooks)
    assert torch.equal(maps(network), first)


@pytest.mark.parametrize("objective", ["posterior", "log_posterior"])
@pytest.mark.parametrize("target", ["conv2:3", "true | conv2:3", ("top1", "conv2:3")])
def test_a_units_posterior_is_refused_before_any_work(
    network: Network, target: str | tuple[str, ...], objective: Any
) -> None:
    with pytest.raises(DeepInsideError, match=f"objective: {objective} is defined for classes, found 'conv2:3'"):
        Saliency(target=target, objective=objective).check(network)
    Saliency(target=("top1", "true", "goose", "cats"), objective=objective).check(network)
    Saliency(target=target).check(network)


def test_a_number_of_maps_that_depends_on_the_photos_label_is_refused(network: Network) -> None:
    with pytest.raises(DeepInsideError, match=r"expected as many maps for every photo, found 'true \| top5'"):
        Saliency(target="true | top5").check(network)
    assert len(items(network, toys.photos(network, 2, labels=("goose", None)), target="true | top1")) == 2


def test_ten_crops_of_several_targets_are_those_of_one_crop_and_target_at_a_time(network: Network) -> None:
    batch = toys.photos(network, 2, larger=4)
    found = [[panel.values for panel in item.panels[1:]] for item in items(network, batch, target=(3, 7), crops="ten")]
    crops = ten_crops((36, 36), (32, 32))
    for place, target in enumerate((3, 7)):
        row = [class_target(target, network)] * 2
        single = [image_gradient(network, crop.cut(batch.pixels, (32, 32)), row).abs().amax(1) for crop in crops]
        expected = average_over_crops(single, crops, (36, 36))
        assert all(torch.equal(found[i][place], expected[i]) for i in range(2))


def test_the_centre_is_run_forwards_once(network: Network, passes: list[int]) -> None:
    items(network, toys.photos(network, 2), target="top3")
    assert passes == [2]
    passes.clear()
    items(network, toys.photos(network, 2, larger=4), target="top3", crops="ten")
    assert sum(passes) == 20


def falling(network: Network) -> Network:
    """The same, but nothing raises class 3 except through a negative weight: a DeconvNet lets none of that through."""

    def changed(name: str, module: nn.Module) -> nn.Module | None:
        if name != "fc8":
            return None
        new = copy.deepcopy(module)
        new.weight.data[3] = -new.weight.data[3].abs()
        return new

    return network.with_modules(changed)


def test_a_map_that_tells_nothing_says_so_and_why(network: Network) -> None:
    dark = items(falling(network), target=3, relu_rule="deconvnet")
    for item in dark:
        assert not item.panels[1].values.any()
        assert item.panels[1].blank == "zero everywhere, no signal passes all ReLUs by the rule of deconvnet"
        assert "map_spread" not in item.metrics and item.metrics["map_max"] == 0
    alive = items(falling(network), target=3)
    assert not any(item.panels[1].blank for item in alive)
    result = Results.of("saliency", "tiny", [TechniqueOutput(dark)])
    assert "3 maps, of 3 of 3 items, tell nothing" in result.notes[-1]
    assert "the map tells nothing, it is zero everywhere" in repr(result[0])
    assert "tell nothing" in result._repr_html_()


def test_a_saturated_posterior_says_so(network: Network) -> None:
    def sure(name: str, module: nn.Module) -> nn.Module | None:
        if name != "fc8":
            return None
        new = copy.deepcopy(module)
        new.bias.data[3] += 100
        return new

    (item, *_) = items(network.with_modules(sure), target=3, objective="posterior")
    assert item.metrics["posterior"] == 1
    assert item.panels[1].blank == "rounding, the posterior is saturated"
    (item, *_) = items(network, target=3, objective="posterior")
    assert item.panels[1].blank == ""
