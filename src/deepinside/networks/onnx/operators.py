"""Converters to torch for operators that onnx2torch lacks or supports only in older versions."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from onnx import defs
from onnx2torch.node_converters import registry
from onnx2torch.node_converters.clip import OnnxClip
from onnx2torch.node_converters.registry import add_converter, get_converter
from onnx2torch.onnx_graph import OnnxGraph as Graph
from onnx2torch.onnx_node import OnnxNode as Node
from onnx2torch.utils.common import OnnxMapping, OperationConverterResult
from torch import Tensor, nn
from torch.nn import functional as F

NEWEST = 25
"""The newest opset that these converters were written for."""
UNCHANGED = (
    "Acos", "Asin", "Atan", "Cast", "Celu", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos",
    "Dropout", "Elu", "Equal", "EyeLike", "Flatten", "GlobalAveragePool", "GreaterOrEqual", "HardSigmoid", "HardSwish",
    "Identity", "InstanceNormalization", "IsInf", "IsNaN", "LessOrEqual", "MaxPool", "Round",
    "Shape", "Sin", "Softplus", "Softsign", "Squeeze", "Tan", "TopK", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators whose newer versions only accept more dtypes."""
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def register() -> None:
    """Register the converters with onnx2torch, once."""
    if known("GlobalMaxPool", 1):
        return
    for kind in UNCHANGED:
        _as_before(kind)
    for kind, converter in OWN.items():
        for version in versions(kind):
            if not known(kind, version):
                add_converter(kind, version)(converter)
            elif version >= INSTEAD_FROM.get(kind, NEWEST + 1):
                _put_before(kind, version, converter)
    for name in REDUCTIONS:
        for version in versions(f"Reduce{name}"):
            if not known(f"Reduce{name}", version):
                add_converter(f"Reduce{name}", version)(_reduction)


def versions(kind: str) -> list[int]:
    """All versions of an operator up to `NEWEST`."""
    return sorted(version for version in _all_versions()[kind] if version <= NEWEST)


@cache
def _all_versions() -> dict[str, set[int]]:
    """The versions of every operator of ONNX; listing the schemas takes 20 ms."""
    found: dict[str, set[int]] = defaultdict(set)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].add(schema.since_version)
    return found


def known(kind: str, version: int) -> bool:
    """Whether this version has a converter."""
    return registry.OperationDescription("", kind, version) in registry._CONVERTER_REGISTRY


def _as_before(kind: str) -> None:
    last = None
    for version in versions(kind):
        if known(kind, version):
            last = get_converter(kind, version)
        elif last is not None:
            add_converter(kind, version)(last)


def _put_before(kind: str, version: int, converter: Callable[..., Any]) -> None:
    """Use `converter` if it supports a node, else onnx2torch's own."""
    theirs = registry._CONVERTER_REGISTRY.pop(registry.OperationDescription("", kind, version))

    def either(node: Node, graph: Graph) -> Any:
        try:
            return converter(node, graph)
        except NotImplementedError:
            return theirs(node, graph)

    add_converter(kind, version)(either)


def _result(module: nn.Module, node: Node, inputs: Sequence[str] | None = None) -> Any:
    """The module, applied to the node's first input or to `inputs`."""
    taken = tuple(node.input_values[:1] if inputs is None else inputs)
    return OperationConverterResult(module, OnnxMapping(inputs=taken, outputs=node.output_values))


def _constant(node: Node, graph: Graph, place: int) -> Tensor | None:
    """The input at that position, None if it is omitted; it must not depend on the image."""
    name = node.input_values[place] if len(node.input_values) > place else ""
    if not name:
        return None
    if name not in graph.initializers:
        raise NotImplementedError(f"{node.operation_type} with an input {name!r} that is computed from the image")
    return graph.initializers[name].to_torch()


def _numbers(node: Node, graph: Graph, place: int, name: str) -> list[int] | None:
    """Integers that are an attribute in older versions and an input in newer ones."""
    found = node.attributes.get(name)
    if found is not None:
        return list(found)
    tensor = _constant(node, graph, place)
    return None if tensor is None else [int(number) for number in tensor.reshape(-1)]


