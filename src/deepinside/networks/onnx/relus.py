"""Finds ReLUs in every notation, rewrites them as Relu or Clip, and tells those in gates apart.

A ReLU is max(x, 0), with or without a ceiling. Exporters write it as Relu, Clip, Max, Min of Max, Where, PRelu with
slope 0, x · (x > 0) and so on. ReLU rules change the backward pass, so the same ReLUs must be found in all notations of
a network.

A gate is a factor that scales another signal: the hard sigmoid in hard-swish, the branch of squeeze-and-excitation. A
clamp inside it is not a ReLU of the network's main path.
"""

import math
from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from deepinside.networks.onnx.nodes import Graph, Shapes, Weights, attribute

Limits = tuple[float, float]
COMPARED = {"Greater": 1, "GreaterOrEqual": 1, "Less": -1, "LessOrEqual": -1}
BOUNDED = ("Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Erf", "LogSoftmax")
SCALING = ("Mul", "Div", "Add", "Sub", "Cast", "Reshape", "Unsqueeze", "Squeeze", "Expand", "Transpose", "Identity")


# --- one notation ------------------------------------------------------------------------------------------------


def rewrite_relus(body: ModelProto, weights: Weights, shapes: Shapes, version: int) -> None:
    """Rewrite every operator, or chain of operators, that computes a ReLU as Relu or Clip, in place."""
    graph = Graph(body.graph, weights)
    for node in body.graph.node:
        found = spelled(graph, node, shapes)
        if found is not None:
            become_clamp(node, *found, weights, version)
            graph = Graph(body.graph, weights)


def spelled(graph: Graph, node: NodeProto, shapes: Shapes) -> tuple[str, Limits] | None:
    """Source and limits of a ReLU that a node completes; None for another node, or a Relu or Clip on its own."""
    step = clamp(graph, node)
    if step is None or len(node.output) != 1 or not same_size(node, step[0], shapes):
        return None
    source, (low, high) = step
    joined = False
    while (before := graph.makers.get(source)) is not None and graph.users[source] == 1:
        inner = clamp(graph, before)
        if inner is None or not same_size(before, inner[0], shapes):
            break
        # clamp(clamp(x, a, b), c, d)
        low, high = min(max(inner[1][0], low), high), min(max(inner[1][1], low), high)
        source, joined = inner[0], True
    plain = node.op_type in ("Relu", "Clip") and not joined
    return None if plain or low != 0 or not high > 0 else (source, (low, high))


def same_size(node: NodeProto, source: str, shapes: Shapes) -> bool:
    """Whether a node's source is a float value of known shape and its output has the same shape."""
    return source in shapes and shapes.get(node.output[0], shapes[source]) == shapes[source]


def clamp(graph: Graph, node: NodeProto) -> tuple[str, Limits] | None:
    """Source and limits of min(max(x, low), high); None for any other operator."""
    kind = node.op_type
    if kind == "Relu" or is_flat_below_zero(graph, node):
        return node.input[0], (0.0, math.inf)
    if kind == "Clip":
        limits = clip_limits(graph, node)
        return None if limits is None else (node.input[0], limits)
    if kind in ("Max", "Min"):
        return one_limit(graph, node)
    source = {"Where": where_source, "Mul": masked, "Div": half_of_sum}.get(kind, lambda *_: None)(graph, node)
    return None if source is None else (source, (0.0, math.inf))


def is_flat_below_zero(graph: Graph, node: NodeProto) -> bool:
    """LeakyRelu, Elu and ThresholdedRelu whose alpha is 0, PRelu whose slopes are."""
    if node.op_type == "PRelu":
        return graph.number(node.input[1]) == 0
    usual = {"LeakyRelu": 0.01, "Elu": 1.0, "ThresholdedRelu": 1.0}
    return node.op_type in usual and attribute(node, "alpha", usual[node.op_type]) == 0


def clip_limits(graph: Graph, node: NodeProto) -> Limits | None:
    """A Clip's limits, from its attributes (opset 6) or inputs (opset 11); None if they are computed."""
    found = [attribute(node, "min", -math.inf), attribute(node, "max", math.inf)]
    for place, name in enumerate(list(node.input)[1:3]):
        if name:
            number = graph.number(name)
            if number is None:
                return None
            found[place] = number
    return (-math.inf if found[0] < -3e38 else found[0]), (math.inf if found[1] > 3e38 else found[1])


def one_limit(graph: Graph, node: NodeProto) -> tuple[str, Limits] | None:
    """max(x, c) or min(x, c)."""
    data = graph.data(node)
    numbers = [graph.number(value) for value in node.input if value in graph.weights]
    if len(data) != 1 or len(numbers) != 1 or numbers[0] is None:
        return None
    return data[0], ((numbers[0], math.inf) if node.op_type == "Max" else (-math.inf, numbers[0]))


def positive(graph: Graph, condition: str) -> tuple[str, bool] | None:
    """x of a condition x > 0 or x ≥ 0, with True, or of its opposite, with False."""
    node = graph.makers.get(condition)
    if node is None:
        return None
    if node.op_type in ("Not", "Cast"):
        inner = positive(graph, node.input[0])
        return None if inner is None else (inner[0], inner[1] != (node.op_type == "Not"))
    if node.op_type not in COMPARED:
        return None
    left, right = node.input
    if graph.number(right) == 0:
        return left, COMPARED[node.op_type] > 0
    return (right, COMPARED[node.op_type] < 0) if graph.number(left) == 0 else None


