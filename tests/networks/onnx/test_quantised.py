"""Operators on 8-bit integers: those that have no converter are named."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import deepinside as di


def test_a_convolution_in_integers_is_refused_by_name(tmp_path: Path) -> None:
    numbers = {
        "xs": np.float32(0.02), "xz": np.uint8(128), "w": np.ones((4, 3, 3, 3), np.int8), "ws": np.float32(0.01),
        "wz": np.int8(0), "ys": np.float32(0.05), "yz": np.uint8(100),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        helper.make_node("QLinearConv", ["q", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["c"], name="conv"),
        helper.make_node("DequantizeLinear", ["c", "ys", "yz"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["g"]),
        helper.make_node("Flatten", ["g"], ["out"]),
    ]
    shapes = {"x": [1, 3, 16, 16], "out": [1, 4]}
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes.items()]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "g", *ends, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "q.onnx")
    with pytest.raises(
        di.DeepInsideError, match=r"the operator QLinearConv \(node 'conv', opset 13\) is not supported"
    ):
        di.load(tmp_path / "q.onnx")
