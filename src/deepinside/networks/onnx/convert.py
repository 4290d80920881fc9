"""Converts a prepared ONNX graph to a torch.fx graph whose nodes name the layers they compute."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from deepinside.errors import DeepInsideError
from deepinside.networks.onnx.graph import SMALL, PreparedGraph, Weights, opset, skeleton
from deepinside.networks.onnx.plain import OF_THE_SAME_SHAPE

LAYER = "layer"  # fx nodes carry the name of the layer they compute in node.meta[LAYER]
OPSETS = (13, 12, 11, 10, 9, 17)  # tried in this order if an operator of the file's own version has no converter
DETECTION = ("box_convert", "nms", "roi_align")
"""The functions of torchvision that onnx2torch uses."""
RESERVED = frozenset(dir(fx.GraphModule)) | {"initializers", "meta", "graph", "code"}


def convert(prepared: PreparedGraph, *, file: str = "the file") -> fx.GraphModule:
    """The graph in torch: evaluation mode, frozen parameters, plain modules named after their layers.

    Raises `DeepInsideError` naming `file`, operator and node if there is no converter.
    """
    model = _convertible(prepared, file)
    marks = _name_nodes(model, {layer.value: layer.name for layer in prepared.layers})
    _add_shapes(model, prepared)
    module = _converted(model, prepared.weights, file)
    _inline_sequences(module)
    for node in module.graph.nodes:
        if node.op == "call_module" and node.target in marks:
            node.meta[LAYER] = marks[node.target]
    return module.eval().requires_grad_(False)


# --- operators ---------------------------------------------------------------------------------------------------


def _convertible(prepared: PreparedGraph, file: str) -> ModelProto:
    """The model in the first version of ONNX's operators in which every node has a converter.

    Its large weights have names and shapes but no values: see `_lazy_weights`.
    """
    model = _with_weights(prepared.body, prepared)
    lacking = _lacking(model)
    if lacking is None:
        return model
    light = skeleton(prepared.body, prepared.weights)
    for version in OPSETS:
        other = _at_version(light, version)
        if other is not None and _lacking(other) is None:
            return _with_weights(other, prepared)
    raise DeepInsideError(
        f"{file}: the operator {lacking.op_type} (node {lacking.name or lacking.output[0]!r}, opset {opset(model)}) "
        f"is not supported: no converter to torch exists for it"
    )


def _lacking(model: ModelProto) -> NodeProto | None:
    find, version = _onnx2torch().node_converters.get_converter, opset(model)
    for node in model.graph.node:
        try:
            find(operation_type=node.op_type, version=version, domain=node.domain)
        except NotImplementedError:
            return node
    return None


def _at_version(light: ModelProto, version: int) -> ModelProto | None:
    try:
        return version_converter.convert_version(light, version)
    except (RuntimeError, version_converter.ConvertError):
        return None


def _with_weights(light: ModelProto, prepared: PreparedGraph) -> ModelProto:
    model = ModelProto()
    model.CopyFrom(light)
    model.ir_version = prepared.body.ir_version
    stored = {tensor.name for tensor in model.graph.initializer}
    others = [tensor for name, tensor in prepared.weights.items() if name not in stored]
    model.graph.initializer.extend(map(_without_values, others))
    images = [value for value in model.graph.input if value.name == prepared.input]
    del model.graph.input[:]
    model.graph.input.extend(images)
    return model


def _add_shapes(model: ModelProto, prepared: PreparedGraph) -> None:
    """Add the shapes that shape inference does not know, from the layers: converters need the number of axes."""
    shapes = {layer.value: layer.shape for layer in prepared.layers}
    for node in model.graph.node:
        if node.op_type in OF_THE_SAME_SHAPE and node.output[0] in shapes:
            sizes: list[str | int | None] = ["N", *shapes[node.output[0]]]
            model.graph.value_info.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, sizes))


def _without_values(tensor: TensorProto) -> TensorProto:
    """A large weight without its values; small ones may hold shapes and stay as they are."""
    if prod(tensor.dims) <= SMALL:
        return tensor
    return TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)


def _name_nodes(model: ModelProto, names: Mapping[str, str]) -> dict[str, str]:
    """Name every node after its layer, as far as torch allows; maps module names to layer names.

    onnx2torch looks weights up among the nodes' names, so no node may have the name of one.
    """
    taken = RESERVED | {tensor.name for tensor in model.graph.initializer}
    marks: dict[str, str] = {}
    for node in model.graph.node:
        layer = names.get(node.output[0])
        module = (layer or node.output[0]).replace(".", "/").strip("/")
        node.name = f"{module}_" if module in taken or module in marks else module
        if layer:
            marks[node.name] = layer
    return marks


def _converted(model: ModelProto, weights: Weights, file: str) -> fx.GraphModule:
    try:
        with _NoInitialisation(), _lazy_weights(weights):
            return _onnx2torch().convert(model)
    except (NotImplementedError, KeyError, ValueError, RuntimeError, TypeError) as error:
        words = " ".join(str(error).split())[:300]
        raise DeepInsideError(f"{file}: the graph does not convert to torch: {type(error).__name__}: {words}") from None


@contextmanager
def _lazy_weights(weights: Weights) -> Iterator[None]:
    """Give onnx2torch the large weights only when it reads them.

    It copies its model five times before it reads the first weight, which for VGG's half gigabyte takes longer than
    everything else. So its model has large weights without values.
    """
    tensor_class = _onnx2torch().onnx_tensor.OnnxTensor
    read = tensor_class.to_numpy

    def to_numpy(tensor: Any) -> np.ndarray:
        stored = weights.get(tensor.name)
        return read(tensor) if stored is None else numpy_helper.to_array(stored).copy()

    tensor_class.to_numpy = to_numpy
    try:
        yield
    finally:
        tensor_class.to_numpy = read


class _NoInitialisation(TorchFunctionMode):
    """Skips random initialisation: weights come from the file, and the global random state stays as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {}).get("tensor", args[0] if args else None)
        return func(*args, **(kwargs or {}))


