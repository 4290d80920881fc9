"""Fooling images on a linear network, where the smallest change that does it is known, and on a small CaffeNet."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor

import deepinside as di
from deepinside.errors import DeepInsideError
from deepinside.metrics.recognition import with_recognition
from deepinside.networks.network import Network
from deepinside.techniques.fooling import Fooling, as_shown, in_eight_bits
from deepinside.types import ImageBatch, Item, Seeds


def eight_bit_photos(network: Network, count: int) -> ImageBatch:
    """Mid-grey noise, far from 0 and 255."""
    found = toys.photos(network, count)
    pixels = in_eight_bits(found.pixels.clamp(-60, 60) + 127 - network.mean, network)
    return ImageBatch(tuple(replace(p, pixels=x) for p, x in zip(found.photos, pixels, strict=True)), pixels)


def fooled(network: Network, batch: ImageBatch, seed: int = 0, **settings: object) -> tuple[Item, ...]:
    return Fooling(**settings)(network, batch, Seeds(seed)).items  # type: ignore[arg-type]


def change(item: Item) -> Tensor:
    return item.panels[1].values - item.panels[0].values


def test_on_a_linear_network_the_change_is_the_smallest_one_up_to_rounding(tmp_path: Path) -> None:
    """(margin / ‖w_t − w_s‖²)(w_t − w_s): with two classes no other class can come between."""
    linear = toys.linear(tmp_path, toys.RGB, classes=2)
    batch = eight_bit_photos(linear.network, 4)
    scores = linear.network.scores(batch.pixels)
    for item, own in zip(fooled(linear.network, batch), scores, strict=True):
        normal = linear.weights[own.argmin()] - linear.weights[own.argmax()]
        along = float((change(item) * normal).sum() / normal.norm())
        across = change(item) - along * normal / normal.norm()
        assert item.metrics["success"] == 1
        assert along == pytest.approx(float((own.max() - own.min()) / normal.norm()), rel=0.03, abs=0.5)
        assert across.abs().max() <= 0.5 + 0.1 * along / len(normal.flatten()) ** 0.5, "rounding only"


def test_steps_have_the_length_that_a_linear_margin_needs_within_limits() -> None:
    generator = torch.Generator().manual_seed(0)
    gradient, rms = torch.randn(3, 3, 8, 8, generator=generator), torch.tensor([0.0, 0.3, 9.0])
    margin = rms * gradient.flatten(1).norm(dim=1) * 192**0.5
    for scale in (1e-6, 1.0, 1e6):
        found = Fooling(overshoot=0).step(scale * margin, scale * gradient)
        assert found.square().flatten(1).mean(1).sqrt().tolist() == pytest.approx([0.01, 0.3, 1])
        assert torch.allclose((scale * gradient * found).flatten(1).sum(1)[1], -scale * margin[1], rtol=1e-4)


def test_the_picture_is_one_of_eight_bits_and_fools_as_it_is_saved(tmp_path: Path) -> None:
    network = toys.linear(tmp_path, toys.RGB, classes=10).network
    batch = eight_bit_photos(network, 3)
    output = Fooling(target="random")(network, batch, Seeds(0))
    for item in with_recognition(output, network, batch, network).items:
        image = item.panels[1].values
        assert torch.equal(image, image.byte().float())
        scores = network.scores(image[None] - network.mean)[0]
        assert item.prediction is not None and item.prediction.target is not None
        assert int(scores.argmax()) == item.prediction.target.index
        assert item.metrics["success"] == item.metrics["recognised_top1"] == item.metrics["judge_top1"] == 1
        assert item.metrics["target_posterior_after"] > item.metrics["target_posterior_before"]
        assert item.metrics["largest_change"] == change(item).abs().max()
        assert item.metrics["rms_change"] == pytest.approx(change(item).square().mean().sqrt().item())
        times = int(item.panels[2].caption.removeprefix("difference × "))
        assert torch.allclose(item.panels[2].values, 127.5 + times * change(item))


def test_the_targets_that_depend_on_the_photo(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    batch = eight_bit_photos(network, 3)
    order = network.scores(batch.pixels).argsort(1, descending=True)

    def targets(name: str, seed: int = 0) -> list[int | None]:
        found = [item.prediction for item in fooled(network, batch, seed, target=name, steps=1)]
        return [one.target.index for one in found if one is not None and one.target is not None]

    assert targets("second") == order[:, 1].tolist()
    assert targets("least") == order[:, -1].tolist()
    drawn = [targets("random", seed) for seed in range(60)]
    for photo in range(3):
        assert {row[photo] for row in drawn} == set(range(10)) - {int(order[photo, 0])}


def test_a_photo_of_a_batch_is_as_alone(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    batch = eight_bit_photos(network, 3)
    found = fooled(network, batch, target="random")
    for i, item in enumerate(found):
        (alone,) = fooled(network, toys.alone(batch, i), target="random")
        assert torch.equal(item.panels[1].values, alone.panels[1].values) and item.metrics == alone.metrics


def test_a_photo_of_the_target_is_not_counted_and_a_failure_is(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    batch = eight_bit_photos(network, 1)
    best = int(network.scores(batch.pixels).argmax())
    (known,) = fooled(network, batch, target=best)
    assert not known.metrics and not change(known).any()
    assert any("is classified as" in note for note in known.notes)
    (failed,) = fooled(network, batch, target="least", steps=1, overshoot=0)
    assert (failed.metrics["success"], failed.metrics["iterations"]) == (0, 1)


def test_without_a_gradient_nothing_moves(tmp_path: Path) -> None:
    network = toys.dead(tmp_path, bias=-1e6)
    (item,) = fooled(network, eight_bit_photos(network, 1), steps=3)
    assert item.metrics["success"] == 0 and not change(item).any()


def test_a_group_is_reached_by_any_of_its_classes(tmp_path: Path) -> None:
    network = toys.linear(tmp_path, toys.RGB, classes=10).network
    found = [item for item in fooled(network, eight_bit_photos(network, 4), target="dogs") if item.metrics]
    assert found
    for item in found:
        scores = network.scores(item.panels[1].values[None] - network.mean)[0]
        assert int(scores.argmax()) in (2, 3) and item.metrics["success"] == 1 and item.depicts is None


@pytest.mark.parametrize("target", ["nowhere", "conv2:1", "top1"])
def test_what_is_no_class_fails_before_any_work(tmp_path: Path, target: str) -> None:
    with pytest.raises(DeepInsideError, match=f"target: expected .*{target}"):
        Fooling(target=target).check(toys.caffe(tmp_path))


def test_photos_are_rounded_and_clipped(tmp_path: Path) -> None:
    network = toys.linear(tmp_path, toys.RGB).network
    pixels = torch.tensor([-200.0, 0.4, 300]).view(3, 1, 1).expand(3, 6, 6)
    assert as_shown(pixels[None], network)[0, :, 0, 0].tolist() == [0, 117, 255]


def test_the_shipped_network_is_fooled_by_a_change_that_is_hard_to_see() -> None:
    network = di.load("tinycaffenet")
    found = di.fooling(network, torch.full((3, 64, 64), 128, dtype=torch.uint8), judge=network)
    assert found.metrics["success"] == found.metrics["judge_top1"] == 1
    assert found.metrics["rms_change"] < 5
