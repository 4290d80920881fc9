"""Queries on a graph that all passes share: which node computes a value, which use it, which values are constants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

Weights = dict[str, TensorProto]
Shapes = Mapping[str, tuple[int, ...]]
CONSTANT_AT_MOST = 1 << 16  # larger tensors are weights, never the limits of an activation


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """One attribute of a node as a Python value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


@dataclass(frozen=True)
class Graph:
    """A graph and its weights, indexed for queries; the graph must not change meanwhile."""

    proto: GraphProto
    weights: Weights

    @cached_property
    def makers(self) -> dict[str, NodeProto]:
        """The node that computes each value."""
        return {value: node for node in self.proto.node for value in node.output if value}

    @cached_property
    def users(self) -> dict[str, int]:
        """How many node inputs and graph outputs use each value."""
        counts: dict[str, int] = {}
        taken = [value for node in self.proto.node for value in node.input]
        for value in [*taken, *(out.name for out in self.proto.output)]:
            counts[value] = counts.get(value, 0) + 1
        return counts

    def maker(self, value: str, *kinds: str) -> NodeProto | None:
        """The node that computes a value, if it is of one of these kinds."""
        node = self.makers.get(value)
        return node if node is not None and (not kinds or node.op_type in kinds) else None

    def data(self, node: NodeProto) -> list[str]:
        """The inputs of a node that depend on the image."""
        return [value for value in node.input if value and value not in self.weights]

    def constant(self, value: str) -> np.ndarray | None:
        """A small constant as float64 or integers; None for computed values and large constants."""
        tensor = self.weights.get(value)
        if tensor is None or int(np.prod(tensor.dims)) > CONSTANT_AT_MOST:
            return None
        found = numpy_helper.to_array(tensor)
        return found.astype(np.float64) if found.dtype.kind == "f" or found.dtype.itemsize == 2 else found

    def number(self, value: str) -> float | None:
        """The number that fills a constant; None if it holds different numbers or none."""
        found = self.constant(value)
        if found is None or found.size == 0 or found.dtype.kind not in "fiub":
            return None
        first = found.flat[0]
        return float(first) if (found == first).all() else None

    def ancestors(self, value: str) -> set[str]:
        """All computed values that a value depends on, and the value itself."""
        found: set[str] = set()
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if one in self.makers and one not in found:
                found.add(one)
                waiting.extend(self.makers[one].input)
        return found

    def back_through(self, value: str, *kinds: str) -> Iterator[str]:
        """A value, then its source before each operator of these kinds."""
        yield value
        while (node := self.maker(value, *kinds)) is not None:
            value = node.input[0]
            yield value

    def same(self, one: str, other: str, depth: int = 6) -> bool:
        """Whether two values have the same name, or are computed by the same operators from the same values."""
        if one == other:
            return True
        first, second = self.makers.get(one), self.makers.get(other)
        if first is None or second is None:
            return self._equal_constants(one, other)
        equal = first.op_type == second.op_type and sorted(map(str, first.attribute)) == sorted(
            map(str, second.attribute)
        )
        if not equal or not depth or len(first.input) != len(second.input):
            return False
        return all(self.same(a, b, depth - 1) for a, b in zip(first.input, second.input, strict=True))

    def _equal_constants(self, one: str, other: str) -> bool:
        first, second = self.constant(one), self.constant(other)
        return first is not None and second is not None and np.array_equal(first, second)
