"""Batch-invariant convolution with frozen weights: forward pass and input gradient only."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.kernels.batch_invariance import BatchInvariant, Compute, batch_invariant
from deepinside.networks.kernels.layout import LAYOUT
from deepinside.networks.kernels.matrix import by_onednn
from deepinside.networks.kernels.packed_weights import PackedWeights

FEW = 4  # at most this many input channels: an image's own
MANY = 48  # Winograd's transforms cost as much as they save with fewer channels, or with
MUCH = 25_000_000  # fewer multiplications per image
Convolve = Callable[..., Tensor]
"""From (N, C, H, W) and a flag that fuses a ReLU, to (N, K, h, w)."""


class Convolution(nn.Conv2d):
    """A convolution of (N, C, H, W) whose CPU results for an image do not depend on the rest of the batch.

    Batched kernels round identically for every batch size above one. Some kernels switch algorithm for a single image;
    there, the image is passed twice. Weights are packed for oneDNN once per direction, on first use, and a following
    ReLU can be fused. The input gradient of a strided first layer uses `phases`. Large 3×3 layers use `Winograd` in
    float32, unless `winograd` is false. `backward_dtype` is the precision of the input gradient on a CPU if it is not
    that of the weights.
    """

    @classmethod
    def of(cls, layer: nn.Conv2d) -> "Convolution":
        """The same layer; the parameters are shared."""
        new = cls(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            layer.groups, bias=False, device="meta",
        )  # fmt: skip
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._choices = {direction: BatchInvariant() for direction in ("plain", "rectified", "back")}
        self._forwards, self._backwards = PackedWeights[Convolve](), PackedWeights[Compute]()
        self.winograd = True
        self.backward_dtype: torch.dtype | None = None
        self._in_backward_dtype = PackedWeights["Convolution"]()

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        """The convolution of `x`, followed by a ReLU if `rectified`."""
        if x.device.type != "cpu" or x.ndim != 4 or self.weight.requires_grad:
            result = super().forward(x)
            return F.relu(result) if rectified else result
        found: Tensor = _Convolve.apply(x, self, rectified)
        return found

    def convolve(self, x: Tensor, rectified: bool) -> Tensor:
        """(N, C, H, W) to (N, K, h, w)."""

        def compute(x: Tensor) -> Tensor:
            key = "tiles" if self.in_tiles(x.shape) else x.shape
            return self._forwards.of(self.weight, lambda: forwards(self, x.shape), key)(x, rectified)

        return batch_invariant(self._choices["rectified" if rectified else "plain"], compute, x)

    def back(self, above: Tensor, shape: torch.Size) -> Tensor:
        """The gradient: (N, K, h, w) to (N, C, H, W); `shape` is (C, H, W). Computed in `backward_dtype` if set."""
        if self.backward_dtype is not None:
            other = self._in_backward_dtype.of(self.weight, self.converted, self.backward_dtype)
            return other.back(above.to(self.backward_dtype), shape).to(above.dtype)

        def compute(above: Tensor) -> Tensor:
            key = "tiles" if self.in_tiles(above.shape) else (above.shape, shape)
            return self._backwards.of(self.weight, lambda: backwards(self, above.shape, shape), key)(above)

        return batch_invariant(self._choices["back"], compute, above)

    def converted(self) -> "Convolution":
        """The same layer with its filters in `backward_dtype`."""
        other = Convolution.of(self)
        other.weight = nn.Parameter(self.weight.to(self.backward_dtype), requires_grad=False)
        return other

    def in_tiles(self, maps: torch.Size) -> bool:
        """Whether maps (N, C or K, h, w) are convolved by `Winograd`, forwards and backwards."""
        return self.winograd and self.can_be_flipped() and suits_winograd(self.weight, self.place(), maps)

    def place(self) -> "Place":
        """Where the filters are applied."""
        return Place(sides(self), self.stride, self.dilation, self.groups)

    def can_be_flipped(self) -> bool:
        """Whether the input gradient is a plain convolution with flipped filters."""
        within = all(pad < extent for pad, extent in zip(sides(self), self.kernel_size, strict=True))
        return self.stride == self.dilation == (1, 1) and within

    def is_strided_on_few_channels(self) -> bool:
        """Whether this is a strided layer on few channels, for which the library's input gradient is slow."""
        square = len(set(self.kernel_size)) == len(set(self.stride)) == 1
        plain = self.groups == 1 and self.dilation == (1, 1) and self.kernel_size[0] > self.stride[0]
        return self.in_channels <= FEW and self.stride[0] > 1 and square and plain


def forwards(layer: Convolution, batch: torch.Size) -> Convolve:
    """The forward pass for inputs of shape `batch` (N, C, H, W)."""
    return fastest(layer, layer.weight, layer.bias, layer.place(), batch)


def backwards(layer: Convolution, batch: torch.Size, shape: torch.Size) -> Compute:
    """The fastest input gradient: from gradients of shape `batch` (N, K, h, w) to inputs of `shape` (C, H, W)."""
    if layer.is_strided_on_few_channels():
        return by_phases(layer, batch, shape)
    return flipped(layer, batch) if layer.can_be_flipped() else partial(input_gradient, layer, shape=shape)


