"""Prepares ONNX graphs for conversion: removes soft-max, Dropout and Identity, and makes the batch axis dynamic.

Only the graph is copied and changed. The weights are kept separately, by name, and added at the end, so a file of half
a gigabyte is not copied at every step. The given model is never modified.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from deepinside.errors import DeepInsideError
from deepinside.networks.onnx import head, plain, plausible, relus
from deepinside.networks.onnx.nodes import Graph, Shapes, Weights, attribute
from deepinside.networks.spec import Layer, NetworkSpec, Posterior

IR_VERSION = 8  # onnxruntime reads at most 13, while onnx itself writes newer ones
SMALL = 1024  # tensors of at most this many numbers may hold shapes, so shape inference sees their values
IDENTITIES = ("Dropout", "Identity")
POOLS_AND_CONVS = ("AveragePool", "MaxPool", "Conv")


@dataclass(frozen=True)
class PreparedGraph:
    """A graph ready for conversion, and what happened to its values.

    `layers` are in graph order. `same` maps each removed Dropout or Identity value to the value in its place. `cut` are
    the values after the scores, which were removed. `input` names the image input. `batch` is the file's batch size,
    None if it is dynamic. The graph's first output is the scores; `posterior` is how the file makes probabilities of
    them, if it does. `gates` are the values of Relu and Clip nodes that are not ReLUs of the main path. `notes` say
    what was chosen, one sentence each. `limit` is the tolerance for a file that does not compute in float32, else
    None; `deviations` says so.
    """

    body: ModelProto
    weights: Weights
    layers: tuple[Layer, ...]
    same: Mapping[str, str]
    cut: tuple[str, ...]
    input: str
    batch: int | None
    posterior: Posterior | None = None
    gates: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    limit: float | None = None
    deviations: tuple[str, ...] = ()

    def model(self) -> ModelProto:
        """The complete model, with weights."""
        model = ModelProto()
        model.CopyFrom(self.body)
        model.graph.initializer.extend(self.weights.values())
        return model


def read(path: Path) -> ModelProto:
    """The model in a file, with external data from the file's own folder.

    Raises `DeepInsideError` if the file is missing, truncated, not ONNX, or refers to files outside its folder.
    """
    return read_all(path)[0]


def read_all(path: Path) -> tuple[ModelProto, tuple[Path, ...]]:
    """The same, and the files of its external data."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise DeepInsideError(
            f"{path} cannot be read as an ONNX model ({_first_line(error)}): fetch it again"
        ) from None
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise DeepInsideError(f"{path} is not an ONNX model: it has no graph with nodes and an output")
    further = _load_external(model, path)
    inlined = _inlined(model, path)
    plausible.check(inlined, path.name)
    return inlined, further


def _inlined(model: ModelProto, path: Path) -> ModelProto:
    """The model with its functions inlined, so every pass sees a single graph."""
    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise DeepInsideError(f"{path}: its functions cannot be inlined ({_first_line(error)})") from None


def prepare_graph(model: ModelProto, spec: NetworkSpec, *, single_image: bool = False) -> PreparedGraph:
    """A graph that onnx2torch can convert, and its layers, from a file's `model`.

    The graph takes any number of images or, with `single_image`, exactly one. One image works where the file's batch
    size cannot be made dynamic, and allows layers whose rows are not images, such as windows.

    Raises `DeepInsideError` if the file's input or output differs from `spec`.
    """
    body, weights = _split(model)
    body, limit, deviations = _simplified(model, body, weights)
    _fold(body, weights)
    same = _remove_identities(body.graph)
    name, batch = _fix_input(body.graph, spec)
    _drop_unused(body.graph)
    _fold_shapes(body, weights)
    plain.without_allowzero(body.graph, weights)
    if single_image and batch not in (None, 1):
        plain.for_one_image(body.graph, weights, _shapes(body, weights), batch)
    shapes = _shapes(body, weights)
    relus.rewrite_relus(body, weights, shapes, opset(body))
    names = [value.name for value in model.graph.output]
    found, cut, notes = _cut_heads(body.graph, weights, shapes, spec, names)
    _drop_unused(body.graph)
    _write_explicit_pads(body.graph, _shapes(body, weights))
    shapes = _shapes(body, weights)
    rows = 1 if single_image else batch or 1
    _make_reshapes_dynamic(body.graph, weights, shapes, rows)
    _drop_unused(body.graph)
    own = {value for node in model.graph.node for value in node.output}
    kinds = {n.output[0]: n.op_type for n in body.graph.node if len(n.output) == 1 and n.output[0] in own}
    layers = tuple(_rows_of_one(_layers(kinds, shapes, same, spec), rows, single_image))
    _rewrite_average_pools(body, weights, shapes)
    if not single_image:
        _make_batch_dynamic(body.graph)
    used = {value for node in body.graph.node for value in node.input}
    gates = relus.gated(body.graph, weights, shapes)
    weights = {key: weights[key] for key in weights if key in used}
    return PreparedGraph(
        body, weights, layers, same, cut, name, batch, found.posterior, gates, notes, limit, deviations
    )