# --- element by element ------------------------------------------------------------------------------------------


class Elementwise(nn.Module):
    """An element-wise function."""

    def __init__(self, compute: Callable[[Tensor], Tensor], name: str) -> None:
        super().__init__()
        self.compute, self.name = compute, name

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)

    def extra_repr(self) -> str:
        return self.name


def _elementwise(compute: Callable[[Tensor], Tensor]) -> Callable[[Node, Graph], Any]:
    return lambda node, graph: _result(Elementwise(compute, node.operation_type), node)


def _gelu(node: Node, graph: Graph) -> Any:
    return _result(nn.GELU(approximate=node.attributes.get("approximate", "none")), node)


class ThresholdedRelu(nn.Module):
    """x where x > α, 0 elsewhere."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > self.alpha, x, torch.zeros_like(x))


class Shrink(nn.Module):
    """x moved towards zero by `bias` where |x| > λ, 0 elsewhere."""

    def __init__(self, limit: float, bias: float) -> None:
        super().__init__()
        self.limit, self.bias = limit, bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x.abs() > self.limit, x - x.sign() * self.bias, torch.zeros_like(x))


def _shrink(node: Node, graph: Graph) -> Any:
    return _result(Shrink(node.attributes.get("lambd", 0.5), node.attributes.get("bias", 0.0)), node)


class Selu(nn.Module):
    """γ (x where x > 0, α (eˣ − 1) elsewhere). Klambauer et al. 2017."""

    def __init__(self, alpha: float, gamma: float) -> None:
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * F.elu(x, self.alpha)


def _selu(node: Node, graph: Graph) -> Any:
    alpha, gamma = node.attributes.get("alpha", 1.67326319), node.attributes.get("gamma", 1.05070102)
    return _result(Selu(alpha, gamma), node)


class CastLike(nn.Module):
    """A value cast to the dtype of another."""

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return x.to(like.dtype)


class Swish(nn.Module):
    """x · sigmoid(αx). Ramachandran et al. 2017."""

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.alpha * x)


def _swish(node: Node, graph: Graph) -> Any:
    alpha = node.attributes.get("alpha", 1.0)
    return _result(nn.SiLU() if alpha == 1 else Swish(alpha), node)


def _clip(node: Node, graph: Graph) -> Any:
    """Clip with its limits as inputs, both optional."""
    low, high = (_constant(node, graph, place) for place in (1, 2))
    floor, ceiling = (None if limit is None else float(limit) for limit in (low, high))
    if floor == 0 and ceiling is None:
        return _result(nn.ReLU(), node)
    if floor is None and ceiling is None:
        return _result(nn.Identity(), node)
    return _result(nn.ReLU6() if (floor, ceiling) == (0, 6) else OnnxClip(floor, ceiling), node)


def _matmul(node: Node, graph: Graph) -> Any:
    """x W with stored weights W (inputs, outputs) becomes a linear layer."""
    weights = _constant(node, graph, 1)
    if weights is None or weights.ndim != 2 or node.input_values[0] in graph.initializers:
        raise NotImplementedError("MatMul other than of a value computed from the image and a matrix of weights")
    inputs, outputs = weights.shape
    layer = nn.Linear(inputs, outputs, bias=False, device="meta")
    layer.weight = nn.Parameter(weights.t().contiguous())
    return _result(layer, node)


# --- shapes ------------------------------------------------------------------------------------------------------


class Reshape(nn.Module):
    """To `shape`, in which 0 keeps the size and −1 is inferred."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape([size or x.shape[axis] for axis, size in enumerate(self.shape)])

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


def _reshape(node: Node, graph: Graph) -> Any:
    shape = _numbers(node, graph, 1, "shape")
    assert shape is not None
    if 0 in shape and node.attributes.get("allowzero", 0):
        raise NotImplementedError("Reshape to nothing: a size of 0 with allowzero=1")
    return _result(Reshape(shape), node)