def flipped(layer: Convolution, batch: torch.Size) -> Convolve:
    """The input gradient without a stride: a convolution with filters rotated by 180°, inputs and outputs exchanged."""
    by_group = layer.weight.unflatten(0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
    filters = by_group.flip(2, 3).contiguous(memory_format=LAYOUT)
    padding = tuple(extent - 1 - pad for extent, pad in zip(layer.kernel_size, sides(layer), strict=True))
    return fastest(layer, filters, None, Place(padding, (1, 1), (1, 1), layer.groups), batch)


def fastest(layer: Convolution, weight: Tensor, bias: Tensor | None, place: "Place", batch: torch.Size) -> Convolve:
    """The convolution with these filters, by the fastest of the implementations."""
    if layer.winograd and suits_winograd(weight, place, batch):
        # numba takes half a second to import, and small networks have no such layer
        from deepinside.networks.kernels.winograd import Winograd

        return Winograd(weight, bias, place.padding, place.groups)
    return convolve(weight, bias, place, batch)


def suits_winograd(weight: Tensor, place: "Place", maps: torch.Size) -> bool:
    """Whether `Winograd` is the faster way for these filters (K, C, h, w) and maps.

    A fixed rule: a measured choice would make the bytes of a result depend on what else the machine was doing.
    """
    outputs, inputs, *extent = weight.shape
    plain = extent == [3, 3] and place.stride == place.dilation == (1, 1)
    many = min(inputs, outputs // place.groups) >= MANY and weight.numel() * maps[2] * maps[3] >= MUCH
    return plain and many and weight.dtype == torch.float32 and by_onednn(weight)


def convolve(weight: Tensor, bias: Tensor | None, place: "Place", batch: torch.Size) -> Convolve:
    """A convolution with an optional fused ReLU, by oneDNN with packed weights where available.

    Weights are packed for one `batch` shape. oneDNN may need another packing for another shape, and repacking takes
    many times as long as the convolution itself.
    """
    if not by_onednn(weight):
        return lambda x, rectified=False: rectify(F.conv2d(x, weight, bias, *place.for_torch()), rectified)
    own = torch.ops.mkldnn._reorder_convolution_weight(weight, *place, batch)
    return lambda x, rectified=False: torch.ops.mkldnn._convolution_pointwise(
        x, own, bias, *place, "relu" if rectified else "none", [], ""
    )


def rectify(x: Tensor, rectified: bool) -> Tensor:
    return x.relu_() if rectified else x


class Place(NamedTuple):
    """Padding, stride, dilation and groups, in oneDNN's order."""

    padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def for_torch(self) -> tuple[Any, ...]:
        """The same values in the order of `conv2d`."""
        return self.stride, self.padding, self.dilation, self.groups


def sides(layer: nn.Conv2d) -> tuple[int, ...]:
    """The padding above and to the left, in pixels."""
    assert not isinstance(layer.padding, str)
    return layer.padding


def input_gradient(layer: nn.Conv2d, above: Tensor, shape: torch.Size) -> Tensor:
    """The gradient with respect to an input of `shape` (C, H, W)."""
    # only its shape and layout are used
    like = torch.empty(len(above), *shape, dtype=above.dtype, memory_format=LAYOUT)
    found, _, _ = torch.ops.aten.convolution_backward(
        above, like, layer.weight, None, layer.stride, sides(layer), layer.dilation, False, [0, 0], layer.groups,
        [True, False, False],
    )  # fmt: skip
    return found


def by_phases(layer: Convolution, batch: torch.Size, shape: torch.Size) -> Compute:
    """The input gradient of a strided first layer: from gradients of shape `batch` to inputs of `shape` (C, H, W)."""
    filters = phases(layer.weight, layer.stride[0])
    reach = filters.shape[-1] - 1
    full = fastest(layer, filters, None, Place((reach, reach), (1, 1), (1, 1), 1), batch)
    return partial(gradient_by_phases, full, stride=layer.stride[0], padding=sides(layer), shape=shape)


def phases(weight: Tensor, stride: int) -> Tensor:
    """Rearrange filters (K, C, k, k) of stride s into (s·s·C, K, ⌈k/s⌉, ⌈k/s⌉) for the input gradient.

    Pixels with the same offset within the stride are reached by the same filter taps. With the s·s offsets as
    channels, the input gradient is one convolution without a stride; only zeros are added.
    """
    outputs, inputs, size, _ = weight.shape
    reach = -(-size // stride)
    filled = F.pad(weight, (0, reach * stride - size) * 2).view(outputs, inputs, reach, stride, reach, stride)
    rotated = filled.flip(2, 4).permute(3, 5, 1, 0, 2, 4)
    return rotated.reshape(stride * stride * inputs, outputs, reach, reach).contiguous(memory_format=LAYOUT)


def gradient_by_phases(
    full: Convolve, above: Tensor, *, stride: int, padding: tuple[int, ...], shape: torch.Size
) -> Tensor:
    """The same gradient as `input_gradient`, (N, C, H, W), from the convolution with the filters of `phases`."""
    by_phase = full(above).permute(0, 2, 3, 1)
    items, rows, columns, _ = by_phase.shape
    pixels = by_phase.reshape(items, rows, columns, stride, -1).transpose(2, 3)
    padded = pixels.reshape(items, rows * stride, columns * stride, -1).permute(0, 3, 1, 2)
    (_, height, width), (top, left) = shape, padding
    found = padded[:, :, top : top + height, left : left + width]
    # no filter reaches the pixels at the far edges
    return F.pad(found, (0, width - found.shape[3], 0, height - found.shape[2]))


class _Convolve(torch.autograd.Function):
    """The layer's convolution and its input gradient; weights are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Convolution, rectified: bool) -> Tensor:
        ctx.layer, ctx.shape, ctx.rectified = layer, x.shape[1:], rectified
        found = layer.convolve(x, rectified)
        if rectified:
            ctx.save_for_backward(found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        if ctx.rectified:
            above = torch.ops.aten.threshold_backward(above, *ctx.saved_tensors, 0)
        return ctx.layer.back(above, ctx.shape), None, None
