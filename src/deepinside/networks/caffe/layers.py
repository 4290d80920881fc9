"""What each layer type of Caffe computes, in ONNX operators; the definitions are those of Caffe's own layers."""

from collections.abc import Callable
from itertools import pairwise
from math import ceil, log, prod

import numpy as np
from numpy.typing import NDArray

from deepinside.networks.caffe.builder import CaffeLayer, Shape, describe
from deepinside.networks.caffe.messages import Message
from deepinside.networks.onnx.plausible import WINDOW_AT_MOST, check_size

Pair = tuple[int, int]


# --- windows -----------------------------------------------------------------------------------------------------


def pair(at: CaffeLayer, settings: Message, name: str, least: int, default: int | None = None) -> Pair:
    """Rows and columns of a kernel, stride, padding or dilation: one number, two, or fields `…_h` and `…_w`."""
    short = name.removesuffix("_size")
    if f"{short}_h" in settings.DESCRIPTOR.fields_by_name and settings.HasField(f"{short}_h"):
        found = [getattr(settings, f"{short}_h"), getattr(settings, f"{short}_w")]
    elif hasattr(getattr(settings, name), "append"):
        found = list(getattr(settings, name)) or ([] if default is None else [default])
    else:
        found = [getattr(settings, name)]
    if len(found) not in (1, 2) or not all(least <= number <= WINDOW_AT_MOST for number in found):
        at.refuse(f"has {name} {found}, but one or two numbers from {least} to {WINDOW_AT_MOST} are expected")
    return (found[0], found[-1])


def convolution(at: CaffeLayer) -> None:
    def size(s: int, k: int, t: int, p: int, d: int) -> int:
        return (s + 2 * p - d * (k - 1) - 1) // t + 1

    _convolve(at, "Conv", size)


def deconvolution(at: CaffeLayer) -> None:
    def size(s: int, k: int, t: int, p: int, d: int) -> int:
        return t * (s - 1) + d * (k - 1) + 1 - 2 * p

    _convolve(at, "ConvTranspose", size)


