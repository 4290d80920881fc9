"""Which layer of a graph holds the class scores."""

import math
from collections.abc import Mapping

from onnx import NodeProto

from deepinside.errors import DeepInsideError
from deepinside.networks.onnx.graph import PreparedGraph
from deepinside.networks.onnx.head import LAYOUT
from deepinside.networks.onnx.nodes import Graph
from deepinside.networks.spec import Layer


def target_of(prepared: PreparedGraph) -> tuple[Layer, str]:
    """The layer of class scores, and why: the last layer, or the one before a ReLU that only averaging follows."""
    by_value = {layer.value: layer for layer in prepared.layers}
    graph = Graph(prepared.body.graph, prepared.weights)
    end = prepared.body.graph.output[0].name
    if end not in by_value:
        raise DeepInsideError(f"the graph's last value {end!r} is no layer of known shape: class scores are expected")
    value, largest = _before_pooling(graph, end, by_value)
    node = graph.maker(value, "Relu", "Clip")
    if node is None or value in prepared.gates or node.input[0] not in by_value:
        return by_value[end], ""
    if largest:  # before the ReLU the maps would be averaged, which gives another score than their maximum
        return by_value[end], f"The class scores, {by_value[end].name}, come after a ReLU: one at zero has no gradient."
    before = by_value[node.input[0]]
    return before, (
        f"The file's class scores, {by_value[end].name}, come after a ReLU and can have no gradient: they are read "
        f"before it, from {before.name}."
    )


def _before_pooling(graph: Graph, value: str, layers: Mapping[str, Layer]) -> tuple[str, bool]:
    """The value before layout changes and global pooling in any notation, and whether a maximum was among them."""
    largest = False
    while (node := graph.makers.get(value)) is not None and _only_pools(graph, node, layers):
        largest = largest or node.op_type in ("GlobalMaxPool", "ReduceMax", "MaxPool")
        value = node.input[0]
    return value, largest


def _only_pools(graph: Graph, node: NodeProto, layers: Mapping[str, Layer]) -> bool:
    """Whether an operator only rearranges its input, or pools each channel of a map to one number."""
    if node.op_type in (*LAYOUT, "GlobalAveragePool", "GlobalMaxPool"):
        return True
    before, after = layers.get(node.input[0]), layers.get(node.output[0])
    if node.op_type not in ("AveragePool", "MaxPool", "ReduceMean", "ReduceMax") or before is None or after is None:
        return False
    return len(before.shape) == 3 and after.shape[:1] == before.shape[:1] and math.prod(after.shape[1:]) == 1
