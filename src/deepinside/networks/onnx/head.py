"""Finds a file's class scores: the last values before probabilities or answers are computed from them.

Files end in soft-max, log-soft-max or sigmoid, as one operator or several, mixed with operators that only rearrange or
rescale numbers, and often have several outputs. The result does not depend on the notation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from onnx import NodeProto

from deepinside.networks.onnx.nodes import Graph, Shapes
from deepinside.networks.spec import Posterior

Kind = Literal["softmax", "sigmoid", "answer"]

LAYOUT = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Cast", "CastLike", "Identity", "Dropout")
"""Operators that change no number."""
RESCALING = ("Log", "Exp", "Clip", "Mul", "Div", "Add", "Sub", "Max", "Min", "Round", "Neg", "Expand")
"""Operators that may follow a soft-max; without a soft-max before them they belong to the scores."""
ANSWERS = ("ArgMax", "TopK")
NAMES = ("logit", "score", "class", "prob", "pred")


@dataclass(frozen=True)
class Head:
    """One output of a file: its `logits`, the `kinds` of operators applied to them in order, and the values to `cut`.

    `name` is the output's name in the file; `output` is the value in its place once Dropout and Identity are removed.
    """

    name: str
    output: str
    logits: str
    kinds: tuple[Kind, ...] = ()
    cut: tuple[str, ...] = ()

    @property
    def posterior(self) -> Posterior | None:
        """How the file makes probabilities of the logits; None if it does not."""
        return next((kind for kind in self.kinds if kind != "answer"), None)


def heads(graph: Graph, names: Sequence[str]) -> list[Head]:
    """The head of every output of the graph; `names` are the outputs' names in the file."""
    return [head(graph, name, value.name) for name, value in zip(names, graph.proto.output, strict=True)]


def head(graph: Graph, name: str, output: str) -> Head:
    """Walk back from an output; layout and scale operators are cut off only if an activation precedes them."""
    kinds: list[Kind] = []
    cut: list[str] = []
    walked: list[str] = []
    at = logits = output
    while (node := graph.makers.get(at)) is not None:
        walked.append(at)
        found = activation(graph, node)
        if found is not None and found[1] in graph.makers:
            kinds.insert(0, found[0])
            cut, at = [*cut, *walked], found[1]
            logits, walked = at, []
        elif (source := passed(graph, node)) is not None:
            at = source
        else:
            break
    return Head(name, output, logits, tuple(kinds), tuple(cut))


def passed(graph: Graph, node: NodeProto) -> str | None:
    """The one value an operator rearranges or rescales."""
    data = graph.data(node)
    return data[0] if len(data) == 1 and node.op_type in (*LAYOUT, *RESCALING) else None


def class_axis_second(graph: Graph, logits: str, shapes: Shapes) -> str | None:
    """The value with the classes along the second axis, before a layout change for the soft-max; None if there is
    none."""
    shape = shapes.get(logits, ())
    count = prod(shape[1:]) if len(shape) > 1 else prod(shape)
    if not shape or (len(shape) > 1 and (shape[1] == count or max(shape[1:]) < count)):
        return logits
    for value in graph.back_through(logits, *LAYOUT):
        before = shapes.get(value, ())
        if len(before) > 1 and before[1] == prod(before[1:]) == count and value in graph.makers:
            return value
    return None if len(shape) > 1 else logits


# --- activations -------------------------------------------------------------------------------------------------


def activation(graph: Graph, node: NodeProto) -> tuple[Kind, str] | None:
    """The kind of activation that an operator completes, and the value it is applied to."""
    if node.op_type in ("Softmax", "LogSoftmax"):
        return "softmax", node.input[0]
    if node.op_type == "Sigmoid":
        return "sigmoid", node.input[0]
    if node.op_type in ANSWERS:
        return "answer", node.input[0]
    written_out = softmax_written_out(graph, node) or log_softmax_written_out(graph, node)
    if written_out is not None:
        return "softmax", written_out
    found = sigmoid_written_out(graph, node)
    return None if found is None else ("sigmoid", found)


def softmax_written_out(graph: Graph, node: NodeProto) -> str | None:
    """s of exp(s) / Σ exp(s), or of exp(s − max s) / Σ exp(s − max s)."""
    for top, bottom in quotients(graph, node):
        power = exponential(graph, top)
        if power is not None and is_total(graph, bottom, top):
            return without_maximum(graph, power)
    return None


def log_softmax_written_out(graph: Graph, node: NodeProto) -> str | None:
    """s of s − log Σ exp(s)."""
    if node.op_type != "Sub" or len(node.input) != 2:
        return None
    scores, *_ = node.input
    for value in graph.back_through(node.input[1], *LAYOUT, "Expand"):
        total = graph.maker(value, "ReduceLogSumExp")
        if total is not None and graph.same(total.input[0], scores):
            return without_maximum(graph, scores)
        log = graph.maker(value, "Log")
        summed = None if log is None else reduction(graph, log.input[0], "ReduceSum")
        power = None if summed is None else exponential(graph, summed)
        if power is not None and graph.same(power, scores):
            return without_maximum(graph, scores)
    return None


