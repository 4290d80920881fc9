"""A prototxt and a caffemodel as one ONNX model, with Caffe's names and what they say of the preprocessing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from onnx import ModelProto

from deepinside.config.suggestions import nearest
from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.builder import Builder, CaffeLayer, Shape, describe
from deepinside.networks.caffe.layers import TRANSLATED
from deepinside.networks.caffe.legacy import current_layers, is_in_test_phase
from deepinside.networks.caffe.messages import Message, read_binary, read_text
from deepinside.networks.onnx.plausible import check_size

SOURCES = ("Input", "Data", "ImageData", "MemoryData", "WindowData", "HDF5Data", "DummyData", "AnnotatedData")
DROPPED = ("Accuracy", "ArgMax", "HDF5Output", "Silence")
"""Layer types after the class scores, other than losses."""


@dataclass(frozen=True)
class CaffeNetwork:
    """A network in ONNX: `layers` maps Caffe's names of layers to ONNX values, in order.

    `aliases` are blobs that are called otherwise than the layer that makes them. `scale`, `mean` and `mean_file` are
    those of a data layer, if the prototxt has one: Caffe's input is `scale · (intensity − mean)`. `notes` say what was
    left out.
    """

    model: ModelProto
    name: str
    layers: Mapping[str, str]
    aliases: Mapping[str, str]
    scale: float
    mean: tuple[float, ...]
    mean_file: str
    notes: tuple[str, ...]


def read_network(prototxt: Path, caffemodel: Path) -> CaffeNetwork:
    """The network of a prototxt with the weights of a caffemodel.

    Raises `DeepInsideError`, one sentence naming file and layer, if a file is damaged, a layer type is not supported,
    or weights are missing or of another shape.
    """
    (net, unknown), trained = read_text(prototxt), read_binary(caffemodel, "NetParameter")
    layers = [layer for layer in current_layers(net) if is_in_test_phase(layer)]
    if not layers:
        raise DeepInsideError(f"{prototxt} has no layers: give the prototxt of a network, such as deploy.prototxt")
    weights = {layer.name: layer.blobs for layer in current_layers(trained)}
    if not any(weights.values()):
        raise DeepInsideError(f"{caffemodel} has no weights: give the caffemodel, not another file of Caffe's")
    return Translation(prototxt, caffemodel, net, layers, weights).network(unknown)


class Translation:
    """One prototxt on its way to ONNX, layer by layer."""

    def __init__(
        self, prototxt: Path, caffemodel: Path, net: Message, layers: Sequence[Message],
        weights: Mapping[str, Sequence[Message]],
    ) -> None:  # fmt: skip
        self.prototxt, self.caffemodel, self.net, self.trained = prototxt, caffemodel, net, weights
        self.built, self.names, self.aliases = Builder(), dict[str, str](), dict[str, str]()
        self.read, self.dropped = set[str](), list[str]()
        self.layers = layers
        self.image, self.batch, self.source = self._image()

    def network(self, unknown: Sequence[str]) -> CaffeNetwork:
        for layer in self.layers:
            if layer.type in SOURCES:
                continue
            if layer.type in DROPPED or layer.type.endswith("Loss"):
                self.dropped.append(f"{layer.name} ({layer.type})")
            else:
                self._translate(layer)
        ends = [value for value in self.names.values() if value not in self.read]
        if not ends:
            raise DeepInsideError(f"{self.prototxt} has no layer that computes something of the image")
        model = self.built.model(self.image, ends[-1])
        kept = {value for node in model.graph.node for value in node.output}
        layers = {name: value for name, value in self.names.items() if value in kept}
        aliases = {blob: layer for blob, layer in self.aliases.items() if layer in layers and blob not in layers}
        transform = self.source.transform_param if self.source else None
        return CaffeNetwork(
            model, self.net.name, layers, aliases, transform.scale if transform else 1.0,
            tuple(transform.mean_value) if transform else (), transform.mean_file if transform else "",
            tuple(self._notes(unknown, ends[:-1])),
        )  # fmt: skip

    def _notes(self, unknown: Sequence[str], ends: Sequence[str]) -> Iterator[str]:
        if self.dropped:
            yield f"Left out, because they follow the class scores: {', '.join(self.dropped)}."
        if ends:
            yield f"Left out, because the class scores do not depend on them: {', '.join(ends)}."
        if unknown:
            yield f"Unknown fields of the prototxt, which were ignored: {', '.join(unknown)}."

    def _translate(self, layer: Message) -> None:
        if not layer.name:
            layer.name = layer.top[0] if layer.top else layer.type
        said = f"{self.prototxt}: layer {layer.name!r} ({layer.type})"
        if layer.type not in TRANSLATED:
            raise DeepInsideError(
                f"{said} is of a type that is not supported; supported are {', '.join(TRANSLATED)}: replace the layer"
            )
        if not layer.top or not layer.bottom:
            raise DeepInsideError(f"{said} should read and make a blob, found {len(layer.bottom)} and {len(layer.top)}")
        bottoms = tuple(self._value(blob, said) for blob in layer.bottom)
        tops = tuple(self.built.unique(layer.name if len(layer.top) == 1 else top) for top in layer.top)
        at = CaffeLayer(layer, self._blobs(layer), str(self.caffemodel), self.built, bottoms, tops, self.batch)
        try:
            TRANSLATED[layer.type](at)
            at.check_all_used()
        except DeepInsideError as error:
            raise DeepInsideError(f"{self.prototxt}: {error}") from None
        self.read.update(bottoms)
        for blob, value in zip(layer.top, tops, strict=True):
            self.names[value] = value
            self.built.blobs[blob] = value
            if blob != value:
                self.aliases[blob] = value

    def _value(self, blob: str, said: str) -> str:
        if blob not in self.built.blobs:
            near = nearest(blob, self.built.blobs) or list(self.built.blobs)
            raise DeepInsideError(f"{said} reads the blob {blob!r}, which no layer before it makes; known: {near}")
        return self.built.blobs[blob]

    def _blobs(self, layer: Message) -> Sequence[Message]:
        """The layer's trained blobs, which Caffe finds by the layer's name."""
        found = self.trained.get(layer.name)
        if found or layer.type not in WITH_WEIGHTS or len(layer.bottom) > 1:
            return found or ()
        used = {one.name for one in self.layers}
        unused = [name for name, blobs in self.trained.items() if blobs and name not in used]
        hint = f"; it has {', '.join(map(repr, unused[:5]))}, which the prototxt lacks" if unused else ""
        raise DeepInsideError(
            f"{self.prototxt}: layer {layer.name!r} ({layer.type}) needs weights, but {self.caffemodel} has none under "
            f"that name{hint}: give the caffemodel that was trained with this prototxt"
        )

    # --- the image -----------------------------------------------------------------------------------------------

    def _image(self) -> tuple[str, int, Message | None]:
        """The image's value, the batch size in the prototxt, and the data layer, if there is one."""
        inputs = sorted(self._inputs(), key=lambda one: len(one[1]) != 4)  # labels have one axis
        blob, shape, source = next(iter(inputs), ("", (), None))
        if len(shape) != 4 or shape[1] not in (1, 3) or min(shape) < 1:
            found = f"{blob!r} of {describe(shape)}" if shape else "none of known size"
            raise DeepInsideError(
                f"{self.prototxt} should declare one image input of N×3×H×W or N×1×H×W, found {found}: give the "
                f"deploy prototxt, or state the size in an Input layer"
            )
        check_size(shape, f"{self.prototxt}: the input {blob!r}")
        value = self.built.unique(blob)
        self.built.shapes[value] = (1, *shape[1:])
        self.built.blobs[blob] = value
        return value, shape[0], source

    def _inputs(self) -> Iterator[tuple[str, Shape, Message | None]]:
        sizes = [tuple(shape.dim) for shape in self.net.input_shape]
        old = list(self.net.input_dim)
        sizes = sizes or [tuple(old[place : place + 4]) for place in range(0, len(old), 4)]
        for blob, size in zip(self.net.input, sizes, strict=False):
            yield blob, size, None
        for layer in self.layers:
            if layer.type in SOURCES and layer.top:
                yield layer.top[0], _size(layer), layer


WITH_WEIGHTS = ("BatchNorm", "Bias", "Convolution", "Deconvolution", "InnerProduct", "PReLU", "Scale")


def _size(layer: Message) -> Shape:
    """The shape that a data layer makes; () if it does not state it."""
    if layer.input_param.shape:
        return tuple(layer.input_param.shape[0].dim)
    memory, files, cut = layer.memory_data_param, layer.image_data_param, layer.transform_param.crop_size
    if memory.channels:
        return (1, memory.channels, cut or memory.height, cut or memory.width)
    channels = 1 if layer.transform_param.force_gray or not files.is_color else 3
    rows, columns = (cut, cut) if cut else (files.new_height, files.new_width)
    return (1, channels, rows, columns) if prod((rows, columns)) else ()