class Expand(nn.Module):
    """Broadcast to at least `shape`."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(torch.broadcast_shapes(x.shape, self.shape))


def _expand(node: Node, graph: Graph) -> Any:
    return _result(Expand(_numbers(node, graph, 1, "shape") or ()), node)


class Pad(nn.Module):
    """`pads` as in ONNX: before all `axes`, then after them; negative pads crop."""

    MODES: ClassVar = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}

    def __init__(self, pads: Sequence[int], mode: str, value: float, axes: Sequence[int] | None) -> None:
        super().__init__()
        self.pads, self.mode, self.value, self.axes = tuple(pads), self.MODES[mode], value, axes

    def forward(self, x: Tensor) -> Tensor:
        sides = self.sides(x.ndim)
        if self.mode == "constant":
            return F.pad(x, sides, value=self.value)
        for axis in range(x.ndim):  # torch's other modes support only the last axes and no negative pads
            x = self.along(x, axis, *sides[2 * (x.ndim - 1 - axis) :][:2])
        return x

    def sides(self, count: int) -> list[int]:
        """In torch's order: before and after the last axis, then those of the one before it."""
        axes = range(count) if self.axes is None else [axis % count for axis in self.axes]
        found = [0] * (2 * count)
        for place, axis in enumerate(axes):
            found[2 * (count - 1 - axis)] = self.pads[place]
            found[2 * (count - 1 - axis) + 1] = self.pads[place + len(axes)]
        return found

    def along(self, x: Tensor, axis: int, before: int, after: int) -> Tensor:
        """One axis padded with values of its own."""
        if before == after == 0:
            return x
        size = x.shape[axis]
        places = torch.arange(-before, size + after, device=x.device)
        if self.mode == "replicate":
            places = places.clamp(0, size - 1)
        elif self.mode == "circular":
            places = places % size
        else:
            places = (places % (2 * size - 2)) if size > 1 else places * 0
            places = torch.where(places < size, places, 2 * size - 2 - places)
        return x.index_select(axis, places)


def _pad(node: Node, graph: Graph) -> Any:
    pads = _numbers(node, graph, 1, "pads")
    value = _constant(node, graph, 2)
    axes = _numbers(node, graph, 3, "axes")
    assert pads is not None
    constant = node.attributes.get("value", 0.0) if value is None else float(value)
    return _result(Pad(pads, node.attributes.get("mode", "constant"), constant, axes), node)