def sigmoid_written_out(graph: Graph, node: NodeProto) -> str | None:
    """s of 1 / (1 + exp(−s)), or of exp(s) / (1 + exp(s))."""
    for top, bottom in quotients(graph, node):
        power = one_plus_exponential(graph, bottom)
        if power is None:
            continue
        if graph.number(top) == 1:
            return negated(graph, power)
        own = exponential(graph, top)
        if own is not None and graph.same(own, power):
            return power
    return None


def quotients(graph: Graph, node: NodeProto) -> Iterator[tuple[str, str]]:
    """Numerator and denominator of Div, of a product with a Reciprocal, and of a Reciprocal itself."""
    if node.op_type == "Div":
        yield node.input[0], node.input[1]
    if node.op_type == "Reciprocal":
        yield one_of(graph), node.input[0]
    if node.op_type == "Mul":
        for top, other in (tuple(node.input), tuple(node.input)[::-1]):
            reciprocal = graph.maker(other, "Reciprocal")
            if reciprocal is not None:
                yield top, reciprocal.input[0]


def one_of(graph: Graph) -> str:
    """The name of a constant 1, the numerator of a Reciprocal."""
    from onnx import helper

    graph.weights.setdefault("deepinside_one", helper.make_tensor("deepinside_one", 1, [], [1.0]))
    return "deepinside_one"


def exponential(graph: Graph, value: str) -> str | None:
    node = graph.maker(value, "Exp")
    return None if node is None else node.input[0]


def one_plus_exponential(graph: Graph, value: str) -> str | None:
    """s of 1 + exp(s)."""
    node = graph.maker(value, "Add")
    for one, other in () if node is None else (tuple(node.input), tuple(node.input)[::-1]):
        if graph.number(one) == 1 and (power := exponential(graph, other)) is not None:
            return power
    return None


def negated(graph: Graph, value: str) -> str | None:
    """s of −s, written as Neg, as a product with −1 or as 0 − s."""
    node = graph.maker(value, "Neg", "Mul", "Div", "Sub")
    if node is None:
        return None
    if node.op_type == "Neg":
        return node.input[0]
    left, right = node.input
    if node.op_type == "Sub":
        return right if graph.number(left) == 0 else None
    if graph.number(right) == -1:
        return left
    return right if node.op_type == "Mul" and graph.number(left) == -1 else None


def is_total(graph: Graph, value: str, of: str) -> bool:
    """Whether a value is the sum of another over an axis, possibly reshaped or guarded against zero."""
    for place in graph.back_through(value, *LAYOUT, "Expand", "Clip", "Max", "Add"):
        total = reduction(graph, place, "ReduceSum", "ReduceL1")
        if total is not None and graph.same(total, of):
            return True
    return False


def reduction(graph: Graph, value: str, *kinds: str) -> str | None:
    """The input of the reduction that gives a value, possibly rearranged."""
    for place in graph.back_through(value, *LAYOUT, "Expand"):
        node = graph.maker(place, *kinds)
        if node is not None:
            return node.input[0]
    return None


def without_maximum(graph: Graph, value: str) -> str:
    """s of s − max s, which only avoids overflow."""
    node = graph.maker(value, "Sub")
    if node is None:
        return value
    largest = reduction(graph, node.input[1], "ReduceMax")
    return node.input[0] if largest is not None and graph.same(largest, node.input[0]) else value


# --- several outputs ---------------------------------------------------------------------------------------------


def choose(graph: Graph, found: Sequence[Head], shapes: Shapes) -> Head:
    """The head whose logits are the class scores: one number per class, preferably with probabilities made of them.

    Of several the one computed last: features and auxiliary classifiers come earlier.
    """

    def rank(one: Head) -> tuple[object, ...]:
        depth = len(graph.ancestors(one.logits))
        named = any(word in name.lower() for word in NAMES for name in (one.name, one.logits))
        return looks_like_classes(shapes.get(one.logits)), one.posterior is not None, depth, named

    best = max(rank(one) for one in found)
    equal = [one for one in found if rank(one) == best]
    return next((one for one in equal if one.posterior), equal[0])


def looks_like_classes(shape: tuple[int, ...] | None) -> int:
    """2 for (N, K) and (N, K, 1, 1), 1 for maps of classes and unknown shapes, 0 for what cannot be scores."""
    if shape is None:
        return 1
    if len(shape) < 2 or prod(shape[1:]) < 2:
        return 0
    return 2 if max(shape[1:]) == prod(shape[1:]) else 1


def choice_note(found: Sequence[Head], taken: Head) -> str:
    """A sentence on which of several outputs was taken, and why; empty for a single output."""
    if len(found) == 1:
        return ""
    others = ", ".join(repr(one.name) for one in found if one is not taken)
    behind = {"softmax": "the values before its soft-max", "sigmoid": "the values before its sigmoid"}
    what = behind.get(taken.posterior or "", "its values")
    why = "one number per class, computed last" if taken.posterior is None else "probabilities are made of them"
    return (
        f"The file has {len(found)} outputs; the class scores are {what} of {taken.name!r} ({why}), not {others}; "
        f"another layer is taken where target names it."
    )
