"""Modules in memory: verified like files, the same maps as plain autograd, and the module stays as it was."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deepinside as di
from deepinside.networks.network import Network
from deepinside.networks.onnx.scopes import nested

PIXELS = {"size": 32, "mean": (0.5, 0.4, 0.3), "std": (0.25, 0.2, 0.3)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.norm = nn.MultiheadAttention(16, 2, batch_first=True), nn.LayerNorm(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        return x + self.attn(y, y, y)[0]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        self.blocks, self.drop, self.head = nn.Sequential(Block(), Block()), nn.Dropout(), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return self.head(self.drop(self.blocks(tokens))[:, 0])


def convolutional() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 10))


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    return Transformer()


@pytest.fixture(scope="module")
def network(module: nn.Module) -> Network:
    return di.load(module, labels=[f"class {index}" for index in range(10)], **PIXELS)


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def plain_map(module: nn.Module, image: np.ndarray, target: int) -> torch.Tensor:
    """max over channels of |∂S/∂pixel|, by plain autograd on the module itself."""
    mean, std = (torch.tensor(PIXELS[name]).view(3, 1, 1) for name in ("mean", "std"))
    x = ((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean) / std)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(module.eval()(x)[0, target], x)
    return (gradient[0] / (255 * std)).abs().amax(0)


@pytest.mark.parametrize("make", [Transformer, convolutional])
def test_the_map_is_that_of_the_module_itself(
    make: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    own = make()
    own.train()
    found = torch.as_tensor(di.saliency(di.load(own, **PIXELS), photo(), target=3).map)
    assert own.training, "the module stays as it was"
    assert not list(tmp_path.iterdir()), "nothing is written"
    wanted = plain_map(own, photo(), 3)
    assert (found - wanted).abs().max() <= 1e-4 * wanted.max()


def test_classes_have_the_names_that_were_given(network: Network) -> None:
    assert di.saliency(network, photo(), target="class 3").map.shape == (32, 32)
    with pytest.raises(di.DeepInsideError, match="expected 10 names, one a class score, found 2"):
        di.load(convolutional(), labels=["a", "b"], **PIXELS)


def test_blocks_go_by_the_names_of_the_modules(module: nn.Module, network: Network) -> None:
    x = torch.randn(3, 3, 32, 32) * 40
    seen: list[torch.Tensor] = []
    handle = module.blocks[1].attn.register_forward_hook(lambda *args: seen.append(args[2][0]))
    scores = module.eval()(network.input.native(x))
    handle.remove()
    found = network.activations(x, ["blocks.1.attn", "head"])
    assert torch.allclose(found["blocks.1.attn"].flatten(), seen[0].flatten(), atol=1e-5)
    assert torch.allclose(found["head"], scores, atol=1e-5)


def test_a_transformer_has_class_models_and_inversions(network: Network) -> None:
    (model,) = di.class_model(network, "class 3", optimiser={"steps": 3})
    assert np.ptp(np.asarray(model.image)) > 0
    (inverted,) = di.inversion(network, photo(), layers=["blocks.0"], optimiser={"steps": 3})
    assert [np.ptp(np.asarray(image)) > 0 for image in inverted.images.values()] == [True]


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_where_there_is_no_relu_its_rules_are_refused(rule: str, network: Network) -> None:
    with pytest.raises(di.DeepInsideError, match="found none in Transformer"):
        di.saliency(network, photo(), relu_rule=rule)


def test_what_a_module_does_not_say_has_to_be_given() -> None:
    with pytest.raises(di.DeepInsideError, match="expected mean, std"):
        di.load(convolutional(), size=32)
    with pytest.raises(di.DeepInsideError, match="expected only with a torch module"):
        di.load("tinycaffenet", size=32)


def test_a_module_that_cannot_be_exported_is_refused_in_one_sentence() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("odd")

    with pytest.raises(di.DeepInsideError, match="which stops: odd"):
        di.load(Odd(), **PIXELS)


def test_an_exporter_that_gives_up_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    uneven = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(196, 5)).eval()
    network = di.load(uneven, **PIXELS)
    assert capfd.readouterr() == ("", "")
    image = photo()
    found = np.asarray(di.saliency(network, image, target=3).map)
    np.testing.assert_allclose(found, plain_map(uneven, image, 3).numpy(), rtol=1e-4, atol=1e-7)


def test_the_older_exporters_names_are_read() -> None:
    assert nested("/layer1/layer1.0/conv1/Conv") == ["layer1", "layer1.0", "layer1.0.conv1"]
    assert nested("/encoder/layers/layers.3/attn/MatMul") == [
        "encoder", "encoder.layers", "encoder.layers.3", "encoder.layers.3.attn",
    ]  # fmt: skip