def with_outputs(model: ModelProto, values: Iterable[str]) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """`model` with `values` as outputs and no other change, for onnxruntime.

    Its large weights are inputs, to be fed with the returned arrays, so the model is not serialised with them.
    """
    body, weights = _split(model)
    light = skeleton(body, weights)
    del light.graph.output[:]
    light.graph.output.extend(ValueInfoProto(name=value) for value in values)
    stored = {tensor.name for tensor in light.graph.initializer}
    return light, {name: numpy_helper.to_array(tensor) for name, tensor in weights.items() if name not in stored}


def skeleton(body: ModelProto, weights: Weights) -> ModelProto:
    """`body` with the small weights as initializers and the large ones as inputs, for shape inference."""
    light = ModelProto()
    light.CopyFrom(body)
    for name, tensor in weights.items():
        if prod(tensor.dims) <= SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    return light


def opset(model: ModelProto) -> int:
    """The model's opset version of ONNX's own operators."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def canonical_names(kinds: Mapping[str, str]) -> dict[str, str]:
    """Layer names from ONNX value names in graph order; `kinds` maps value to operator.

    The zoo's Caffe exports number the values of a layer: conv1_1 is conv1, and conv1_2 is its ReLU, called relu1.
    Values whose name is a number or an operator get the operator's name and a count. Names are unique.
    """
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for value, kind in kinds.items():
        counts[kind] = counts.get(kind, 0) + 1
        name = _derive(value, kind, counts[kind])
        names[value] = name if name not in names.values() else value.replace(".", "_")
    return names


# --- reading -----------------------------------------------------------------------------------------------------


def _load_external(model: ModelProto, path: Path) -> tuple[Path, ...]:
    folder, places = path.resolve().parent, set()
    for tensor in _tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        place = (folder / ExternalDataInfo(tensor).location).resolve()
        if not place.is_relative_to(folder):
            raise DeepInsideError(f"{path}: tensor {tensor.name!r} is outside the file's folder ({place}): refused")
        if not place.is_file():
            raise DeepInsideError(f"{path}: tensor {tensor.name!r} should be in {place}, which does not exist")
        places.add(place)
    try:
        load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise DeepInsideError(f"{path}: its external data cannot be read ({_first_line(error)})") from None
    return tuple(sorted(places))


def _tensors(graph: GraphProto) -> Iterable[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for item in node.attribute:
            yield from (item.t, *item.tensors)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


# --- the graph without its weights -------------------------------------------------------------------------------


def _simplified(
    model: ModelProto, body: ModelProto, weights: Weights
) -> tuple[ModelProto, float | None, tuple[str, ...]]:
    """The graph in fewer operators and float32, the tolerance if the file uses other dtypes, and a deviation."""
    body = plain.with_inlined_functions(model, body)
    limit, notes = plain.precision(body.graph, weights)
    if plain.kinds_of_numbers(body.graph, weights):
        floating = _floating(body, weights)
        plain.in_float32(body.graph, weights)
        plain.without_casts(body.graph, floating)
    plain.without_empty_ends(body.graph)
    plain.with_channels_first(body.graph)
    return body, limit, notes


def _floating(body: ModelProto, weights: Weights) -> set[str]:
    """The values with a floating-point dtype."""
    try:
        graph = shape_inference.infer_shapes(plain.for_inference(skeleton(body, weights))).graph
    except (RuntimeError, shape_inference.InferenceError):
        return set()
    kinds = {TensorProto.FLOAT, *plain.OTHER_FLOATS}
    values = (*graph.input, *graph.value_info, *graph.output)
    stored = {name for name, tensor in weights.items() if tensor.data_type in kinds}
    return stored | {value.name for value in values if value.type.tensor_type.elem_type in kinds}


def _split(model: ModelProto) -> tuple[ModelProto, Weights]:
    """A copy of the graph without weights, and the weights by name; old files (IR 3) list them as inputs too."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    body = ModelProto(ir_version=IR_VERSION, producer_name="deepinside")
    body.opset_import.extend(model.opset_import)
    body.graph.name = model.graph.name or "network"
    body.graph.node.extend(model.graph.node)
    body.graph.input.extend(value for value in model.graph.input if value.name not in weights)
    body.graph.output.extend(ValueInfoProto(name=value.name) for value in model.graph.output)
    return body, weights


