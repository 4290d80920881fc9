"""Twins of the ONNX Model Zoo's networks: the zoo's graphs, operators and value names, with seeded random weights.

The zoo's files are too large to test with. The `onnx` package ships most of their graphs with the weights left out
(`backend/test/data/light`): here they are filled with He-normal numbers, which keep activations at one scale through
a rectified network (He et al. 2015, "Delving deep into rectifiers", eq. 10), and their values get the zoo's names back.
What that package has not (CaffeNet, VGG-16, MXNet's exports, MobileNetV2) is derived from it or written out.

    path = write_twin("vgg16", folder)   # folder/vgg16-12.onnx, ready for conf_models/vgg16.yaml
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Large matrices repeat a block of seeded numbers: drawing 100 million of them takes longer than the rest of a test.
# The length is prime, so no two rows of a matrix are alike.
BLOCK = 1_000_003
CAFFE_LEVEL, UNIT_LEVEL = 50.0, 1.0  # size of activations: pixels 0-255, or standardised

Shape = tuple[int, ...]


@dataclass
class Twin:
    """A graph still without weights: what has to be known to write it."""

    nodes: list[NodeProto]
    weights: dict[str, Shape]
    output: str
    classes: Shape = (1, 1000)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    input: str = "data_0"
    batch: int | str = 1
    opset: int = 9
    level: float = CAFFE_LEVEL
    lists_weights: bool = True  # old files name every weight among the graph's inputs
    gains: dict[str, float] = field(default_factory=dict)  # of variance, where it is not that of a rectified layer, 2


def write_twin(name: str, folder: Path) -> Path:
    """Write the twin of the network of that name into the folder, under the zoo's file name."""
    stem, build = TWINS[name]
    path = folder / f"{stem}.onnx"
    twin = build()
    generator = np.random.default_rng(len(stem))
    with path.open("wb") as file:
        file.write(to_model(twin).SerializeToString())
        for tensor, shape in twin.weights.items():
            append_weight(file, tensor, shape, numbers(tensor, shape, twin, generator))
    return path


def append_weight(file: BinaryIO, name: str, shape: Shape, block: bytes) -> None:
    """Add an initializer to a model in a file, its numbers those of `block` over and over, without building it.

    Readers of protocol buffers merge what is written twice, so `graph: {initializer: …}` behind a model adds to it.
    """
    size = 4 * math.prod(shape)
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape).SerializeToString()
    tensor += tag(TensorProto.RAW_DATA_FIELD_NUMBER, size)
    initializer = tag(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, len(tensor) + size) + tensor
    file.write(tag(onnx.ModelProto.GRAPH_FIELD_NUMBER, len(initializer) + size) + initializer)
    for start in range(0, size, len(block)):
        file.write(block[: size - start])


def tag(field_number: int, length: int) -> bytes:
    """The head of a field of that length: its number and wire type 2, then the length, seven bits a byte."""
    low_first = [(length >> shift) & 127 for shift in range(0, max(length.bit_length(), 1), 7)]
    return bytes([field_number << 3 | 2, *(part | 128 for part in low_first[:-1]), low_first[-1]])


