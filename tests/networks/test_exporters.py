"""Files of torch.onnx.export in every version of ONNX's operators: scores and maps are the module's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deepinside as di

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own
SIZE = 24
TARGET = 2


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    last = [nn.Conv2d(8, 12, 3, groups=2), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)]
    made = nn.Sequential(*first, *last).eval()
    nn.init.uniform_(made[1].running_var, 0.5, 2.0)
    return made


def assert_agrees(path: Path, module: nn.Module) -> None:
    """The file's scores and the saliency map are those of plain autograd on the module."""
    network = di.load(path)
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    x = network.input.to_network(torch.from_numpy(photo).permute(2, 0, 1)[None])
    native = network.input.native(x).clone().requires_grad_()
    scores = module(native)
    (gradient,) = torch.autograd.grad(scores[0, TARGET], native)
    with torch.no_grad():
        torch.testing.assert_close(network.scores(x), scores.detach(), rtol=1e-4, atol=1e-5)
    units = np.array(network.input.pixels_per_unit).reshape(3, 1, 1)
    expected = np.abs(gradient[0].numpy() / units).max(axis=0)
    found = np.asarray(di.saliency(network, photo, target=TARGET).map)
    assert np.abs(found - expected).max() <= 1e-4 * expected.max()


@pytest.mark.parametrize("opset", range(11, 21))
def test_the_older_exporter(opset: int, module: nn.Module, tmp_path: Path) -> None:
    image: Any = (torch.zeros(1, 3, SIZE, SIZE),)
    torch.onnx.export(module, image, str(tmp_path / "net.onnx"), dynamo=False, opset_version=opset)
    assert_agrees(tmp_path / "net.onnx", module)


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("opset", [18, *(pytest.param(n, marks=pytest.mark.slow) for n in range(19, 23)), 23])
def test_the_default_exporter_with_weights_inside_and_outside_the_file(
    opset: int, external: bool, module: nn.Module, tmp_path: Path
) -> None:
    image: Any = (torch.zeros(1, 3, SIZE, SIZE),)
    torch.onnx.export(module, image, str(tmp_path / "net.onnx"), opset_version=opset, external_data=external)
    assert (tmp_path / "net.onnx.data").is_file() == external
    assert_agrees(tmp_path / "net.onnx", module)