def _convolve(at: CaffeLayer, operator: str, size: Callable[[int, int, int, int, int], int]) -> None:
    """`size` is that of the output along one axis, of the input's, kernel, stride, padding and dilation."""
    settings = at.message.convolution_param
    channels, *sizes = at.image_shape()
    windows = kernel, stride, pad, dilation = _windows(at, settings)
    group, outputs = settings.group, settings.num_output
    if settings.axis != 1 or not outputs or not group or channels % group or outputs % group:
        at.refuse(f"has {outputs} outputs in {group} groups along axis {settings.axis}, for {channels} channels")
    shape = (1, outputs, *(size(*one) for one in zip(sizes, *windows, strict=True)))
    if min(shape) < 1:
        at.refuse(f"has a kernel larger than its input of {describe(at.shape)}")
    rows = (outputs, channels // group) if operator == "Conv" else (channels, outputs // group)
    weight = at.constant("w", at.trained(0, (*rows, *kernel), "weights"))
    at.add(
        operator, at.x, weight, *_bias(at, settings, outputs), shape=shape, kernel_shape=kernel, strides=stride,
        pads=pad * 2, dilations=dilation, group=group,
    )  # fmt: skip


def _windows(at: CaffeLayer, settings: Message) -> tuple[Pair, Pair, Pair, Pair]:
    return (
        pair(at, settings, "kernel_size", 1),
        pair(at, settings, "stride", 1, 1),
        pair(at, settings, "pad", 0, 0),
        pair(at, settings, "dilation", 1, 1),
    )


def _bias(at: CaffeLayer, settings: Message, count: int) -> list[str]:
    return [at.constant("b", at.trained(1, (count,), "biases"))] if settings.bias_term else []


def pooling(at: CaffeLayer) -> None:
    settings = at.message.pooling_param
    channels, *sizes = at.image_shape()
    operator = {0: "MaxPool", 1: "AveragePool"}.get(settings.pool)
    if operator is None:
        at.refuse("pools stochastically, which is for training: use MAX or AVE")
    if len(at.tops) > 1:
        at.refuse("also returns the places of its maxima, which is not supported")
    if settings.global_pooling:
        at.add(f"Global{operator}", at.x, shape=(1, channels, 1, 1))
        return
    kernel, stride, pad = (pair(at, settings, name, least) for name, least in POOLING)
    windows = list(zip(sizes, kernel, stride, pad, strict=True))
    if any(p >= k for _, k, _, p in windows):
        at.refuse(f"has padding {list(pad)}, which must be smaller than its kernel {list(kernel)}")
    round_up = settings.round_mode == 0 and settings.ceil_mode  # two forks' names for the same
    counts = [pooled(*window, round_up=round_up) for window in windows]
    if any(count < 1 or (count - 1) * t - p >= s for count, (s, k, t, p) in zip(counts, windows, strict=True)):
        at.refuse(f"has a window without a pixel of its input of {describe(at.shape)}, which Caffe leaves undefined")
    ends = [max((count - 1) * t + k - p - s, 0) for count, (s, k, t, p) in zip(counts, windows, strict=True)]
    shape = (1, channels, *counts)
    check_size(shape, str(at))
    attributes = {"kernel_shape": kernel, "strides": stride, "pads": [*pad, *ends]}
    if operator == "MaxPool":
        at.add(operator, at.x, shape=shape, **attributes)
    else:
        _average(at, windows, counts, shape, attributes)


POOLING = (("kernel_size", 1), ("stride", 1), ("pad", 0))


def pooled(size: int, kernel: int, stride: int, pad: int, *, round_up: bool = True) -> int:
    """The number of windows along one axis: rounded up, less one that would start in the padding behind."""
    steps = (size + 2 * pad - kernel) / stride
    count = (ceil(steps) if round_up else int(steps // 1)) + 1
    return count - 1 if pad and (count - 1) * stride >= size + pad else count


def _average(
    at: CaffeLayer, windows: list[tuple[int, int, int, int]], counts: list[int], shape: Shape, attributes: dict
) -> None:  # fmt: skip
    """Caffe divides by the window's area up to the declared padding, not by what rounding up adds behind it."""
    areas = np.outer(*(covered(count, *window) for count, window in zip(counts, windows, strict=True)))
    kernel = prod(attributes["kernel_shape"])
    if (areas == kernel).all():
        at.add("AveragePool", at.x, shape=shape, count_include_pad=1, **attributes)
        return
    pooled = at.step("pooled", "AveragePool", at.x, shape=shape, count_include_pad=1, **attributes)
    at.add("Mul", pooled, at.constant("area", (kernel / areas)[None, None]), shape=shape)


def covered(count: int, size: int, kernel: int, stride: int, pad: int) -> NDArray[np.float64]:
    """By window along one axis: how many of its pixels are in the image or in the declared padding."""
    starts = np.arange(count) * stride - pad
    return (np.minimum(starts + kernel, size + pad) - starts).astype(np.float64)


# --- normalisation -----------------------------------------------------------------------------------------------


def lrn(at: CaffeLayer) -> None:
    settings = at.message.lrn_param
    size = settings.local_size
    if size % 2 == 0 or size > WINDOW_AT_MOST:
        at.refuse(f"has local_size {size}, but an odd number up to {WINDOW_AT_MOST} is expected")
    at.image_shape()
    if settings.norm_region == 0:
        at.add("LRN", at.x, size=size, alpha=settings.alpha, beta=settings.beta, bias=settings.k)
        return
    square = at.step("square", "Mul", at.x, at.x)
    window, pads = [size, size], [size // 2] * 4
    found = at.step("mean", "AveragePool", square, kernel_shape=window, pads=pads, count_include_pad=1)
    for operator, number in (("Mul", settings.alpha), ("Add", 1.0), ("Pow", -settings.beta)):
        found = at.step(operator.lower(), operator, found, at.constant(f"{operator.lower()}_by", number))
    at.add("Mul", at.x, found)


def batch_norm(at: CaffeLayer) -> None:
    settings = at.message.batch_norm_param
    if not settings.use_global_stats:
        at.refuse("normalises by its batch (use_global_stats: false): a trained network should use its own statistics")
    count = at.shape[at.axis(1)]
    mean, variance = at.trained(0, (count,), "mean"), at.trained(1, (count,), "variance")
    factor = float(at.trained(2, (1,), "moving average's factor")[0])
    by = 0.0 if factor == 0 else 1 / factor
    inputs = [np.ones(count), np.zeros(count), by * mean, by * variance]
    names = [at.constant(name, values) for name, values in zip(("one", "zero", "mean", "var"), inputs, strict=True)]
    at.add("BatchNormalization", at.x, *names, epsilon=settings.eps)


def scale(at: CaffeLayer) -> None:
    settings = at.message.scale_param
    if len(at.bottoms) > 1:
        product = at.step("product", "Mul", at.x, _second(at, settings)) if settings.bias_term else None
        if product is None:
            at.add("Mul", at.x, _second(at, settings))
            return
        at.add("Add", product, at.constant("b", _broadcast(at, settings, 0, "biases")))
        return
    steps: list[tuple[str, NDArray[np.float32]]] = [("Mul", _broadcast(at, settings, 0, "factors"))]
    if settings.bias_term:
        steps.append(("Add", _broadcast(at, settings, 1, "biases")))
    at.chain(at.x, steps)


def bias(at: CaffeLayer) -> None:
    settings = at.message.bias_param
    other = _second(at, settings) if len(at.bottoms) > 1 else at.constant("b", _broadcast(at, settings, 0, "biases"))
    at.add("Add", at.x, other)


def _broadcast(at: CaffeLayer, settings: Message, place: int, what: str) -> NDArray[np.float32]:
    """A trained blob for `num_axes` axes from `axis` on, with axes of size 1 after it."""
    start = at.axis(settings.axis)
    end = len(at.shape) if settings.num_axes < 0 else start + settings.num_axes
    shape = at.shape[start:end]
    return at.trained(place, shape, what).reshape(*shape, *[1] * (len(at.shape) - end))


def _second(at: CaffeLayer, settings: Message) -> str:
    """The second input, with axes of size 1 after its own."""
    own = at.net.shapes[at.bottoms[1]]
    if at.axis(settings.axis, images=True) != 0 or own != at.shape[: len(own)]:
        at.refuse(f"takes a second input of {describe(own)} along axis {settings.axis} of {describe(at.shape)}")
    shape = (*own, *[1] * (len(at.shape) - len(own)))
    target = at.constant("shape", [0, *shape[1:]], np.int64)
    return at.step("second", "Reshape", at.bottoms[1], target, shape=shape)


# --- activations -------------------------------------------------------------------------------------------------


def relu(at: CaffeLayer) -> None:
    slope = at.message.relu_param.negative_slope
    if slope:
        at.add("LeakyRelu", at.x, alpha=slope)
    else:
        at.add("Relu", at.x)


def prelu(at: CaffeLayer) -> None:
    count = 1 if at.message.prelu_param.channel_shared else at.shape[at.axis(1)]
    slope = at.trained(0, (count,), "slopes").reshape(count, *[1] * (len(at.shape) - 2))
    at.add("PRelu", at.x, at.constant("slope", slope))


def softmax(at: CaffeLayer) -> None:
    at.add("Softmax", at.x, axis=at.axis(at.message.softmax_param.axis))


def power(at: CaffeLayer) -> None:
    """(shift + scale · x) ^ power"""
    p = at.message.power_param
    steps = (("Mul", p.scale, 1.0), ("Add", p.shift, 0.0), ("Pow", p.power, 1.0))
    at.chain(at.x, [(operator, number) for operator, number, neutral in steps if number != neutral])


def exp(at: CaffeLayer) -> None:
    """base ^ (shift + scale · x); base −1 stands for e"""
    p = at.message.exp_param
    inner = _natural(at, p.base)
    at.chain(at.x, [("Mul", p.scale * inner), ("Add", p.shift * inner), ("Exp", None)])


def logarithm(at: CaffeLayer) -> None:
    """log(shift + scale · x) to a base; −1 stands for e"""
    p = at.message.log_param
    at.chain(at.x, [("Mul", p.scale), ("Add", p.shift), ("Log", None), ("Mul", 1 / _natural(at, p.base))])


def _natural(at: CaffeLayer, base: float) -> float:
    """The natural logarithm of a base."""
    if base != -1 and (base <= 0 or base == 1):
        at.refuse(f"has base {base:g}, but a positive one other than 1, or -1 for e, is expected")
    return 1.0 if base == -1 else log(base)


# --- several values ----------------------------------------------------------------------------------------------


def eltwise(at: CaffeLayer) -> None:
    settings = at.message.eltwise_param
    for other in at.bottoms:
        if at.net.shapes[other] != at.shape:
            at.refuse(f"takes inputs of one shape, found {describe(at.shape)} and {describe(at.net.shapes[other])}")
    values = list(at.bottoms)
    if settings.coeff:
        if settings.operation != 1 or len(settings.coeff) != len(values):
            at.refuse(f"has {len(settings.coeff)} coefficients for {len(values)} inputs: only sums have one for each")
        values = [_times(at, value, number) for value, number in zip(values, settings.coeff, strict=True)]
    operator = ("Mul", "Add", "Max")[settings.operation]
    found = values[0]
    for place, value in enumerate(values[1:-1]):
        found = at.step(f"{operator.lower()}{place}", operator, found, value)
    at.add(operator, found, values[-1]) if len(values) > 1 else at.add("Identity", found)


def _times(at: CaffeLayer, value: str, number: float) -> str:
    return value if number == 1 else at.step("times", "Mul", value, at.constant("coefficient", number))


def concat(at: CaffeLayer) -> None:
    settings = at.message.concat_param
    axis = at.axis(settings.concat_dim if settings.HasField("concat_dim") else settings.axis)
    shapes = [at.net.shapes[value] for value in at.bottoms]
    for other in shapes:
        if len(other) != len(at.shape) or any(
            a != b for i, (a, b) in enumerate(zip(at.shape, other, strict=True)) if i != axis
        ):
            at.refuse(
                f"takes inputs that differ along axis {axis} only, found {describe(at.shape)} and {describe(other)}"
            )
    size = sum(shape[axis] for shape in shapes)
    at.add("Concat", *at.bottoms, shape=(*at.shape[:axis], size, *at.shape[axis + 1 :]), axis=axis)


def slices(at: CaffeLayer) -> None:
    settings = at.message.slice_param
    axis = at.axis(settings.slice_dim if settings.HasField("slice_dim") else settings.axis)
    size, count = at.shape[axis], len(at.tops)
    points = list(settings.slice_point)
    if not points and size % count == 0:
        points = [size // count * place for place in range(1, count)]
    borders = [0, *points, size]
    if len(borders) != count + 1 or any(a >= b for a, b in pairwise(borders)):
        at.refuse(f"cuts axis {axis} of {describe(at.shape)} at {points} into {count} parts")
    along = at.constant("axis", [axis], np.int64)
    for top, (start, end) in zip(at.tops, pairwise(borders), strict=True):
        ends = [at.constant(name, [place], np.int64) for name, place in (("start", start), ("end", end))]
        at.net.node("Slice", [at.x, *ends, along], top, (*at.shape[:axis], end - start, *at.shape[axis + 1 :]))


def split(at: CaffeLayer) -> None:
    for top in at.tops:
        at.net.node("Identity", [at.x], top, at.shape)


# --- shapes and matrices -----------------------------------------------------------------------------------------


def inner_product(at: CaffeLayer) -> None:
    settings = at.message.inner_product_param
    outputs = settings.num_output
    if at.axis(settings.axis) != 1 or not outputs:
        at.refuse(f"has {outputs} outputs along axis {settings.axis}, but only axis 1 is supported")
    count = prod(at.shape[1:])
    shape = (count, outputs) if settings.transpose else (outputs, count)
    weight = at.constant("w", at.trained(0, shape, "weights"))
    x = at.x if len(at.shape) == 2 else at.step("flat", "Flatten", at.x, shape=(1, count), axis=1)
    inputs = [x, weight, *_bias(at, settings, outputs)]
    at.add("Gemm", *inputs, shape=(1, outputs), transB=0 if settings.transpose else 1)


def flatten(at: CaffeLayer) -> None:
    settings = at.message.flatten_param
    start, end = at.axis(settings.axis), at.axis(settings.end_axis)
    if start > end:
        at.refuse(f"flattens from axis {settings.axis} to axis {settings.end_axis} of {describe(at.shape)}")
    _reshape(at, (*at.shape[:start], prod(at.shape[start : end + 1]), *at.shape[end + 1 :]))


def reshape(at: CaffeLayer) -> None:
    settings = at.message.reshape_param
    rank = len(at.shape)
    start = settings.axis if settings.axis >= 0 else rank + 1 + settings.axis
    end = rank if settings.num_axes < 0 else start + settings.num_axes
    if not 0 <= start <= end <= rank:
        at.refuse(f"reshapes axes {start} to {end} of {describe(at.shape)}")
    wanted = list(settings.shape.dim)
    if start == 0 and wanted and wanted[0] == at.batch:
        wanted[0] = 0
    copied = [at.shape[start + i] if size == 0 and start + i < rank else size for i, size in enumerate(wanted)]
    shape = [*at.shape[:start], *copied, *at.shape[end:]]
    if shape.count(-1) == 1:
        known = prod(size for size in shape if size != -1)
        shape[shape.index(-1)] = prod(at.shape) // known if known else 0
    if not shape or min(shape) < 1 or prod(shape) != prod(at.shape) or shape[0] != 1:
        at.refuse(f"reshapes {describe(at.shape)} to {describe(wanted)}, which has other numbers or mixes images")
    _reshape(at, tuple(shape))


def _reshape(at: CaffeLayer, shape: Shape) -> None:
    if len(shape) == 2:
        at.add("Flatten", at.x, shape=shape, axis=1)
    else:
        at.add("Reshape", at.x, at.constant("shape", [0, *shape[1:]], np.int64), shape=shape)


def _plain(operator: str) -> Callable[[CaffeLayer], None]:
    def translate(at: CaffeLayer) -> None:
        at.add(operator, at.x)

    return translate


def elu(at: CaffeLayer) -> None:
    at.add("Elu", at.x, alpha=at.message.elu_param.alpha)


TRANSLATED: dict[str, Callable[[CaffeLayer], None]] = {
    "AbsVal": _plain("Abs"),
    "BatchNorm": batch_norm,
    "Bias": bias,
    "BNLL": _plain("Softplus"),
    "Concat": concat,
    "Convolution": convolution,
    "Deconvolution": deconvolution,
    "Dropout": _plain("Identity"),
    "Eltwise": eltwise,
    "ELU": elu,
    "Exp": exp,
    "Flatten": flatten,
    "InnerProduct": inner_product,
    "Log": logarithm,
    "LRN": lrn,
    "Pooling": pooling,
    "Power": power,
    "PReLU": prelu,
    "ReLU": relu,
    "Reshape": reshape,
    "Scale": scale,
    "Sigmoid": _plain("Sigmoid"),
    "Slice": slices,
    "Softmax": softmax,
    "Split": split,
    "TanH": _plain("Tanh"),
}
"""By Caffe's layer type the function that adds its operators."""