class Split(nn.Module):
    """Along one axis, in pieces of `sizes`, or in `count` pieces of which the last may be smaller."""

    def __init__(self, axis: int, sizes: Sequence[int] | None, count: int) -> None:
        super().__init__()
        self.axis, self.sizes, self.count = axis, sizes, count

    def forward(self, x: Tensor) -> tuple[Tensor, ...] | Tensor:
        size = x.shape[self.axis]
        parts = x.split(list(self.sizes) if self.sizes else -(-size // self.count), dim=self.axis)
        return parts if self.count > 1 else parts[0]


def _split(node: Node, graph: Graph) -> Any:
    sizes = _numbers(node, graph, 1, "split")
    return _result(Split(node.attributes.get("axis", 0), sizes, len(node.output_values)), node)


class Slice(nn.Module):
    """From `starts` to `ends` of some axes with a step, which may be negative."""

    def __init__(self, starts: list[int], ends: list[int], axes: Sequence[int], steps: Sequence[int]) -> None:
        super().__init__()
        self.ranges = [(axis, slice(*rest)) for axis, *rest in zip(axes, starts, ends, steps, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        for axis, taken in self.ranges:
            x = self.along(x, axis % x.ndim, taken)
        return x

    def along(self, x: Tensor, axis: int, taken: slice) -> Tensor:
        if taken.step > 0:
            return x[(slice(None),) * axis + (taken,)]
        size = x.shape[axis]
        first = min(taken.start + size if taken.start < 0 else taken.start, size - 1)
        last = max(taken.stop + size if taken.stop < 0 else taken.stop, -1)
        return x.index_select(axis, torch.arange(first, last, taken.step, device=x.device))


def _slice(node: Node, graph: Graph) -> Any:
    starts, ends = _numbers(node, graph, 1, "starts"), _numbers(node, graph, 2, "ends")
    assert starts is not None and ends is not None
    axes = _numbers(node, graph, 3, "axes") or list(range(len(starts)))
    steps = _numbers(node, graph, 4, "steps") or [1] * len(starts)
    return _result(Slice(starts, ends, axes, steps), node)


class SpaceToDepth(nn.Module):
    """Blocks of b×b pixels become b·b times as many channels."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        items, channels, height, width = x.shape
        b = self.block
        blocks = x.view(items, channels, height // b, b, width // b, b).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(items, b * b * channels, height // b, width // b)


# --- sums and largest values -------------------------------------------------------------------------------------


class Reduction(nn.Module):
    """Reduces `axes`, by default all."""

    def __init__(self, kind: str, axes: Sequence[int] | None, keep: bool) -> None:
        super().__init__()
        self.kind, self.axes, self.keep = kind, axes, keep

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(x.ndim)) if self.axes is None else tuple(axis % x.ndim for axis in self.axes)
        return REDUCE[self.kind](x, axes, self.keep)


def _prod(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(dim=axis, keepdim=keep)
    return x


def _largest(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    """The maximum; the gradient goes to the first of equal values, as in max-pooling, instead of being shared."""
    order = [axis for axis in range(x.ndim) if axis not in axes]
    flat = x.permute(*order, *axes).flatten(len(order)) if axes else x[..., None]
    found = flat.max(dim=-1).values
    return found.reshape([1 if axis in axes else x.shape[axis] for axis in range(x.ndim)]) if keep else found


REDUCE: dict[str, Callable[[Tensor, Any, bool], Tensor]] = {
    "ReduceL1": lambda x, axes, keep: x.abs().sum(dim=axes, keepdim=keep),
    "ReduceL2": lambda x, axes, keep: (x * x).sum(dim=axes, keepdim=keep).sqrt(),
    "ReduceLogSum": lambda x, axes, keep: x.sum(dim=axes, keepdim=keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(dim=axes, keepdim=keep),
    "ReduceMax": _largest,
    "ReduceMean": lambda x, axes, keep: x.mean(dim=axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: -_largest(-x, axes, keep),
    "ReduceProd": _prod,
    "ReduceSum": lambda x, axes, keep: x.sum(dim=axes, keepdim=keep),
    "ReduceSumSquare": lambda x, axes, keep: (x * x).sum(dim=axes, keepdim=keep),
}


def _reduction(node: Node, graph: Graph) -> Any:
    axes = _numbers(node, graph, 1, "axes") or None
    if axes is None and node.attributes.get("noop_with_empty_axes", 0):
        return _result(nn.Identity(), node)
    return _result(Reduction(node.operation_type, axes, bool(node.attributes.get("keepdims", 1))), node)


class GroupNorm(nn.Module):
    """Group normalisation, Wu & He 2018: mean 0 and variance 1 within groups of channels, then scale and shift."""

    def __init__(self, groups: int, scale: Tensor, shift: Tensor, epsilon: float) -> None:
        super().__init__()
        self.groups, self.epsilon = groups, epsilon
        self.weight, self.bias = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, x: Tensor) -> Tensor:
        times = x.shape[1] // len(self.weight)  # one number per group until opset 18
        scale, shift = (values.repeat_interleave(times) for values in (self.weight, self.bias))
        return F.group_norm(x, self.groups, scale, shift, self.epsilon)


def _group_norm(node: Node, graph: Graph) -> Any:
    scale, shift = _constant(node, graph, 1), _constant(node, graph, 2)
    assert scale is not None and shift is not None
    module = GroupNorm(node.attributes["num_groups"], scale, shift, node.attributes.get("epsilon", 1e-5))
    return _result(module, node)


class RMSNorm(nn.Module):
    """RMS normalisation, Zhang & Sennrich 2019: x over its root mean square along the last axes, scaled."""

    def __init__(self, axis: int, scale: Tensor, epsilon: float) -> None:
        super().__init__()
        self.axis, self.epsilon, self.weight = axis, epsilon, nn.Parameter(scale)

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        return x * torch.rsqrt((x * x).mean(dim=axes, keepdim=True) + self.epsilon) * self.weight


def _rms_norm(node: Node, graph: Graph) -> Any:
    scale = _constant(node, graph, 1)
    assert scale is not None
    return _result(RMSNorm(node.attributes.get("axis", -1), scale, node.attributes.get("epsilon", 1e-5)), node)


class MeanVarianceNorm(nn.Module):
    """Mean 0 and standard deviation 1 along `axes`."""

    def __init__(self, axes: Sequence[int]) -> None:
        super().__init__()
        self.axes = tuple(axes)

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=self.axes, keepdim=True)
        return centred / ((centred * centred).mean(dim=self.axes, keepdim=True).sqrt() + 1e-9)


def _mean_variance_norm(node: Node, graph: Graph) -> Any:
    return _result(MeanVarianceNorm(node.attributes.get("axes", [0, 2, 3])), node)


class GlobalMaxPool(nn.Module):
    """The largest value of each map (N, C, …), as (N, C, 1, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return _largest(x, tuple(range(2, x.ndim)), True)


class LpNorm(nn.Module):
    """x / ‖x‖ₚ along one axis."""

    def __init__(self, axis: int, p: int) -> None:
        super().__init__()
        self.axis, self.p = axis, p

    def forward(self, x: Tensor) -> Tensor:
        norm = x.abs().sum(self.axis, keepdim=True) if self.p == 1 else (x * x).sum(self.axis, keepdim=True).sqrt()
        return torch.where(norm == 0, torch.zeros_like(x), x / norm)


def _lp_normalisation(node: Node, graph: Graph) -> Any:
    return _result(LpNorm(node.attributes.get("axis", -1), node.attributes.get("p", 2)), node)


# --- converters of older versions, if no newer feature is used -----------------------------------------------------


def _older(kind: str, version: int, **usual: Any) -> Callable[[Node, Graph], Any]:
    """The converter of an older version; newer attributes must have their default values."""

    def convert(node: Node, graph: Graph) -> Any:
        for name, value in usual.items():
            if node.attributes.get(name, value) != value and set(node.attributes[name]) - {value} != set():
                raise NotImplementedError(f"{kind} with {name}={node.attributes[name]}")
        return get_converter(kind, version)(node, graph)

    return convert


def _resize(node: Node, graph: Graph) -> Any:
    for name, usual in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch"), ("axes", None)):
        if node.attributes.get(name, usual) != usual:
            raise NotImplementedError(f"Resize with {name}={node.attributes[name]}")
    return get_converter("Resize", 13)(node, graph)


class Upsample(nn.Module):
    """Maps enlarged by any factor, ONNX's operator before Resize."""

    def __init__(self, scales: Sequence[float], mode: str) -> None:
        super().__init__()
        self.scales, self.mode = tuple(scales), mode

    def forward(self, x: Tensor) -> Tensor:
        smooth = {"align_corners": False} if self.mode == "bilinear" else {}
        return F.interpolate(x, scale_factor=self.scales, mode=self.mode, **smooth)


def _upsample(node: Node, graph: Graph) -> Any:
    stated = node.attributes.get("scales")
    scales = stated if stated is not None else [float(number) for number in _constant(node, graph, 1)]  # type: ignore[union-attr]
    mode = node.attributes.get("mode", "nearest")
    if list(scales[:2]) != [1, 1] or len(scales) != 4 or mode != "nearest":
        raise NotImplementedError(f"Upsample by {scales}, mode {mode}: only maps in the mode nearest are supported")
    return _result(Upsample(scales[2:], mode), node)


# --- 8-bit integers ----------------------------------------------------------------------------------------------


class Quantise(nn.Module):
    """round(x / scale) + zero, clamped to the integers' range, as float32.

    Differs from the file: integers are stored as floats, and rounding has the gradient of the identity (the
    straight-through estimator, Bengio et al. 2013), because its own is zero everywhere.
    """

    def __init__(self, scale: Tensor, zero: Tensor, axis: int) -> None:
        super().__init__()
        self.axis, limits = axis, torch.iinfo(zero.dtype)
        self.low, self.high = float(limits.min), float(limits.max)
        self.register_buffer("scale", scale.float())
        self.register_buffer("zero", zero.float())

    def forward(self, x: Tensor) -> Tensor:
        smooth = x / along(self.scale, x, self.axis)
        rounded = smooth + (smooth.round() - smooth).detach()
        return (rounded + along(self.zero, x, self.axis)).clamp(self.low, self.high)


class Dequantise(nn.Module):
    """(q − zero) · scale."""

    def __init__(self, scale: Tensor, zero: Tensor, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("scale", scale.float())
        self.register_buffer("zero", zero.float())

    def forward(self, q: Tensor) -> Tensor:
        return (q.float() - along(self.zero, q, self.axis)) * along(self.scale, q, self.axis)


def along(values: Any, x: Tensor, axis: int) -> Tensor:
    """Numbers along one axis of `x`, in a shape that broadcasts."""
    if values.numel() == 1:
        return values.reshape(())
    return values.reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)])


def _quantise(node: Node, graph: Graph) -> Any:
    scale, zero = _constant(node, graph, 1), _constant(node, graph, 2)
    assert scale is not None
    zero = torch.zeros_like(scale, dtype=torch.uint8) if zero is None else zero
    if zero.is_floating_point() or node.attributes.get("block_size", 0):
        raise NotImplementedError(f"{node.operation_type} to {zero.dtype}, or in blocks")
    kind = Quantise if node.operation_type == "QuantizeLinear" else Dequantise
    return _result(kind(scale, zero, node.attributes.get("axis", 1)), node)


OWN: dict[str, Callable[[Node, Graph], Any]] = {
    "Acosh": _elementwise(torch.acosh),
    "Asinh": _elementwise(torch.asinh),
    "Atanh": _elementwise(torch.atanh),
    "AveragePool": _older("AveragePool", 11, dilations=1),
    "CastLike": lambda node, graph: _result(CastLike(), node, node.input_values),
    "Clip": _clip,
    "Cosh": _elementwise(torch.cosh),
    "DequantizeLinear": _quantise,
    "Expand": _expand,
    "Gelu": _gelu,
    "GlobalMaxPool": lambda node, graph: _result(GlobalMaxPool(), node),
    "GroupNormalization": _group_norm,
    "LpNormalization": _lp_normalisation,
    "MatMul": _matmul,
    "MeanVarianceNormalization": _mean_variance_norm,
    "Mish": lambda node, graph: _result(nn.Mish(), node),
    "Pad": _pad,
    "QuantizeLinear": _quantise,
    "Reshape": _reshape,
    "Resize": _resize,
    "RMSNormalization": _rms_norm,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sinh": _elementwise(torch.sinh),
    "Slice": _slice,
    "SpaceToDepth": lambda node, graph: _result(SpaceToDepth(node.attributes["blocksize"]), node),
    "Split": _split,
    "Swish": _swish,
    "ThresholdedRelu": lambda node, graph: _result(ThresholdedRelu(node.attributes.get("alpha", 1.0)), node),
    "Upsample": _upsample,
}
INSTEAD_FROM = {"Clip": 11, "Expand": 8, "MatMul": 1, "Reshape": 5, "Selu": 1, "Slice": 1}
"""Converters that replace onnx2torch's own from this version on: optional limits, constant shapes and weights."""
