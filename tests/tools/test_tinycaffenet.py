"""How the embedded network is made: folding, the file's shape, and training that can be interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from export_tinycaffenet import to_onnx
from train_tinycaffenet import INPUT_SCALE, MEAN_BGR, Recipe, TinyCaffeNet, Training, augment, cut_and_mix

from deepinside.networks.load import load
from deepinside.networks.spec import find_spec, read_labels

CLASSES = 100


@pytest.fixture(scope="module")
def trained() -> TinyCaffeNet:
    """A network whose normalisation layers have statistics of their own, as after training."""
    torch.manual_seed(0)
    net = TinyCaffeNet(CLASSES, dropout=0.3)
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return net.eval()


def test_the_file_computes_what_was_trained(trained: TinyCaffeNet, tmp_path: Path) -> None:
    with torch.no_grad():
        onnx.save(to_onnx(trained), tmp_path / "tinycaffenet.onnx")
    spec = replace(find_spec("tinycaffenet"), folder=str(tmp_path), sha256=None, weights="random")
    network = load(spec)
    x = 50 * torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = trained(x.flip(1) / INPUT_SCALE)  # trained on BGR in units of 64 levels
    half = 2**-11  # the relative error of a weight in half precision
    assert (network.scores(x) - expected).abs().max() < 4 * half * expected.abs().max()
    assert list(network.layers) == [
        "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2", "conv3", "relu3", "conv4", "relu4",
        "conv5", "relu5", "pool5", "flatten1", "fc6", "relu6", "fc7", "relu7", "fc8",
    ]  # fmt: skip


def test_a_resumed_training_gives_the_same_weights(tmp_path: Path) -> None:
    recipe = Recipe(epochs=2, batch=16)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8, generator=generator)
    labels = torch.arange(32) % 4
    alone, first = (uncompiled(recipe) for _ in range(2))
    for training in (alone, first):
        training.curve.append({"loss": training.epoch(pixels, labels)})
    first.save(tmp_path / "checkpoint.pt")
    second = uncompiled(recipe)
    second.restore(tmp_path / "checkpoint.pt")
    losses = [training.epoch(pixels, labels) for training in (alone, second)]
    assert losses[0] == losses[1]
    for a, b in zip(alone.mean_net.parameters(), second.mean_net.parameters(), strict=True):
        assert torch.equal(a, b)


def uncompiled(recipe: Recipe) -> Training:
    return Training(recipe, classes=4, images=32, compiled=False)


def test_another_recipe_does_not_resume(tmp_path: Path) -> None:
    uncompiled(Recipe(epochs=2, batch=16)).save(tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit, match="was trained with"):
        uncompiled(Recipe(epochs=3, batch=16)).restore(tmp_path / "checkpoint.pt")


def test_augmentation_crops_without_inventing_pixels() -> None:
    recipe, generator = replace(Recipe(), light=0.0), torch.Generator().manual_seed(0)
    pixels = torch.full((8, 3, 64, 64), 7, dtype=torch.uint8)
    pixels[:, :, :, :32] = 9
    crops = augment(pixels, recipe, 48, generator)
    values = crops * INPUT_SCALE + torch.tensor(MEAN_BGR).view(1, 3, 1, 1)
    assert crops.shape == (8, 3, 48, 48)
    assert 7 - 1e-3 < values.min() < 7.1 < 8.9 < values.max() < 9 + 1e-3
    left = values[:, 0, 0, 0] > values[:, 0, 0, -1]
    assert left.any() and not left.all()  # mirrored half of the time


def test_mixed_images_consist_of_the_stated_shares() -> None:
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    mixed, order, share = cut_and_mix(images, torch.Generator().manual_seed(3))
    assert 0 < share < 1
    expected = share * torch.arange(4.0) + (1 - share) * order
    torch.testing.assert_close(mixed.mean((1, 2, 3)), expected)


def test_the_record_belongs_to_the_file_and_meets_its_aims() -> None:
    spec = find_spec("tinycaffenet")
    record = json.loads((spec.local_file.parent / "tinycaffenet.record.json").read_text())
    assert record["sha256"] == spec.sha256
    assert spec.local_file.stat().st_size == record["bytes"] < 16_000_000
    assert record["validation"]["top1"] >= 0.59
    assert record["validation"]["top5"] >= 0.83
    assert len(read_labels(spec)) == CLASSES
