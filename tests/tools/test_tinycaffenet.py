"""How the embedded network is made: folding, the file's shape, and training that can be interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from export_tinycaffenet import to_onnx
from train_tinycaffenet import INPUT_SCALE, Recipe, TinyCaffeNet, Training, augment

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
    torch.testing.assert_close(network.scores(x), expected, rtol=1e-4, atol=1e-4)
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


def test_augmentation_shifts_and_mirrors_whole_images() -> None:
    pixels = torch.full((8, 3, 64, 64), 7, dtype=torch.uint8)
    moved = augment(pixels, 6, torch.Generator().manual_seed(0))
    assert moved.shape == pixels.shape
    assert (moved == 7).all()


def test_the_record_belongs_to_the_file_and_meets_its_aims() -> None:
    spec = find_spec("tinycaffenet")
    record = json.loads((spec.local_file.parent / "tinycaffenet.record.json").read_text())
    assert record["sha256"] == spec.sha256
    assert spec.local_file.stat().st_size == record["bytes"] < 16_000_000
    assert record["validation"]["top1"] >= 0.45
    assert record["validation"]["top5"] >= 0.73
    assert len(read_labels(spec)) == CLASSES
