"""Refuses implausible sizes before anything of that size is computed, which could exhaust the memory."""

from collections.abc import Iterable, Mapping
from math import prod

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, shape_inference

from deepinside.errors import DeepInsideError

NUMBERS_AT_MOST = 1 << 28
"""The limit for one value of the graph and for one computed constant; VGG's largest matrix has 2^27."""
WINDOW_AT_MOST = 4096
"""Pixels of a kernel, a stride, a padding or a normalised neighbourhood along one axis."""
WINDOWS = {"kernel_shape": 1, "strides": 1, "dilations": 1, "size": 1, "pads": -WINDOW_AT_MOST}
"""Attributes that measure windows, and their smallest allowed values."""
WINDOWED = ("Conv", "ConvTranspose", "AveragePool", "MaxPool", "LpPool", "LRN")
GROWING = ("ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize", "Upsample", "OneHot", "EyeLike", "Slice")
"""Operators whose result may be larger than their inputs."""


def check(model: ModelProto, file: str) -> None:
    """Raise `DeepInsideError` if windows or weights have impossible sizes, or a required input has no name."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for node in nodes(model.graph):
        check_windows(node, file)
        check_inputs(node, versions, file)
    for tensor in model.graph.initializer:
        check_size(tensor.dims, f"{file}: the weight {tensor.name!r}")


def nodes(graph: GraphProto) -> Iterable[NodeProto]:
    """All nodes, including those of branches and loops."""
    for node in graph.node:
        yield node
        for item in node.attribute:
            for inner in (item.g, *item.graphs) if item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) else ():
                yield from nodes(inner)


def check_windows(node: NodeProto, file: str) -> None:
    for item in node.attribute if node.op_type in WINDOWED else ():
        least = WINDOWS.get(item.name)
        numbers = list(item.ints) or [item.i]
        if least is not None and not all(least <= number <= WINDOW_AT_MOST for number in numbers):
            raise DeepInsideError(
                f"{file}: {node.op_type} node {label(node)} has {item.name} {numbers}, but {least} to {WINDOW_AT_MOST} "
                f"is expected: the file is damaged, export or fetch it again"
            )


def check_inputs(node: NodeProto, versions: Mapping[str, int], file: str) -> None:
    """Required inputs must have a name: onnxruntime does not check it."""
    version = versions.get(node.domain or "", versions.get("ai.onnx", 0))
    if version < 1 or not onnx.defs.has(node.op_type, version, node.domain):
        return
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    for place, name in enumerate(node.input):
        declared = schema.inputs[min(place, len(schema.inputs) - 1)] if schema.inputs else None
        if not name and declared is not None and declared.option != optional:
            raise DeepInsideError(
                f"{file}: {node.op_type} node {label(node)} lacks its input {declared.name!r}: the file is damaged, "
                f"export or fetch it again"
            )


def check_size(sizes: Iterable[int], what: str) -> None:
    """Raise `DeepInsideError` if a value has a negative size or more than `NUMBERS_AT_MOST` numbers."""
    sizes = list(sizes)
    if min(sizes, default=1) < 0 or prod(sizes) > NUMBERS_AT_MOST:
        raise DeepInsideError(
            f"{what} has the shape {sizes}, but sizes from 0 and at most {NUMBERS_AT_MOST} numbers are expected: "
            f"the file is damaged, export or fetch it again"
        )


def check_result(one: ModelProto, inputs: Iterable[TensorProto]) -> None:
    """Raise `DeepInsideError` if the single node of a model would compute too large a constant from its `inputs`."""
    (node,) = one.graph.node
    if node.op_type not in GROWING:
        return
    model = ModelProto()
    model.CopyFrom(one)
    del model.graph.input[:]
    model.graph.initializer.extend(inputs)
    for value in shape_inference.infer_shapes(model, data_prop=True).graph.output:
        check_size((dim.dim_value for dim in value.type.tensor_type.shape.dim), f"the constant {value.name!r}")


def label(node: NodeProto) -> str:
    return repr(node.name or next(iter(node.output), ""))
