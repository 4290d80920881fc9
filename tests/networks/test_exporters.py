"""Files as exporters write them: torch.onnx.export in every version of ONNX's operators, and Paddle2ONNX.

Scores and maps are those of the module.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
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


# ---- Paddle2ONNX -----------------------------------------------------------------------------------------------------


def paddle_nodes() -> list[NodeProto]:
    """Hard-swish in parts, a flattening whose shape is computed, a product and a sum for the last layer."""
    wide: dict[str, Any] = {
        "pads": [1, 1, 1, 1],
        "kernel_shape": [3, 3],
        "strides": [1, 1],
        "dilations": [1, 1],
        "group": 1,
    }
    return [
        helper.make_node("Identity", ["w"], ["conv2d_0.w_0"]),
        helper.make_node("Conv", ["x", "conv2d_0.w_0"], ["conv2d_0.tmp_0"], **wide),
        helper.make_node(
            "BatchNormalization",
            ["conv2d_0.tmp_0", "g", "b", "m", "v"],
            ["batch_norm_0.tmp_3"],
            epsilon=1e-5,
            momentum=0.9,
        ),
        helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.array([3.0], np.float32))),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0.0, np.float32))),
        helper.make_node("Constant", [], ["six"], value=numpy_helper.from_array(np.array(6.0, np.float32))),
        helper.make_node("Add", ["batch_norm_0.tmp_3", "three"], ["Add.0"]),
        helper.make_node("Clip", ["Add.0", "zero", "six"], ["Clip.0"]),
        helper.make_node("Mul", ["batch_norm_0.tmp_3", "Clip.0"], ["Mul.0"]),
        helper.make_node("Div", ["Mul.0", "six"], ["hardswish_0.tmp_0"]),
        helper.make_node("GlobalAveragePool", ["hardswish_0.tmp_0"], ["pool2d_0.tmp_0"]),
        helper.make_node("Shape", ["pool2d_0.tmp_0"], ["Shape.0"]),
        helper.make_node("Slice", ["Shape.0", "i0", "i1", "i0"], ["Slice.0"]),
        helper.make_node("Concat", ["Slice.0", "rest"], ["Concat.0"], axis=0),
        helper.make_node("Reshape", ["pool2d_0.tmp_0", "Concat.0"], ["flatten_0.tmp_0"]),
        helper.make_node("MatMul", ["flatten_0.tmp_0", "linear_0.w_0"], ["linear_0.tmp_0"]),
        helper.make_node("Add", ["linear_0.tmp_0", "linear_0.b_0"], ["linear_0.tmp_1"]),
        helper.make_node("Softmax", ["linear_0.tmp_1"], ["softmax_0.tmp_0"], axis=-1),
    ]


def test_paddles_exporter(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()]
    module = nn.Sequential(*first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    conv, norm, linear = module[0], module[1], module[5]
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    weights = {"w": conv.weight, "g": norm.weight, "b": norm.bias, "m": norm.running_mean, "v": norm.running_var}
    weights |= {"linear_0.w_0": linear.weight.T.contiguous(), "linear_0.b_0": linear.bias}
    stored = {name: tensor.detach().numpy() for name, tensor in weights.items()}
    stored |= {"i0": np.array([0]), "i1": np.array([1]), "rest": np.array([-1])}
    ends = {"x": ["p2o.DynamicDimension.0", 3, SIZE, SIZE], "softmax_0.tmp_0": ["p2o.DynamicDimension.1", 5]}
    taken, given = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in ends.items())
    tensors = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(paddle_nodes(), "paddle-onnx", [taken], [given], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), tmp_path / "net.onnx"
    )
    assert_agrees(tmp_path / "net.onnx", module)
    assert di.load(tmp_path / "net.onnx").target == "linear_0_tmp_1"