def where_source(graph: Graph, node: NodeProto) -> str | None:
    """x of where(x > 0, x, 0)."""
    asked = positive(graph, node.input[0])
    if asked is None:
        return None
    value, other = node.input[1:] if asked[1] else (node.input[2], node.input[1])
    return value if value == asked[0] and graph.number(other) == 0 else None


def masked(graph: Graph, node: NodeProto) -> str | None:
    """x of x · (x > 0), and of (x + |x|) · ½."""
    for value, other in (tuple(node.input), tuple(node.input)[::-1]):
        asked = positive(graph, other)
        if asked == (value, True):
            return value
        if graph.number(other) == 0.5 and (found := sum_with_size(graph, value)) is not None:
            return found
    return None


def half_of_sum(graph: Graph, node: NodeProto) -> str | None:
    """x of (x + |x|) / 2."""
    return sum_with_size(graph, node.input[0]) if graph.number(node.input[1]) == 2 else None


def sum_with_size(graph: Graph, value: str) -> str | None:
    """x of x + |x|."""
    node = graph.maker(value, "Add")
    for one, other in () if node is None else (tuple(node.input), tuple(node.input)[::-1]):
        size = graph.maker(other, "Abs")
        if size is not None and size.input[0] == one:
            return one
    return None


def become_clamp(node: NodeProto, source: str, limits: Limits, weights: Weights, version: int) -> None:
    del node.attribute[:]
    node.domain = ""
    node.input[:] = [source]
    node.op_type = "Relu" if limits[1] == math.inf else "Clip"
    if node.op_type == "Relu":
        return
    if version < 11:
        node.attribute.extend([helper.make_attribute("min", 0.0), helper.make_attribute("max", limits[1])])
        return
    for word, number in zip(("floor", "ceiling"), limits, strict=True):
        name = f"{node.output[0]}_{word}"
        weights[name] = numpy_helper.from_array(np.array(number, dtype=np.float32), name)
        node.input.append(name)


# --- gates -------------------------------------------------------------------------------------------------------


def gated(proto: GraphProto, weights: Weights, shapes: Shapes) -> frozenset[str]:
    """The values of all Relu and Clip nodes that are not ReLUs of the main path: in a gate, or a hard sigmoid."""
    graph = Graph(proto, weights)
    main = main_path(graph, shapes)
    clamps = [node for node in proto.node if node.op_type in ("Relu", "Clip")]
    return frozenset(n.output[0] for n in clamps if n.output[0] not in main or is_hard_sigmoid(graph, n))


def main_path(graph: Graph, shapes: Shapes) -> set[str]:
    """All values that reach an output other than through a gate."""
    found: set[str] = set()
    waiting = [value.name for value in graph.proto.output]
    while waiting:
        value = waiting.pop()
        if value in found:
            continue
        found.add(value)
        node = graph.makers.get(value)
        if node is not None:
            gate = gate_of(graph, node, shapes)
            waiting.extend(source for source in node.input if source != gate)
    return found


def gate_of(graph: Graph, node: NodeProto, shapes: Shapes) -> str | None:
    """The factor of a product that is a gate; None if neither is."""
    data = graph.data(node)
    if node.op_type != "Mul" or len(data) != 2 or data[0] == data[1]:
        return None
    first, second = (gate_evidence(graph, value, node.output[0], shapes) for value in data)
    return None if first == second else data[0] if first > second else data[1]


def gate_evidence(graph: Graph, value: str, product: str, shapes: Shapes) -> int:
    """The evidence that a factor is a gate: 3 bounded, 2 one number for many, 1 clamped on both sides, 0 none."""
    for place in scaled(graph, value):
        node = graph.makers[place]
        if node.op_type in BOUNDED or is_hard_sigmoid(graph, node):
            return 3
    if value in shapes and product in shapes and math.prod(shapes[value]) < math.prod(shapes[product]):
        return 2
    ends = [graph.makers[place] for place in scaled(graph, value)]
    limits = [clip_limits(graph, node) for node in ends if node.op_type == "Clip"]
    return int(any(one is not None and math.isfinite(one[1]) and math.isfinite(one[0]) for one in limits))


def scaled(graph: Graph, value: str) -> Iterator[str]:
    """A computed value, then its sources before scaling, shifting or rearranging."""
    while (node := graph.makers.get(value)) is not None:
        yield value
        data = graph.data(node)
        if node.op_type not in SCALING or len(data) != 1:
            return
        value = data[0]


def is_hard_sigmoid(graph: Graph, node: NodeProto) -> bool:
    """min(max(a·x + c/2, 0), c) with constants: at x = 0 it is in the middle of its range."""
    limits = clip_limits(graph, node) if node.op_type == "Clip" else None
    if limits is None or limits[0] != 0 or not math.isfinite(limits[1]):
        return False
    shift = offset(graph, node.input[0])
    return shift is not None and math.isclose(shift, limits[1] / 2, rel_tol=1e-3)


def offset(graph: Graph, value: str) -> float | None:
    """b of a·x + b with constant numbers a and b; None if there is no such b."""
    scale, shift, found = 1.0, 0.0, False
    while (node := graph.maker(value, "Mul", "Div", "Add", "Sub")) is not None and len(graph.data(node)) == 1:
        (source,) = graph.data(node)
        number = graph.number(next(name for name in node.input if name != source))
        if number is None or (node.op_type in ("Div", "Sub") and node.input[0] != source):
            break
        if node.op_type in ("Add", "Sub"):
            shift += scale * (number if node.op_type == "Add" else -number)
            found = True
        else:
            scale *= number if node.op_type == "Mul" else 1 / (number or math.inf)
        value = source
    return shift if found else None
