"""A convolution whose items do not depend on each other's number, and that knows only the input's gradient."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.quick.kept import Kept
from deepinside.networks.quick.steady import Steady, alone_as_in_company

LAYOUT = torch.channels_last  # pooling is several times faster in it, convolutions no slower
FEW = 4  # channels of a photo


class Convolution(nn.Conv2d):
    """A convolution of (N, C, H, W). On a CPU, an image alone is computed as it is in a batch.

    Kernels for batches round alike whatever the batch's size; some go another way for a single image. Those, forwards
    or backwards, are given the image twice. The way back to the photo goes by `phases`.
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
        self._steady = (Steady(), Steady())
        self._phases = Kept(lambda weight: phases(weight, self.stride[0]))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.ndim != 4 or self.weight.requires_grad:
            return super().forward(x)
        result: Tensor = _Convolve.apply(x, self)
        return result

    def convolve(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, h, w)."""
        return alone_as_in_company(self._steady[0], lambda x: self._conv_forward(x, self.weight, self.bias), x)

    def back(self, above: Tensor, shape: torch.Size) -> Tensor:
        """The gradient: (N, K, h, w) to (N, C, H, W); `shape` is (C, H, W)."""
        compute = self._back_by_phases if self.few_and_far() else partial(input_gradient, self)
        return alone_as_in_company(self._steady[1], partial(compute, shape=shape), above)

    def few_and_far(self) -> bool:
        """Whether this is a photo's own layer, of few channels and a stride: the library's way back takes long."""
        square = len(set(self.kernel_size)) == len(set(self.stride)) == 1
        plain = self.groups == 1 and self.dilation == (1, 1) and self.kernel_size[0] > self.stride[0]
        return self.in_channels <= FEW and self.stride[0] > 1 and square and plain

    def _back_by_phases(self, above: Tensor, shape: torch.Size) -> Tensor:
        assert not isinstance(self.padding, str)
        return gradient_by_phases(self._phases.of(self.weight), above, self.stride[0], self.padding, shape)


def input_gradient(layer: nn.Conv2d, above: Tensor, shape: torch.Size) -> Tensor:
    """What a convolution passes back to its input, whose items are of `shape` (C, H, W)."""
    assert not isinstance(layer.padding, str)
    # only its shape and layout are looked at
    like = torch.empty(len(above), *shape, dtype=above.dtype, memory_format=LAYOUT)
    found, _, _ = torch.ops.aten.convolution_backward(
        above, like, layer.weight, None, layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups,
        [True, False, False],
    )  # fmt: skip
    return found


def phases(weight: Tensor, stride: int) -> Tensor:
    """Filters (K, C, k, k) of a stride s as s·s·C filters over K channels, (s·s·C, K, ⌈k/s⌉, ⌈k/s⌉), for the way back.

    Pixels that lie alike within the stride are reached by the same part of every filter, so the input's gradient,
    its s·s phases laid out as channels, is one convolution without a stride: no number but zeros is added.
    """
    outputs, inputs, size, _ = weight.shape
    reach = -(-size // stride)
    filled = F.pad(weight, (0, reach * stride - size) * 2).view(outputs, inputs, reach, stride, reach, stride)
    turned = filled.flip(2, 4).permute(3, 5, 1, 0, 2, 4)
    return turned.reshape(stride * stride * inputs, outputs, reach, reach).contiguous(memory_format=LAYOUT)


def gradient_by_phases(
    filters: Tensor, above: Tensor, stride: int, padding: tuple[int, ...], shape: torch.Size
) -> Tensor:
    """What `input_gradient` gives, (N, C, H, W), from the filters that `phases` made."""
    by_phase = F.conv2d(above, filters, padding=filters.shape[-1] - 1).permute(0, 2, 3, 1)
    items, rows, columns, _ = by_phase.shape
    pixels = by_phase.reshape(items, rows, columns, stride, -1).transpose(2, 3)
    whole = pixels.reshape(items, rows * stride, columns * stride, -1).permute(0, 3, 1, 2)
    (_, height, width), (top, left) = shape, padding
    found = whole[:, :, top : top + height, left : left + width]
    # pixels at the far edges that no filter reaches
    return F.pad(found, (0, width - found.shape[3], 0, height - found.shape[2]))


class _Convolve(torch.autograd.Function):
    """The layer's convolution, and the gradient with respect to its input; the weights are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Convolution) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape[1:]
        return layer.convolve(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(above, ctx.shape), None
