"""Small ONNX graphs with the habits of the zoo's files: for tests of surgery, conversion and verification."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deepinside.networks.spec import InputConvention, NetworkSpec

Arrays = dict[str, np.ndarray]
SIZE = (32, 32)


def model(
    nodes: Sequence[NodeProto],
    weights: Arrays,
    *,
    output: str,
    shape: Sequence[int | str] = (1, 3, *SIZE),
    opset: int = 9,
    ir: int = 8,
) -> ModelProto:
    """A model with one image input `data_0`; IR 3 lists the weights as inputs too, as old files do."""
    inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, list(shape))]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    if ir < 4:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "tiny", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def caffe(*, opset: int = 9, classes: int = 10, softmax: bool = True) -> ModelProto:
    """A small CaffeNet as the zoo writes it.

    Groups, LRN, a pooling rounded up by pads [0, 0, 1, 1], Dropout with two outputs, Reshape to [1, K], a batch of 1,
    IR 3 with the weights among the inputs, soft-max at the end.
    """
    rng = np.random.default_rng(0)
    weights = {
        **filters(rng, "conv1", (8, 3, 5, 5)),
        **filters(rng, "conv2", (8, 4, 3, 3)),
        **filters(rng, "fc6", (16, 72)),
        **filters(rng, "fc8", (classes, 16)),
        "OC2_DUMMY_1": np.array([1, 72], dtype=np.int64),
    }
    pool = {"kernel_shape": [3, 3], "strides": [2, 2]}
    nodes = [
        node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", kernel_shape=[5, 5], strides=[2, 2]),
        node("Relu", "conv1_1", "conv1_2"),
        node("MaxPool", "conv1_2", "pool1_1", **pool, pads=[0, 0, 1, 1]),
        node("LRN", "pool1_1", "norm1_1", size=5, alpha=1e-2, beta=0.75, bias=1.0),
        node("Conv", "norm1_1 conv2_w_0 conv2_b_0", "conv2_1", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=2),
        node("Relu", "conv2_1", "conv2_2"),
        node("MaxPool", "conv2_2", "pool5_1", **pool, pads=[0, 0, 1, 1]),
        node("Reshape", "pool5_1 OC2_DUMMY_1", "OC2_DUMMY_0"),
        node("Gemm", "OC2_DUMMY_0 fc6_w_0 fc6_b_0", "fc6_1", transB=1),
        node("Relu", "fc6_1", "fc6_2"),
        node("Dropout", "fc6_2", "fc6_3 _fc6_mask_1", ratio=0.5),
        node("Gemm", "fc6_3 fc8_w_0 fc8_b_0", "fc8_1", transB=1),
    ]
    end = [node("Softmax", "fc8_1", "prob_1")] if softmax else []
    output = "prob_1" if softmax else "fc8_1"
    return model([*nodes, *end], weights, output=output, opset=opset, ir=3)


def squeeze(*, classes: int = 6) -> ModelProto:
    """SqueezeNet's end: class maps, a rectifier, global average, soft-max of [1, K, 1, 1]. Some maps never fire."""
    weights = filters(np.random.default_rng(1), "conv10", (classes, 3, 3, 3))
    weights["conv10_b_0"] = np.linspace(-3e3, 3e3, classes, dtype=np.float32)
    nodes = [
        node("Conv", "data_0 conv10_w_0 conv10_b_0", "conv10_1", kernel_shape=[3, 3]),
        node("Relu", "conv10_1", "conv10_2"),
        node("GlobalAveragePool", "conv10_2", "pool10_1"),
        node("Softmax", "pool10_1", "softmaxout_1"),
    ]
    return model(nodes, weights, output="softmaxout_1", ir=3)


def average_pool(*, opset: int = 9, **attributes: object) -> ModelProto:
    """Only an AveragePool and a Flatten."""
    nodes = [node("AveragePool", "data_0", "pool_1", **attributes), node("Flatten", "pool_1", "flat_1", axis=1)]
    return model(nodes, {}, output="flat_1", opset=opset)


def linear(weights: np.ndarray) -> ModelProto:
    """The linear score w·x: `weights` (classes, C, H, W), one Gemm."""
    flat = weights.reshape(len(weights), -1).astype(np.float32)
    nodes = [node("Flatten", "data_0", "flat_1", axis=1), node("Gemm", "flat_1 w", "score_1", transB=1)]
    return model(nodes, {"w": flat}, output="score_1", shape=("N", *weights.shape[1:]), opset=13)


def node(kind: str, inputs: str, outputs: str, **attributes: object) -> NodeProto:
    """A node from names separated by blanks."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def filters(rng: np.random.Generator, name: str, shape: Sequence[int]) -> Arrays:
    """He-normal weights and small biases, named as the zoo does."""
    deviation = np.sqrt(2 / np.prod(shape[1:]))
    return {
        f"{name}_w_0": (rng.standard_normal(shape) * deviation).astype(np.float32),
        f"{name}_b_0": (rng.standard_normal(shape[0]) * 0.1).astype(np.float32),
    }


def save(proto: ModelProto, folder: Path, *, target: str, name: str = "tiny", **settings: object) -> NetworkSpec:
    """Write the model into `folder`; a spec that finds it there. BGR, Caffe's mean, unless `settings` say otherwise."""
    onnx.save(proto, folder / f"{name}.onnx")
    convention = InputConvention(size=SIZE, channels="bgr", mean=(104, 117, 123))
    values = {"input": convention, "weights": "random", "output": "softmax", "folder": str(folder), **settings}
    return NetworkSpec(name=name, file=f"{name}.onnx", target=target, **values)
