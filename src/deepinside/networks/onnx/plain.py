"""Passes that normalise a graph without changing what it computes; they run first.

Values that remain keep their names, so each can be compared with the file's own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, inliner, numpy_helper

Weights = dict[str, TensorProto]
FLOAT = TensorProto.FLOAT
OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
HALF_LIMITS: dict[int, float] = {TensorProto.FLOAT16: 1e-2, TensorProto.BFLOAT16: 5e-2}
"""The tolerance for half precision, relative to a layer's largest value: dozens of layers round to 11 or 8 bits."""
QUANTISED_LIMIT = 5e-2
"""The same for 8-bit integers: a value close to the midpoint of two integers may be rounded to the other one, and later
layers propagate the difference."""
WRITTEN_OUT = ("AffineGrid", "Attention", "RotaryEmbedding", "SwiGLU")
"""Operators without a converter that ONNX defines by other operators."""


def with_inlined_functions(model: ModelProto, body: ModelProto) -> ModelProto:
    """`body`, the graph of `model` without weights, with the model's functions and those of `WRITTEN_OUT` inlined."""
    if not model.functions and not any(node.op_type in WRITTEN_OUT for node in body.graph.node):
        return body
    inlined = ModelProto()
    inlined.CopyFrom(body)
    inlined.functions.extend(model.functions)
    inlined = inliner.inline_local_functions(inlined) if model.functions else inlined
    names = [("", kind) for kind in WRITTEN_OUT]
    inlined = inliner.inline_selected_functions(inlined, names, exclude=False, inline_schema_functions=True)
    for node in inlined.graph.node:
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    return inlined


OF_THE_SAME_SHAPE = ("GroupNormalization", "MeanVarianceNormalization", "RMSNormalization", "Swish", "Mish", "Gelu")
"""Functions that keep the shape, although ONNX's shape inference does not always know it."""


def for_inference(model: ModelProto) -> ModelProto:
    """The model, changed in place: operators of `OF_THE_SAME_SHAPE` become Identity, so their shapes are inferred."""
    for node in model.graph.node:
        if node.op_type in OF_THE_SAME_SHAPE:
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]
    return model


def without_empty_ends(graph: GraphProto) -> None:
    """Remove empty names of omitted inputs and outputs from the end of each node."""
    for node in graph.node:
        for names in (node.input, node.output):
            while len(names) > 1 and not names[-1]:
                del names[-1]


def without_allowzero(graph: GraphProto, weights: Mapping[str, TensorProto]) -> None:
    """Remove `allowzero`, which defines a 0 in the new shape, from nodes whose shape is known and has no 0."""
    for node in graph.node:
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in weights:
            continue
        if numpy_helper.to_array(weights[node.input[1]]).all():
            others = [item for item in node.attribute if item.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(others)


def chosen_branch(node: NodeProto, weights: Mapping[str, TensorProto]) -> list[NodeProto] | None:
    """The nodes of the branch that an If with a constant condition takes, with the If's output names.

    None for any other node.
    """
    if node.op_type != "If" or node.input[0] not in weights:
        return None
    taken = "then_branch" if numpy_helper.to_array(weights[node.input[0]]).all() else "else_branch"
    branch = next(item.g for item in node.attribute if item.name == taken)
    names = {value.name: name for value, name in zip(branch.output, node.output, strict=True)}
    constants = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in branch.initializer]
    nodes = [_renamed(inner, names) for inner in (*constants, *branch.node)]
    made = {out for inner in nodes for out in inner.output}
    passed = [helper.make_node("Identity", [old], [new]) for old, new in names.items() if new not in made]
    return [*nodes, *passed]


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    copy = NodeProto.FromString(node.SerializeToString())
    copy.input[:] = [names.get(name, name) for name in copy.input]
    copy.output[:] = [names.get(name, name) for name in copy.output]
    return copy


# --- precision ---------------------------------------------------------------------------------------------------


def precision(graph: GraphProto, weights: Mapping[str, TensorProto]) -> tuple[float | None, tuple[str, ...]]:
    """The tolerance for a file that does not compute in float32, else None; and the sentence that says so."""
    limits = {TensorProto.DataType.Name(kind).lower(): HALF_LIMITS.get(kind) for kind in computing_in(graph, weights)}
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        limits["8-bit integers"] = QUANTISED_LIMIT
    known = [limit for limit in limits.values() if limit is not None]
    if not known:
        return None, ()
    words = (
        f"The file computes in {' and '.join(limits)}, the program in float32: "
        f"the two agree to {max(known):g} of a layer's largest value."
    )
    return max(known), (words,)


def kinds_of_numbers(graph: GraphProto, weights: Mapping[str, TensorProto]) -> set[int]:
    """The floating-point dtypes other than float32 in a graph and its casts."""
    found = {tensor.data_type for tensor in weights.values()}
    found |= {value.type.tensor_type.elem_type for value in graph.input}
    for node in graph.node:
        for item in node.attribute:
            found |= {item.t.data_type} if item.name == "value" else set()
            found |= {item.i} if item.name in ("to", "output_dtype") else set()
    return found & set(OTHER_FLOATS)


