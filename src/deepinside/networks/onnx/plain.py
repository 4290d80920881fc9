"""Passes that write a graph in fewer ways without changing what it computes, before anything else is done to it.

They keep the names of all values that stay, so that every one of them can be compared with the file's own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, inliner, numpy_helper

Weights = dict[str, TensorProto]
FLOAT = TensorProto.FLOAT
OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
HALF_LIMITS: dict[int, float] = {TensorProto.FLOAT16: 1e-2, TensorProto.BFLOAT16: 5e-2}
"""How far what a file computes in half precision may lie from float32, of a layer's largest value: rounding to 11 or 8
binary digits at each of some dozens of layers."""
QUANTISED_LIMIT = 5e-2
"""The same for 8-bit integers: where float32 is next to the border of two of the 256 levels, the other one is taken,
and the layers behind carry it on."""
WRITTEN_OUT = ("AffineGrid", "Attention", "RotaryEmbedding", "SwiGLU")
"""Operators without a converter whose definition ONNX itself writes out in others."""


def with_functions_written_out(model: ModelProto, body: ModelProto) -> ModelProto:
    """`body`, the graph of `model` without its weights, with its own functions and those of ONNX written out."""
    if not model.functions and not any(node.op_type in WRITTEN_OUT for node in body.graph.node):
        return body
    complete = ModelProto()
    complete.CopyFrom(body)
    complete.functions.extend(model.functions)
    written = inliner.inline_local_functions(complete) if model.functions else complete
    names = [("", kind) for kind in WRITTEN_OUT]
    written = inliner.inline_selected_functions(written, names, exclude=False, inline_schema_functions=True)
    for node in written.graph.node:
        node.domain = "" if node.domain == "ai.onnx" else node.domain
    return written


OF_THE_SAME_SHAPE = ("GroupNormalization", "MeanVarianceNormalization", "RMSNormalization", "Swish", "Mish", "Gelu")
"""Functions of ONNX that leave the shape as it is, which its inference of shapes does not always know."""


def for_inference(model: ModelProto) -> ModelProto:
    """The model, changed in place: what only changes numbers is Identity, so that its shape is known."""
    for node in model.graph.node:
        if node.op_type in OF_THE_SAME_SHAPE:
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]
    return model


def without_empty_ends(graph: GraphProto) -> None:
    """Optional inputs and outputs that are left out at the end are left out without a name for it."""
    for node in graph.node:
        for names in (node.input, node.output):
            while len(names) > 1 and not names[-1]:
                del names[-1]


def without_allowzero(graph: GraphProto, weights: Mapping[str, TensorProto]) -> None:
    """`allowzero` says what a 0 in the new shape means; where the shape is known and has none, it says nothing."""
    for node in graph.node:
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in weights:
            continue
        if numpy_helper.to_array(weights[node.input[1]]).all():
            others = [item for item in node.attribute if item.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(others)


def chosen_branch(node: NodeProto, weights: Mapping[str, TensorProto]) -> list[NodeProto] | None:
    """The nodes that an If of a known condition stands for, their last values under the If's own names.

    None where the node is no such If.
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
    """How far the file's own numbers may lie from float32, None where they are float32; and that in words."""
    limits = {TensorProto.DataType.Name(kind).lower(): HALF_LIMITS.get(kind) for kind in computing_in(graph, weights)}
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        limits["8-bit integers"] = QUANTISED_LIMIT
    known = [limit for limit in limits.values() if limit is not None]
    if not known:
        return None, ()
    words = (
        f"The file computes in {' and '.join(limits)}, the program in float32: "
        f"the two agree to {max(known):g} of a layer's largest value, not to more."
    )
    return max(known), (words,)


def kinds_of_numbers(graph: GraphProto, weights: Mapping[str, TensorProto]) -> set[int]:
    """The kinds of floating numbers, other than float32, that a graph holds or turns numbers into."""
    found = {tensor.data_type for tensor in weights.values()}
    found |= {value.type.tensor_type.elem_type for value in graph.input}
    for node in graph.node:
        for item in node.attribute:
            found |= {item.t.data_type} if item.name == "value" else set()
            found |= {item.i} if item.name in ("to", "output_dtype") else set()
    return found & set(OTHER_FLOATS)


def computing_in(graph: GraphProto, weights: Mapping[str, TensorProto]) -> set[Any]:
    """The same, but not those kinds which only weights have, that are turned into float32 before they are used."""
    cast = {node.input[0] for node in graph.node if node.op_type == "Cast" and _to(node) == FLOAT}
    used = {name for node in graph.node if node.op_type != "Cast" for name in node.input}
    stored = {name: tensor for name, tensor in weights.items() if name in used or name not in cast}
    return kinds_of_numbers(graph, stored)


def in_float32(graph: GraphProto, weights: Weights) -> None:
    """Every floating number of another kind becomes float32; the names of all values stay. Weights are replaced."""
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
    """The same numbers as float32."""
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)


def without_casts(graph: GraphProto, floating: Iterable[str]) -> None:
    """Casts of floating numbers to float32 become Identity; `floating` are the values that are floating already."""
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
    """Whether an image input of these sizes is (N, H, W, C), as Keras and TensorFlow have it."""
    return len(sizes) == 4 and sizes[3] in (1, 3) and sizes[1] not in (1, 3)


def sizes_of(value: ValueInfoProto) -> tuple[int | str, ...]:
    """The sizes of an input: numbers, names of free axes, "?" for axes without a name."""
    return tuple(dim.dim_value or dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim)


def with_channels_first(graph: GraphProto) -> None:
    """An image input that is channels last becomes (N, C, H, W), its name the same.

    Where the graph turns it around at once, that node goes; elsewhere the image is turned back for those who take it.
    """
    image = graph.input[0]
    if not channels_last(sizes_of(image)):
        return
    _reorder(image, TO_CHANNELS_FIRST)
    turning = [node for node in graph.node if node.op_type == "Transpose" and node.input[0] == image.name]
    transposed = [node for node in turning if _ints(node, "perm") == TO_CHANNELS_FIRST]
    for node in transposed:
        node.op_type = "Identity"
        del node.attribute[:]
    users = [node for node in graph.node if image.name in node.input and node not in transposed]
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
    """A graph made for `batch` images takes one; `shapes` are those of its values as it was.

    What it was made with is divided: sizes to reshape and expand to, and constants that hold the same for each image.
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
            node.input[:] = [_same_for_all(weights, name, batch) for name in node.input]


def _same_for_all(weights: Weights, name: str, batch: int) -> str:
    """Of a constant that repeats itself for each image what it holds for the first."""
    if name not in weights or len(weights[name].dims) < 2 or weights[name].dims[0] != batch:
        return name
    rows = numpy_helper.to_array(weights[name])
    return _stored(weights, f"{name}_of_one", rows[:1]) if (rows == rows[:1]).all() else name


def _stored(weights: Weights, name: str, values: np.ndarray) -> str:
    weights[name] = numpy_helper.from_array(values, name)
    return name