def _fold(body: ModelProto, weights: Weights) -> None:
    """Compute the nodes that depend on weights only (GoogLeNet reshapes a weight, DenseNet unsqueezes its scales)."""
    others = []
    waiting = list(body.graph.node)[::-1]
    while waiting:
        node = waiting.pop()
        branch = plain.chosen_branch(node, weights)
        if branch is not None:
            waiting.extend(branch[::-1])
        elif _is_constant(node, weights):
            weights.update(_evaluate(node, weights, body))
        else:
            others.append(node)
    _set_nodes(body.graph, others)


def _is_constant(node: NodeProto, weights: Weights) -> bool:
    if any(item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for item in node.attribute):
        return False  # the inner graph takes values that are not among the inputs
    return node.op_type == "Constant" or bool(node.input and all(name in weights for name in node.input if name))


def _fold_shapes(body: ModelProto, weights: Weights) -> None:
    """Compute the nodes that depend on shapes only: PyTorch writes `x.reshape(x.shape[0], -1)` operation by operation.

    The batch size that this fixes is made dynamic together with that of all other reshapes.
    """
    shapes = _shapes(body, weights)
    others = []
    for node in body.graph.node:
        if node.op_type == "Shape" and node.input[0] in shapes:
            sizes = shapes[node.input[0]][attribute(node, "start", 0) : attribute(node, "end")]
            weights[node.output[0]] = numpy_helper.from_array(np.array(sizes, dtype=np.int64), node.output[0])
        else:
            others.append(node)
    if len(others) < len(body.graph.node):
        _set_nodes(body.graph, others)
        _fold(body, weights)
        _fold_shapes(body, weights)


def _evaluate(node: NodeProto, weights: Weights, body: ModelProto) -> Weights:
    if node.op_type == "Identity" and not node.domain:  # every weight of a file in half precision has one
        return {node.output[0]: _renamed(weights[node.input[0]], node.output[0])}
    from onnx.reference import ReferenceEvaluator  # only some files have anything to evaluate

    feeds = {name: numpy_helper.to_array(weights[name]) for name in node.input if name}
    graph = helper.make_graph(
        [node], "constant", [ValueInfoProto(name=name) for name in feeds], [ValueInfoProto(name=o) for o in node.output]
    )
    one = helper.make_model(graph, opset_imports=list(body.opset_import), ir_version=IR_VERSION)
    try:
        plausible.check_result(one, (weights[name] for name in dict.fromkeys(node.input) if name))
        values = ReferenceEvaluator(one).run(None, feeds)
    except DeepInsideError:
        raise
    except Exception as error:
        raise DeepInsideError(f"{_where(node)} of constants cannot be computed: {_first_line(error)}") from None
    return {
        name: numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in zip(node.output, values, strict=True)
    }


def _renamed(tensor: TensorProto, name: str) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.name = name
    return copy


def _set_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _where(node: NodeProto) -> str:
    return f"{node.op_type} node {node.name or node.output[0]!r}"


def _drop_unused(graph: GraphProto) -> None:
    needed = {value.name for value in graph.output}
    used = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            used.append(node)
            needed.update(node.input)
    _set_nodes(graph, used[::-1])