def _inline_sequences(module: fx.GraphModule) -> None:
    """Split each nn.Sequential, such as a padded layer, into separate nodes with plain modules."""
    for node in list(module.graph.nodes):
        part = module.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(part, nn.Sequential):
            _inline(module, node, part)
    module.graph.lint()
    module.recompile()


def _inline(module: fx.GraphModule, node: fx.Node, part: nn.Sequential) -> None:
    *before, last = part
    for index, step in enumerate(before):
        name = f"{node.target}/pad{index or ''}"
        module.add_submodule(name, step)
        with module.graph.inserting_before(node):
            node.args = (module.graph.call_module(name, node.args),)
    module.add_submodule(str(node.target), last)


# --- torchvision -------------------------------------------------------------------------------------------------


def _onnx2torch() -> Any:
    """onnx2torch, which imports torchvision for two detection operators that no classifier has."""
    if "onnx2torch" not in sys.modules:
        with _torchvision_when_used():
            import onnx2torch
    import onnx2torch

    from deepinside.networks.onnx import operators

    operators.register()
    return onnx2torch


@contextmanager
def _torchvision_when_used() -> Iterator[None]:
    """An empty stand-in takes torchvision's place within the block, unless torchvision is already imported.

    torchvision takes longer to import than a network to load, and a torchvision for CUDA does not import with a CPU
    torch. The stand-in imports it when a detection operator is computed.
    """
    if "torchvision" in sys.modules:
        yield
        return
    stand_ins = {name: ModuleType(name) for name in ("torchvision", "torchvision.ops")}
    stand_ins["torchvision"].__dict__["ops"] = stand_ins["torchvision.ops"]
    stand_ins["torchvision.ops"].__dict__.update({name: partial(_detect, name) for name in DETECTION})
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _detect(function: str, /, *arguments: Any, **further: Any) -> torch.Tensor:
    """Call torchvision's function of this name."""
    try:
        from torchvision import ops
    except (ImportError, RuntimeError, OSError, AttributeError):
        raise DeepInsideError(
            f"{function} needs a torchvision that matches the installed torch; install a matching pair"
        ) from None
    return getattr(ops, function)(*arguments, **further)
