"""An ONNX graph in the making, and the one layer of Caffe's that is added to it next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.messages import Message, array
from deepinside.networks.onnx import plausible

OPSET = 13
Shape = tuple[int, ...]


@dataclass
class Builder:
    """An ONNX graph in the making.

    `shapes` are those of its values for one image. `blobs` maps Caffe's blobs to the values that they hold at present:
    an in-place layer gets a value of its own.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def unique(self, name: str) -> str:
        """`name`, or with a number if it is taken; from now on it is."""
        found, count = name, 1
        while found in self.taken:
            count += 1
            found = f"{name}_{count}"
        self.taken.add(found)
        return found

    def constant(self, name: str, values: Any, kind: Any = np.float32) -> str:
        found = self.unique(name)
        self.weights[found] = np.ascontiguousarray(values, dtype=kind)
        return found

    def node(self, operator: str, inputs: Iterable[str], output: str, shape: Shape, **attributes: Any) -> str:
        plausible.check_size(shape, f"the value {output!r}")
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        self.shapes[output] = shape
        return output

    def model(self, image: str, output: str) -> ModelProto:
        """The ONNX model from the image to one value, without what it does not need."""
        needed, kept = {output}, []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                kept.append(node)
                needed.update(node.input)
        tensors = [numpy_helper.from_array(value, name) for name, value in self.weights.items() if name in needed]
        inputs = [helper.make_tensor_value_info(image, TensorProto.FLOAT, ["N", *self.shapes[image][1:]])]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", *self.shapes[output][1:]])]
        graph = helper.make_graph(kept[::-1], "caffe", inputs, outputs, tensors)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="deepinside")


@dataclass
class CaffeLayer:
    """One layer to translate: its message, its trained blobs, and the values that it reads and makes.

    `batch` is the batch size that the prototxt declares, which a Reshape may repeat. `used` counts the trained blobs
    that were read.
    """

    message: Message
    blobs: Sequence[Message]
    weights_file: str
    net: Builder
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    batch: int
    used: int = 0

    def __str__(self) -> str:
        return f"layer {self.message.name!r} ({self.message.type})"

    def refuse(self, reason: str) -> NoReturn:
        raise DeepInsideError(f"{self} {reason}")

    @property
    def x(self) -> str:
        """The layer's first input."""
        return self.bottoms[0]

    @property
    def shape(self) -> Shape:
        """The shape of the layer's first input, for one image."""
        return self.net.shapes[self.x]

    def image_shape(self) -> Shape:
        """The first input's (C, H, W)."""
        if len(self.shape) != 4:
            self.refuse(f"takes maps (N, C, H, W), found {describe(self.shape)}: correct its bottom")
        return self.shape[1:]

    def axis(self, value: int, *, images: bool = False) -> int:
        """An axis of the first input, which may count from the end; the batch axis only with `images`."""
        found = value if value >= 0 else value + len(self.shape)
        if not (0 if images else 1) <= found < len(self.shape):
            self.refuse(f"works along axis {value}, but its input has {describe(self.shape)}: correct the axis")
        return found

    def trained(self, place: int, shape: Shape, what: str) -> NDArray[np.float32]:
        """One of the trained blobs; old files write leading axes of size 1 before its shape."""
        if place >= len(self.blobs):
            self.refuse(
                f"needs {what} of {describe(shape)}, but {self.weights_file} has {len(self.blobs)} blobs for it: "
                f"give the caffemodel that was trained with this prototxt"
            )
        self.used = max(self.used, place + 1)
        values = array(self.blobs[place], what=f"{self}: the {what} in {self.weights_file}")
        if without_leading_ones(values.shape) != without_leading_ones(shape):
            self.refuse(
                f"needs {what} of {describe(shape)}, but {self.weights_file} has {describe(values.shape)}: "
                f"give the caffemodel that was trained with this prototxt"
            )
        return values.reshape(shape)

    def check_all_used(self) -> None:
        """Raise `DeepInsideError` if the layer has more trained blobs than its settings use, as Caffe does."""
        if len(self.blobs) > self.used:
            self.refuse(
                f"uses {self.used} trained blobs, but {self.weights_file} has {len(self.blobs)} for it: "
                f"give the prototxt that it was trained with"
            )

    def constant(self, what: str, values: Any, kind: Any = np.float32) -> str:
        return self.net.constant(f"{self.message.name}_{what}", values, kind)

    def add(self, operator: str, *inputs: str, shape: Shape | None = None, **attributes: Any) -> str:
        """The operator that makes the layer's first output."""
        return self.net.node(operator, inputs, self.tops[0], self.shape if shape is None else shape, **attributes)

    def step(self, what: str, operator: str, *inputs: str, shape: Shape | None = None, **attributes: Any) -> str:
        """An operator before the last one; `what` is added to the layer's name."""
        name = self.net.unique(f"{self.message.name}_{what}")
        return self.net.node(operator, inputs, name, self.shape if shape is None else shape, **attributes)

    def chain(self, value: str, steps: Sequence[tuple[str, float | NDArray[Any] | None]]) -> str:
        """Operators in a row, each with a constant or none; the last one makes the layer's output."""
        if not steps:
            return self.add("Identity", value)
        for place, (operator, number) in enumerate(steps):
            constants = [] if number is None else [self.constant(f"{operator.lower()}{place}_by", number)]
            last = place == len(steps) - 1
            value = (
                self.add(operator, value, *constants)
                if last
                else self.step(f"{operator.lower()}{place}", operator, value, *constants)
            )
        return value


def without_leading_ones(shape: Sequence[int]) -> Shape:
    found = tuple(shape)
    while found[:1] == (1,):
        found = found[1:]
    return found


def describe(shape: Sequence[int]) -> str:
    """A shape in words."""
    return "×".join(map(str, shape)) or "one number"