def computing_in(graph: GraphProto, weights: Mapping[str, TensorProto]) -> set[Any]:
    """The same, without dtypes of weights that are cast to float32 before use."""
    cast = {node.input[0] for node in graph.node if node.op_type == "Cast" and _to(node) == FLOAT}
    used = {name for node in graph.node if node.op_type != "Cast" for name in node.input}
    stored = {name: tensor for name, tensor in weights.items() if name in used or name not in cast}
    return kinds_of_numbers(graph, stored)


def in_float32(graph: GraphProto, weights: Weights) -> None:
    """Convert every other floating-point dtype to float32, in the graph and in `weights`; names stay."""
    for name, tensor in weights.items():
        if tensor.data_type in OTHER_FLOATS:
            weights[name] = as_float32(tensor)
    for value in (*graph.input, *graph.value_info):
        if value.type.tensor_type.elem_type in OTHER_FLOATS:
            value.type.tensor_type.elem_type = FLOAT
    for node in graph.node:
        for item in node.attribute:
            if item.name == "to" and item.i in OTHER_FLOATS:
                item.i = FLOAT
            elif item.name == "value" and item.t.data_type in OTHER_FLOATS:
                item.t.CopyFrom(as_float32(item.t))


def as_float32(tensor: TensorProto) -> TensorProto:
    """The tensor as float32."""
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def without_casts(graph: GraphProto, floating: Iterable[str]) -> None:
    """Casts to float32 of `floating` values become Identity."""
    known = set(floating)
    for node in graph.node:
        if node.op_type == "Cast" and _to(node) == FLOAT and node.input[0] in known:
            node.op_type = "Identity"
            del node.attribute[:]


def _to(node: NodeProto) -> int:
    return next((item.i for item in node.attribute if item.name == "to"), 0)


# --- channels last -----------------------------------------------------------------------------------------------

TO_CHANNELS_FIRST = [0, 3, 1, 2]
TO_CHANNELS_LAST = [0, 2, 3, 1]


def channels_last(sizes: tuple[object, ...]) -> bool:
    """Whether an image input of these sizes is (N, H, W, C), as in Keras and TensorFlow."""
    return len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3)


def sizes_of(value: ValueInfoProto) -> tuple[int | str, ...]:
    """The sizes of an input: numbers, names of dynamic axes, "?" for axes without a name."""
    return tuple(dim.dim_value or dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim)


def with_channels_first(graph: GraphProto) -> None:
    """A channels-last image input becomes (N, C, H, W) under the same name.

    A Transpose of the input to channels first becomes Identity; other nodes get the input transposed back.
    """
    image = graph.input[0]
    if not channels_last(sizes_of(image)):
        return
    _reorder(image, TO_CHANNELS_FIRST)
    transposes = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] == image.name]
    to_first = [node for node in transposes if _ints(node, "perm") == TO_CHANNELS_FIRST]
    for node in to_first:
        node.op_type = "Identity"
        del node.attribute[:]
    users = [node for node in graph.node if image.name in node.input and node not in to_first]
    if users:
        back = f"{image.name}_channels_last"
        for node in users:
            node.input[:] = [back if name == image.name else name for name in node.input]
        graph.node.insert(0, helper.make_node("Transpose", [image.name], [back], perm=TO_CHANNELS_LAST))


def _reorder(image: ValueInfoProto, order: list[int]) -> None:
    dims = [type(dim).FromString(dim.SerializeToString()) for dim in image.type.tensor_type.shape.dim]
    del image.type.tensor_type.shape.dim[:]
    image.type.tensor_type.shape.dim.extend(dims[place] for place in order)


def _ints(node: NodeProto, name: str) -> list[int]:
    return next((list(item.ints) for item in node.attribute if item.name == name), [])


# --- one image at a time -----------------------------------------------------------------------------------------


def for_one_image(graph: GraphProto, weights: Weights, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
    """Change a graph made for `batch` images to one image; `shapes` are those of its values before.

    Divides the sizes of Reshape and Expand, and takes one row of constants that are the same for each image.
    """
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for node in graph.node:
        if node.op_type in ("Reshape", "Expand") and len(node.input) > 1 and node.input[1] in weights:
            sizes = numpy_helper.to_array(weights[node.input[1]]).copy()
            known = shapes.get(node.output[0], (sizes[0],))[0]
            if sizes[0] > 0 and known % batch == 0 and known == sizes[0]:
                sizes[0] //= batch
                node.input[1] = _stored(weights, f"{node.output[0]}_of_one", sizes)
        elif node.op_type in ("Concat", "Add", "Mul", "Sub"):
            node.input[:] = [_first_row(weights, name, batch) for name in node.input]


def _first_row(weights: Weights, name: str, batch: int) -> str:
    """The first row of a constant that is the same for each image; other names are returned as they are."""
    if name not in weights or len(weights[name].dims) < 2 or weights[name].dims[0] != batch:
        return name
    rows = numpy_helper.to_array(weights[name])
    return _stored(weights, f"{name}_of_one", rows[:1]) if (rows == rows[:1]).all() else name


def _stored(weights: Weights, name: str, values: np.ndarray) -> str:
    weights[name] = numpy_helper.from_array(values, name)
    return name
