"""Damaged files: whatever is wrong with an ONNX file, it ends in one sentence or in a network that was verified."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import deepinside as di
from deepinside.errors import DeepInsideError

COUNT = 1000
OFTEN = 100
ODD_NUMBERS = (-1, 0, 1, 2, 3, 7, 100, 2**31 - 1, -(2**31))


def small() -> ModelProto:
    """A small network with operators of every kind that reads attributes, constants and shapes."""
    rng = np.random.default_rng(0)
    weights = {**graphs.filters(rng, "conv1", (4, 3, 3, 3)), **graphs.filters(rng, "fc", (5, 36))}
    weights |= {"shape": np.array([1, 36], dtype=np.int64), "zero": np.float32(0)}
    nodes = [
        graphs.node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", kernel_shape=[3, 3], strides=[2, 2]),
        graphs.node("Max", "conv1_1 zero", "relu1_1"),
        graphs.node("LRN", "relu1_1", "norm1_1", size=3),
        graphs.node("MaxPool", "norm1_1", "pool1_1", kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]),
        graphs.node("Reshape", "pool1_1 shape", "flat_1"),
        graphs.node("Gemm", "flat_1 fc_w_0 fc_b_0", "fc_1", transB=1),
        graphs.node("Softmax", "fc_1", "prob_1", axis=1),
    ]
    return graphs.model(nodes, weights, output="prob_1", shape=(1, 3, 8, 8), opset=13)


def averaging() -> ModelProto:
    """Class maps, a ReLU and their average, as SqueezeNet ends."""
    weights = graphs.filters(np.random.default_rng(1), "conv", (5, 3, 3, 3))
    nodes = [
        graphs.node("Conv", "data_0 conv_w_0 conv_b_0", "conv_1", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
        graphs.node("Relu", "conv_1", "conv_2"),
        graphs.node("AveragePool", "conv_2", "pool_1", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        graphs.node("GlobalAveragePool", "pool_1", "mean_1"),
        graphs.node("Flatten", "mean_1", "flat_1"),
    ]
    return graphs.model(nodes, weights, output="flat_1", shape=("N", 3, 8, 8), opset=11)


# ------------------------------------------------------------------------------------------------- kinds of damage


def flipped(model: ModelProto, chance: random.Random) -> bytes:
    """Some bytes anywhere are others."""
    content = bytearray(model.SerializeToString())
    for _ in range(chance.choice((1, 1, 3, 10))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def truncated(model: ModelProto, chance: random.Random) -> bytes:
    """The file ends too early."""
    content = model.SerializeToString()
    return content[: chance.randrange(len(content))]


def other_attributes(model: ModelProto, chance: random.Random) -> bytes:
    """Attributes of two nodes are swapped, lost, or have odd numbers in them."""
    nodes = [node for node in model.graph.node if node.attribute]
    node, other = chance.choice(nodes), chance.choice(nodes)
    item = chance.choice(node.attribute)
    kind = chance.randrange(4)
    if kind == 0:
        mine, theirs = list(node.attribute), list(other.attribute)
        del node.attribute[:], other.attribute[:]
        node.attribute.extend(theirs)
        other.attribute.extend(mine)
    elif kind == 1:
        node.attribute.remove(item)
    elif item.ints:
        item.ints[chance.randrange(len(item.ints))] = chance.choice(ODD_NUMBERS)
        if kind == 3:
            item.ints.append(1)
    else:
        item.i = chance.choice(ODD_NUMBERS)
        item.type = chance.choice((1, 2, 3, 7))
    return model.SerializeToString()


def other_names(model: ModelProto, chance: random.Random) -> bytes:
    """A name that is not UTF-8, the same number of bytes long."""
    content = model.SerializeToString()
    name = chance.choice([out for node in model.graph.node for out in node.output]).encode()
    broken = bytes([chance.choice((0xFF, 0xC3, 0x80)), *name[1:]])
    return content.replace(name, broken, chance.choice((1, -1)))


def other_shapes(model: ModelProto, chance: random.Random) -> bytes:
    """Shapes of weights or of the input that do not fit, or types that they are not."""
    tensor = chance.choice(model.graph.initializer)
    kind = chance.randrange(4)
    if kind == 0 and tensor.dims:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(ODD_NUMBERS)
    elif kind == 1:
        tensor.data_type = chance.randrange(20)
    elif kind == 2:
        dim = chance.choice(model.graph.input[0].type.tensor_type.shape.dim)
        dim.dim_value = chance.choice((0, 1, 2, 5, 1000, -3))
    else:
        tensor.ClearField("raw_data")
    return model.SerializeToString()


def other_wires(model: ModelProto, chance: random.Random) -> bytes:
    """Nodes that are of another kind, in another order, or take another value, perhaps their own."""
    nodes = model.graph.node
    node = chance.choice(nodes)
    kind = chance.randrange(5)
    if kind == 0:
        node.op_type = chance.choice(("Conv", "Relu", "Loop", "If", "Softmax", "TopK", "Where", "Nothing", "Reshape"))
    elif kind == 1:
        node.input[chance.randrange(len(node.input))] = chance.choice([*chance.choice(nodes).output, "", "nowhere"])
    elif kind == 2:
        nodes.insert(0, nodes.pop())
    elif kind == 3:
        model.graph.output[0].name = chance.choice(("nowhere", "data_0", "conv1_w_0", ""))
    else:
        model.opset_import[0].version = chance.choice((0, 1, 6, 21, 99))
    return model.SerializeToString()


DAMAGES: tuple[Callable[[ModelProto, random.Random], bytes], ...] = (
    flipped, truncated, other_attributes, other_names, other_shapes, other_wires,
)  # fmt: skip


def damaged(numbers: range) -> Iterator[bytes]:
    for number in numbers:
        chance = random.Random(number)
        yield DAMAGES[number % len(DAMAGES)](chance.choice((small, averaging))(), chance)


def refusals(numbers: range, path: Path) -> int:
    """How many of these files are refused; all others have to load, and every refusal is one sentence with its file."""
    refused = 0
    for content in damaged(numbers):
        path.write_bytes(content)
        try:
            di.load(path)
        except DeepInsideError as error:
            refused += 1
            assert "\n" not in str(error) and path.stem in str(error)
            str(error).encode()
    return refused


def test_a_damaged_file_ends_in_one_sentence(tmp_path: Path) -> None:
    assert refusals(range(OFTEN), tmp_path / "harmed.onnx") > OFTEN / 4


@pytest.mark.slow
def test_so_do_a_thousand(tmp_path: Path) -> None:
    assert refusals(range(OFTEN, COUNT), tmp_path / "harmed.onnx") > (COUNT - OFTEN) / 4


def test_the_files_are_whole_before(tmp_path: Path) -> None:
    for build in (small, averaging):
        onnx.save(build(), tmp_path / "net.onnx")
        assert di.load(tmp_path / "net.onnx").classes == 5


def test_a_type_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    model = small()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("data_0", TensorProto.STRING, [1, 3, 8, 8]))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(DeepInsideError, match="float32"):
        di.load(tmp_path / "net.onnx")


HUGE = {
    "kernel": ([graphs.node("AveragePool", "data_0", "y", kernel_shape=[2**31 - 1, 2])], {}, "kernel_shape"),
    "padding": ([graphs.node("MaxPool", "data_0", "y", kernel_shape=[2, 2], pads=[0, 0, 10**6, 0])], {}, "pads"),
    "stride": ([graphs.node("MaxPool", "data_0", "y", kernel_shape=[2, 2], strides=[0, 1])], {}, "strides"),
    "constant": (
        [graphs.node("ConstantOfShape", "s", "c"), graphs.node("Add", "data_0 c", "y")],
        {"s": np.array([1, 2**20, 2**20], dtype=np.int64)}, "constant 'c'",
    ),
    "expand": (
        [graphs.node("Expand", "one s", "c"), graphs.node("Add", "data_0 c", "y")],
        {"s": np.array([1, 2**20, 2**20], dtype=np.int64), "one": np.ones(1, np.float32)}, "constant 'c'",
    ),
    "tile": (
        [graphs.node("Tile", "data_0 s", "y")], {"s": np.array([1, 1, 2**15, 2**15], dtype=np.int64)}, "value 'y'",
    ),
    "pad": (
        [graphs.node("Pad", "data_0 s", "y")],
        {"s": np.array([0, 0, 0, 0, 0, 0, 10**6, 10**6], dtype=np.int64)}, "value 'y'",
    ),
    "no_name": ([helper.make_node("Max", ["data_0", ""], ["y"])], {}, "lacks its input"),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_sizes_no_network_has_are_refused_before_they_are_computed(name: str, tmp_path: Path) -> None:
    nodes, weights, said = HUGE[name]
    onnx.save(graphs.model(nodes, weights, output="y", shape=(1, 3, 8, 8), opset=13), tmp_path / "huge.onnx")
    with pytest.raises(DeepInsideError, match=f"huge.*{said}"):
        di.load(tmp_path / "huge.onnx")