def to_model(twin: Twin) -> onnx.ModelProto:
    """The model without its weights."""
    constants = [numpy_helper.from_array(value, name) for name, value in twin.constants.items()]
    inputs = [value_info(twin.input, (twin.batch, 3, 224, 224))]
    if twin.lists_weights:
        inputs += [value_info(name, shape) for name, shape in twin.weights.items()]
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in constants]
    output = value_info(twin.output, (twin.batch, *twin.classes[1:]))
    nodes = twin.nodes if twin.opset < 12 else [new for node in twin.nodes for new in ratio_as_input(node)]
    graph = helper.make_graph(nodes, "twin", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", twin.opset)])
    model.ir_version = 3 if twin.lists_weights else 7
    return model


def value_info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def ratio_as_input(node: NodeProto) -> Iterator[NodeProto]:
    """From opset 12 on, Dropout takes its ratio as an input."""
    if node.op_type == "Dropout":
        ratio = numpy_helper.from_array(np.float32(0.5))
        yield helper.make_node("Constant", [], [f"{node.output[0]}_ratio"], value=ratio)
        yield helper.make_node("Dropout", [node.input[0], f"{node.output[0]}_ratio"], list(node.output))
    else:
        yield node


# ---------------------------------------------------------------------------------------------------- weights


def numbers(name: str, shape: Shape, twin: Twin, generator: np.random.Generator) -> bytes:
    """The bytes of a seeded tensor, or of the block it repeats: He-normal matrices and filters, small biases,
    scales and variances near 1."""
    block = generator.standard_normal(min(math.prod(shape), BLOCK), dtype=np.float32)
    if len(shape) > 1:
        inputs = math.prod(shape[1:]) if shape[0] > 1 else shape[-1]
        block *= math.sqrt(twin.gains.get(name, 2) / inputs)
    elif name.endswith(("_gamma", "_s_0", "_running_var", "_riv_0")):
        block = 1 + 0.2 * np.clip(block, -2, 2)
    else:
        block *= 0.1 * twin.level
    return block.tobytes()


# ---------------------------------------------------------------------------------------------------- light graphs


def light(name: str) -> Twin:
    """A graph of the `onnx` package, its ConstantOfShape nodes taken back into weights."""
    graph = onnx.load(LIGHT / f"light_{name}.onnx").graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    weights = {n.output[0]: shape_of(values[n.input[0]]) for n in graph.node if n.op_type == "ConstantOfShape"}
    kept = {key: t for key, t in values.items() if not key.endswith("__SHAPE") and "queue" not in key}
    weights |= {key: tuple(t.dims) for key, t in kept.items() if t.data_type == TensorProto.FLOAT}
    constants = {key: numpy_helper.to_array(t) for key, t in kept.items() if t.data_type == TensorProto.INT64}
    output = graph.output[0]
    return Twin(
        nodes=[node for node in graph.node if node.op_type != "ConstantOfShape"],
        weights=weights,
        constants=constants,
        output=output.name,
        classes=tuple(dim.dim_value for dim in output.type.tensor_type.shape.dim),
        input=next(i.name for i in graph.input if i.name.endswith("data_0")),
    )


def shape_of(tensor: TensorProto) -> Shape:
    return tuple(int(size) for size in numpy_helper.to_array(tensor))


def caffe_export(twin: Twin, name_of: "Callable[[NodeProto, str], str]", *, opset: int = 9) -> Twin:
    """Give the values the names of the zoo's Caffe exports: `blob_1`, and `blob_2`, … for what is computed in place."""
    blobs, versions, names = {}, {}, {}
    for node in twin.nodes:
        source = blobs.get(node.input[0], "")
        blob = source if node.op_type in ("Relu", "Dropout", "Sum") else name_of(node, source)
        versions[blob] = versions.get(blob, 0) + 1
        blobs[node.output[0]] = blob
        names[node.output[0]] = f"{blob}_{versions[blob]}"
        if node.op_type == "Reshape":
            names[node.output[0]] = node.input[1][:-1] + str(int(node.input[1][-1]) - 1)  # OC2_DUMMY_1 -> OC2_DUMMY_0
        if node.op_type == "Dropout":
            names[node.output[1]] = f"_{blob}_mask_1"
    del names[twin.output]
    twin.nodes = [renamed(node, names) for node in twin.nodes]
    twin.opset = opset
    return twin


def renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    node.input[:] = [names.get(value, value) for value in node.input]
    node.output[:] = [names.get(value, value) for value in node.output]
    return node


def weight_of(node: NodeProto) -> str:
    return node.input[1].removesuffix("_w_0")


def plain_name(node: NodeProto, source: str) -> str:
    """AlexNet, VGG, SqueezeNet, ZFNet: a layer with weights names itself, pooling and LRN count as the layer before."""
    prefix = "gpu_0/" if source.startswith("gpu_0/") else ""
    digits = re.search(r"\d+", source.removeprefix("gpu_0/"))
    match node.op_type:
        case "Conv" | "Gemm":
            return "gpu_0/pred" if weight_of(node) == "gpu_0/fc8" else weight_of(node)
        case "LRN" if digits:
            return f"{prefix}norm{digits[0]}"
        case "MaxPool" | "GlobalAveragePool" if digits:
            return f"{prefix}pool{digits[0]}"
        case "Concat":
            return f"{source.split('/')[0]}/concat"
    return source


def googlenet_name(node: NodeProto, source: str) -> str:
    """GoogLeNet: pooling and LRN have names of their own kind; the matrix is reshaped before it is used."""
    module = source.split("/")[0]
    if node.op_type in ("Conv", "Gemm"):
        return weight_of(node) if node.op_type == "Conv" else "loss3/classifier"
    if node.op_type == "MaxPool" and attribute(node, "strides") == [1, 1]:
        return INSIDE_POOL[source]
    return {"Concat": f"{module}/output"}.get(node.op_type, OWN_NAMES.get((node.op_type, source), source))


OWN_NAMES = {
    ("MaxPool", "conv1/7x7_s2"): "pool1/3x3_s2",
    ("LRN", "pool1/3x3_s2"): "pool1/norm1",
    ("LRN", "conv2/3x3"): "conv2/norm2",
    ("MaxPool", "conv2/norm2"): "pool2/3x3_s2",
    ("MaxPool", "inception_3b/output"): "pool3/3x3_s2",
    ("MaxPool", "inception_4e/output"): "pool4/3x3_s2",
    ("AveragePool", "inception_5b/output"): "pool5/7x7_s1",
}
INSIDE_POOL = {
    "pool2/3x3_s2": "inception_3a/pool",
    "inception_3a/output": "inception_3b/pool",
    "pool3/3x3_s2": "inception_4a/pool",
    "inception_4a/output": "inception_4b/pool",
    "inception_4b/output": "inception_4c/pool",
    "inception_4c/output": "inception_4d/pool",
    "inception_4d/output": "inception_4e/pool",
    "pool4/3x3_s2": "inception_5a/pool",
    "inception_5a/output": "inception_5b/pool",
}


def attribute(node: NodeProto, name: str) -> Any:
    return next(helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def pool_before_norm(twin: Twin) -> Twin:
    """CaffeNet is AlexNet with LRN and pooling in the other order."""
    for index in [i for i, node in enumerate(twin.nodes) if node.op_type == "LRN"]:
        norm, pool = twin.nodes[index : index + 2]
        start, between, end = norm.input[0], norm.output[0], pool.output[0]
        pool.input[0], pool.output[0], norm.input[0], norm.output[0] = start, between, between, end
        twin.nodes[index : index + 2] = [pool, norm]
    return twin


# ---------------------------------------------------------------------------------------------------- MXNet exports


class Chain:
    """Nodes one behind the other, in the manner of MXNet's exports: a node is called as its value is."""

    def __init__(self, start: str):
        self.value = start
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Shape] = {}

    def add(self, operator: str, name: str, *more: str, source: str | None = None, **attributes: Any) -> str:
        inputs = [source or self.value, *more]
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        self.value = name
        return name

    def weighted(self, operator: str, name: str, shape: Shape, *, bias: bool = True, **attributes: Any) -> str:
        stem = name.removesuffix("_fwd")
        self.weights[f"{stem}_weight"] = shape
        if bias:
            self.weights[f"{stem}_bias"] = shape[:1]
        return self.add(operator, name, f"{stem}_weight", *[f"{stem}_bias"] * bias, **attributes)

    def normalised(self, name: str, channels: int) -> str:
        stem = name.removesuffix("_fwd")
        parts = [f"{stem}_{part}" for part in ("gamma", "beta", "running_mean", "running_var")]
        self.weights |= dict.fromkeys(parts, (channels,))
        return self.add("BatchNormalization", name, *parts, epsilon=1e-5)


def mxnet_vgg(convolutions: tuple[int, ...], first_flatten: int, opset: int) -> Twin:
    """VGG with so many convolutions in each stage; shapes and attributes are those of the package's VGG-19."""
    given = light("vgg19")
    chain = Chain("data")
    stage = place = pools = number = 0
    for node in given.nodes:
        if node.op_type == "Conv":
            place += 1
            if place <= convolutions[stage]:
                keep = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                chain.weighted("Conv", f"vgg0_conv{number}_fwd", given.weights[node.input[1]], **keep)
                chain.add("Relu", f"vgg0_relu{number}_fwd")
                number += 1
        elif node.op_type == "MaxPool":
            chain.add("MaxPool", f"vgg0_pool{pools}_fwd", kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
            pools, stage, place = pools + 1, stage + 1, 0
    for layer, name in enumerate(("fc6", "fc7", "fc8")):
        chain.add("Flatten", f"flatten_{first_flatten + 5 * layer}")
        chain.weighted("Gemm", f"vgg0_dense{layer}_fwd", given.weights[f"{name}_w_0"], transB=1)
        if name != "fc8":
            chain.add("Relu", f"vgg0_dense{layer}_relu_fwd")
            chain.add("Dropout", f"vgg0_dropout{layer}_fwd", **({"ratio": 0.5} if opset < 12 else {}))
    return Twin(chain.nodes, chain.weights, "vgg0_dense2_fwd", input="data", opset=opset, level=UNIT_LEVEL)


def resnet50() -> Twin:
    """ResNet-50 version 1 as MXNet writes it; the numbers of channels are those of the package's ResNet-50."""
    chain = Chain("data")
    chain.weighted("Conv", "resnetv17_conv0_fwd", (64, 3, 7, 7), bias=False, strides=[2, 2], pads=[3] * 4)
    chain.normalised("resnetv17_batchnorm0_fwd", 64)
    chain.add("Relu", "resnetv17_relu0_fwd")
    chain.add("MaxPool", "resnetv17_pool0_fwd", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        resnet_stage(chain, stage, blocks, light("resnet50").weights)
    chain.add("GlobalAveragePool", "resnetv17_pool1_fwd")
    chain.add("Flatten", "flatten_473")
    chain.weighted("Gemm", "resnetv17_dense0_fwd", (1000, 2048), transB=1)
    nodes, weights = chain.nodes, chain.weights
    return Twin(nodes, weights, "resnetv17_dense0_fwd", input="data", batch="N", opset=12, level=UNIT_LEVEL)


def resnet_stage(chain: Chain, stage: int, blocks: int, shapes: dict[str, Shape]) -> None:
    prefix = f"resnetv17_stage{stage}_"
    number = rectified = 0
    for block in range(blocks):
        before = chain.value
        stride = 2 if stage > 1 and block == 0 else 1  # version 1: in the first 1x1 convolution, not in the 3x3
        for branch in "abc":
            shape = shapes[f"gpu_0/res{stage + 1}_{block}_branch2{branch}_w_0"]
            strides = [stride if branch == "a" else 1] * 2
            pads, bias = [int(branch == "b")] * 4, branch != "b"  # MXNet leaves a bias in its 1x1 convolutions
            chain.weighted("Conv", f"{prefix}conv{number}_fwd", shape, bias=bias, strides=strides, pads=pads)
            chain.normalised(f"{prefix}batchnorm{number}_fwd", shape[0])
            number += 1
            if branch != "c":
                chain.add("Relu", f"{prefix}relu{rectified}_fwd")
                rectified += 1
        inner, shortcut = chain.value, before
        if block == 0:
            shape = shapes[f"gpu_0/res{stage + 1}_0_branch1_w_0"]
            name = f"{prefix}conv{number}_fwd"
            chain.weighted("Conv", name, shape, bias=False, source=before, strides=[stride] * 2)
            shortcut = chain.normalised(f"{prefix}batchnorm{number}_fwd", shape[0])
            number += 1
        chain.add("Add", f"{prefix}_plus{block}", shortcut, source=inner)
        chain.add("Relu", f"{prefix}activation{block}")


# ---------------------------------------------------------------------------------------------------- MobileNetV2


class TorchExport(Chain):
    """PyTorch's numbering: a convolution, its folded normalisation and its rectifier take three numbers from 315 on;
    the convolutions themselves were given new ones, from 474 on, when normalisation was folded into them."""

    def __init__(self) -> None:
        super().__init__("input")
        self.counted, self.folded = 315, 474
        self.gains: dict[str, float] = {}

    def convolution(
        self, shape: Shape, *, stride: int = 1, groups: int = 1, gain: float = 2, clip: bool = True
    ) -> None:
        name, weight, bias = (str(self.folded + i) for i in range(3))
        self.weights |= {weight: shape, bias: shape[:1]}
        pads = [shape[-1] // 2] * 4
        kernel = list(shape[2:])
        keys = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": pads, "group": groups, "dilations": [1, 1]}
        self.add("Conv", name, weight, bias, **keys)
        self.folded += 3
        self.counted += 2
        self.gains[weight] = gain
        if clip:
            self.add("Clip", self.count(), "six_low", "six_high")

    def count(self) -> str:
        self.counted += 1
        return str(self.counted - 1)


# expansion, channels, blocks, stride of the first: Sandler et al. 2018, table 2
MOBILENET_STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def mobilenetv2() -> Twin:
    export = TorchExport()
    export.convolution((32, 3, 3, 3), stride=2)
    channels = 32
    for expansion, outputs, blocks, stride in MOBILENET_STAGES:
        for block in range(blocks):
            inverted_residual(export, channels, outputs, expansion, stride if block == 0 else 1)
            channels = outputs
    export.convolution((1280, channels, 1, 1))
    export.add("GlobalAveragePool", export.count())
    flatten_by_shape(export)
    export.weights |= {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}
    export.add("Gemm", "output", "classifier.1.weight", "classifier.1.bias", alpha=1.0, beta=1.0, transB=1)
    constants = {"six_low": np.float32(0), "six_high": np.float32(6), "first": np.int64(0)}
    return Twin(
        nodes=export.nodes,
        weights=export.weights,
        constants={key: np.asarray(value) for key, value in constants.items()},
        gains=export.gains,
        input="input",
        output="output",
        batch="batch_size",
        opset=12,
        level=UNIT_LEVEL,
        lists_weights=False,
    )


def inverted_residual(export: TorchExport, inputs: int, outputs: int, expansion: int, stride: int) -> None:
    before, hidden, residual = export.value, inputs * expansion, stride == 1 and inputs == outputs
    if expansion > 1:
        export.convolution((hidden, inputs, 1, 1), gain=8)  # so that some values reach 6
    export.convolution((hidden, 1, 3, 3), stride=stride, groups=hidden)
    export.convolution((outputs, hidden, 1, 1), gain=0.06 if residual else 0.25, clip=False)
    if residual:
        export.add("Add", export.count(), export.value, source=before)


def flatten_by_shape(export: TorchExport) -> None:
    """PyTorch writes `x.reshape(x.shape[0], -1)` operation by operation."""
    pooled = export.value
    export.add("Shape", "466")
    export.add("Gather", "467", "first", axis=0)
    export.add("Unsqueeze", "470", axes=[0])
    export.nodes.append(helper.make_node("Constant", [], ["471"], value=numpy_helper.from_array(np.array([-1]))))
    export.add("Concat", "472", "471", axis=0)
    export.add("Reshape", "473", "472", source=pooled)


# ---------------------------------------------------------------------------------------------------- the list

TWINS: dict[str, tuple[str, Callable[[], Twin]]] = {
    "caffenet": ("caffenet-12", lambda: caffe_export(pool_before_norm(light("bvlc_alexnet")), plain_name, opset=12)),
    "alexnet": ("bvlcalexnet-12", lambda: caffe_export(light("bvlc_alexnet"), plain_name, opset=12)),
    "vgg16": ("vgg16-12", lambda: mxnet_vgg((2, 2, 3, 3, 3), 60, 12)),
    "vgg19": ("vgg19-7", lambda: mxnet_vgg((2, 2, 4, 4, 4), 72, 7)),
    "vgg19_caffe": ("vgg19-caffe2-9", lambda: caffe_export(light("vgg19"), plain_name)),
    "resnet50": ("resnet50-v1-12", resnet50),
    "mobilenetv2": ("mobilenetv2-12", mobilenetv2),
    "squeezenet": ("squeezenet1.0-9", lambda: caffe_export(light("squeezenet"), plain_name)),
    "zfnet512": ("zfnet512-12", lambda: caffe_export(light("zfnet512"), plain_name, opset=12)),
    "googlenet": ("googlenet-12", lambda: caffe_export(light("inception_v1"), googlenet_name, opset=12)),
}