# --- identities and heads ----------------------------------------------------------------------------------------


def _remove_identities(graph: GraphProto) -> dict[str, str]:
    """Remove Dropout and Identity; maps each removed value to the one in its place."""
    same: dict[str, str] = {}
    others = []
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]
        if node.op_type in IDENTITIES:
            same[node.output[0]] = node.input[0]
        else:
            others.append(node)
    for value in graph.output:
        value.name = same.get(value.name, value.name)
    _set_nodes(graph, others)
    return same


def _cut_heads(
    graph: GraphProto, weights: Weights, shapes: Shapes, spec: NetworkSpec, names: Sequence[str]
) -> tuple[head.Head, tuple[str, ...], tuple[str, ...]]:
    """Make the class scores the graph's first output; the chosen head, the removed values and notes on the choice.

    `names` are the outputs' names in the file.
    """
    if spec.output == "features":  # a representation has no soft-max, even if its last operators look like one
        return head.Head(names[0], graph.output[0].name, graph.output[0].name), (), ()
    known = Graph(graph, weights)
    found = head.heads(known, names)
    taken = head.choose(known, found, shapes)
    _check_declared(known, found, taken, spec)
    ends = [_class_scores(known, one.logits, shapes) for one in (taken, *found)]
    outputs = dict.fromkeys(value for value in ends if value == ends[0] or len(shapes.get(value, ())) > 1)
    del graph.output[:]
    graph.output.extend(ValueInfoProto(name=value) for value in outputs)
    gone = tuple(dict.fromkeys(value for one in found for value in one.cut))
    note = head.choice_note(found, taken)
    return taken, gone, (note,) if note else ()


def _class_scores(known: Graph, logits: str, shapes: Shapes) -> str:
    """The value with these scores along its second axis; a Flatten is added if there is none."""
    value = head.class_axis_second(known, logits, shapes)
    if value is not None:
        return value
    flat = f"{logits}_flat"
    if not any(flat in node.output for node in known.proto.node):
        known.proto.node.append(helper.make_node("Flatten", [logits], [flat], axis=1))
    return flat


def _check_declared(known: Graph, found: Sequence[head.Head], taken: head.Head, spec: NetworkSpec) -> None:
    """Raise `DeepInsideError` if the spec declares another output than the file has."""
    plain = any(one.output == taken.logits for one in found)
    if spec.output in (None, taken.posterior) or (spec.output == "scores" and (plain or taken.posterior is None)):
        return
    names = {"softmax": "a soft-max", "sigmoid": "a sigmoid"}
    node = known.makers.get(taken.output)
    ends = f"{node.op_type if node is not None else 'nothing computed'} ({taken.name})"
    if taken.posterior is not None:
        ends = f"{names[taken.posterior]} ({taken.name})"
    raise DeepInsideError(
        f"{spec.file}: output: {spec.output} is declared, but the file ends in {ends}: "
        f"write output: {taken.posterior or 'scores'}"
    )


# --- the input and the batch axis --------------------------------------------------------------------------------


def _fix_input(graph: GraphProto, spec: NetworkSpec) -> tuple[str, int | None]:
    """Check the image input against the spec and fix its shape for inference; its name, and the file's batch size."""
    if len(graph.input) != 1:
        names = ", ".join(value.name for value in graph.input) or "none"
        raise DeepInsideError(f"{spec.file}: one image input is expected, found {len(graph.input)}: {names}")
    value = graph.input[0]
    tensor = value.type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise DeepInsideError(
            f"{spec.file}: the input {value.name!r} should be float32 with 4 axes (N, C, H, W), "
            f"found {kind} with {len(tensor.shape.dim)}"
        )
    wanted = (spec.input.count, *spec.input.size)
    found = [dim.dim_value for dim in tensor.shape.dim]  # 0 is a dynamic axis
    if any(size not in (0, want) for size, want in zip(found[1:], wanted, strict=True)):
        raise DeepInsideError(f"{spec.file}: the file takes {found[1:]} (C, H, W), but its spec says {list(wanted)}")
    for dim, size in zip(tensor.shape.dim, (found[0] or 1, *wanted), strict=True):
        dim.dim_value = size
    return value.name, found[0] or None


def _shapes(body: ModelProto, weights: Weights) -> dict[str, tuple[int, ...]]:
    """The shape of every float value whose shape is known, with the file's batch size."""
    try:
        inferred = shape_inference.infer_shapes(plain.for_inference(skeleton(body, weights)), data_prop=True)
    except (RuntimeError, shape_inference.InferenceError) as error:
        raise DeepInsideError(f"the graph's shapes do not fit together: {_first_line(error)}") from None
    known = {}
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and tensor.elem_type == TensorProto.FLOAT:
            sizes = tuple(dim.dim_value for dim in tensor.shape.dim)
            plausible.check_size(sizes, f"the value {value.name!r}")
            if all(sizes):
                known[value.name] = sizes
    return known


def _make_reshapes_dynamic(graph: GraphProto, weights: Weights, shapes: Shapes, batch: int) -> None:
    """Reshapes with a fixed batch size: those to a matrix become Flatten, others get 0 ("unchanged") as first size."""
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] not in shapes or node.output[0] not in shapes:
            continue
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        if before[0] != batch or after[0] != batch or attribute(node, "allowzero", 0):
            continue
        if after == (batch, prod(before[1:])):
            _become_flatten(node)
        elif len(node.input) > 1:
            name = f"{node.output[0]}_free_shape"
            weights[name] = numpy_helper.from_array(np.array([0, *after[1:]], dtype=np.int64), name)
            node.input[1] = name
        else:
            _set_attribute(node, "shape", [0, *after[1:]])


def _become_flatten(node: NodeProto) -> None:
    node.op_type = "Flatten"
    del node.input[1:]
    del node.attribute[:]
    _set_attribute(node, "axis", 1)


def _set_attribute(node: NodeProto, name: str, value: object) -> None:
    others = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, helper.make_attribute(name, value)])


def _make_batch_dynamic(graph: GraphProto) -> None:
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    del graph.value_info[:]


# --- padding -----------------------------------------------------------------------------------------------------


def _write_explicit_pads(graph: GraphProto, shapes: Shapes) -> None:
    """Replace `auto_pad: SAME_…` by explicit pads, since onnx2torch supports only these."""
    for node in graph.node:
        mode = attribute(node, "auto_pad", b"NOTSET")
        if node.op_type not in POOLS_AND_CONVS or mode not in (b"SAME_UPPER", b"SAME_LOWER"):
            continue
        kernel = attribute(node, "kernel_shape")
        if kernel is None or node.input[0] not in shapes:
            raise DeepInsideError(f"{_where(node)} pads by {mode!r}, but its kernel or input size is unknown")
        _set_attribute(node, "pads", _same_pads(node, list(kernel), shapes[node.input[0]][2:], mode == b"SAME_UPPER"))
        _set_attribute(node, "auto_pad", "NOTSET")


def _same_pads(node: NodeProto, kernel: list[int], sizes: tuple[int, ...], upper: bool) -> list[int]:
    strides = list(attribute(node, "strides", [1] * len(kernel)))
    dilations = list(attribute(node, "dilations", [1] * len(kernel)))
    totals = [
        max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for size, stride, k, dilation in zip(sizes, strides, kernel, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return [*small, *large] if upper else [*large, *small]


def _rewrite_average_pools(body: ModelProto, weights: Weights, shapes: Shapes) -> None:
    """AveragePool with unequal padding, which torch lacks, becomes Pad, AveragePool and a factor for the divisor."""
    nodes: list[NodeProto] = []
    for node in body.graph.node:
        pads = list(attribute(node, "pads", []))
        if node.op_type == "AveragePool" and pads[: len(pads) // 2] != pads[len(pads) // 2 :]:
            nodes.extend(_padded_average(node, pads, weights, shapes, opset(body)))
        else:
            nodes.append(node)
    _set_nodes(body.graph, nodes)


def _padded_average(
    node: NodeProto, pads: list[int], weights: Weights, shapes: Shapes, version: int
) -> list[NodeProto]:
    if attribute(node, "ceil_mode", 0) or node.input[0] not in shapes or len(pads) != 4:
        raise DeepInsideError(
            f"{_where(node)} pads unequally ({pads}) and also rounds up, or is not two-dimensional: not supported"
        )
    out, padded = node.output[0], f"{node.output[0]}_padded"
    full = [0, 0, *pads[:2], 0, 0, *pads[2:]]
    pool = NodeProto.FromString(node.SerializeToString())
    pool.input[0] = padded
    _set_attribute(pool, "pads", [0, 0, 0, 0])
    first = _pad_node(node.input[0], padded, full, weights, version)
    if attribute(node, "count_include_pad", 0):
        return [first, pool]
    pool.output[0] = f"{out}_undivided"
    weights[f"{out}_divisor"] = numpy_helper.from_array(
        _divisor(node, pads, shapes[node.input[0]][2:]), f"{out}_divisor"
    )
    return [first, pool, helper.make_node("Mul", [pool.output[0], f"{out}_divisor"], [out])]


def _pad_node(source: str, target: str, pads: list[int], weights: Weights, version: int) -> NodeProto:
    if version < 11:
        return helper.make_node("Pad", [source], [target], pads=pads)
    weights[f"{target}_pads"] = numpy_helper.from_array(np.array(pads, dtype=np.int64), f"{target}_pads")
    return helper.make_node("Pad", [source, f"{target}_pads"], [target])


def _divisor(node: NodeProto, pads: list[int], sizes: tuple[int, ...]) -> np.ndarray:
    """(1, 1, H, W): the kernel's area over the number of image pixels under it at each position."""
    kernel = list(attribute(node, "kernel_shape"))
    strides = list(attribute(node, "strides", [1, 1]))
    counts = []
    for axis, size in enumerate(sizes):
        starts = np.arange(0, size + pads[axis] + pads[axis + 2] - kernel[axis] + 1, strides[axis]) - pads[axis]
        counts.append(np.minimum(starts + kernel[axis], size) - np.maximum(starts, 0))
    return (prod(kernel) / np.outer(*counts)).astype(np.float32)[None, None]


# --- layers ------------------------------------------------------------------------------------------------------


def _layers(kinds: Mapping[str, str], shapes: Shapes, same: Mapping[str, str], spec: NetworkSpec) -> tuple[Layer, ...]:
    """All float values with rows, named by the spec if it names them, else by a name derived from the value."""
    values = {value: kind for value, kind in kinds.items() if len(shapes.get(value, ())) >= 2}
    named = {same.get(value, value): name for name, value in reversed(spec.layers.items()) if value not in same}
    derived = canonical_names({value: kind for value, kind in values.items() if value not in named})
    names = {value: named.get(value) or derived[value] for value in values}
    clashes = [name for value, name in derived.items() if name in named.values()]
    names.update({value: value for value, name in derived.items() if name in clashes})
    return tuple(Layer(names[value], value, kind, shapes[value]) for value, kind in values.items())


def _rows_of_one(layers: Iterable[Layer], batch: int, single_image: bool) -> Iterator[Layer]:
    """Layers with the shape of one image; layers whose rows are not images stay only with `single_image`."""
    for layer in layers:
        if layer.shape[0] == batch:
            yield replace(layer, shape=layer.shape[1:])
        elif single_image:
            yield layer


def _derive(value: str, kind: str, count: int) -> str:
    stem = re.sub(r"(_output_0|_fwd|:0)$", "", value.strip("/"))
    caffe = re.fullmatch(r"(.*?)_(\d+)", stem)
    if re.fullmatch(r"r?\d+", stem) or stem.startswith("OC2_DUMMY") or kind in ("Flatten", "Reshape"):
        return f"{kind.lower()}{count}"
    if caffe and kind in ("Relu", "Clip") and caffe[2] != "1":
        return _relu_name(caffe[1])
    return (caffe[1] if caffe else stem).replace(".", "_")


def _relu_name(stem: str) -> str:
    folder, slash, last = stem.rpartition("/")
    plain = re.fullmatch(r"(?:conv|fc|ip)(.+)", last)
    return f"{folder}{slash}relu{plain[1]}" if plain else f"{folder}{slash}relu_{last}"
