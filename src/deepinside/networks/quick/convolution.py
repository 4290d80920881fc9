"""A convolution whose items do not depend on each other's number, and that knows only the input's gradient."""

from typing import Any

import torch
from torch import Tensor, nn

from deepinside.networks.quick.steady import Compute, Steady, in_company

LAYOUT = torch.channels_last  # pooling is several times faster in it, convolutions no slower


class Convolution(nn.Conv2d):
    """A convolution of (N, C, H, W). On a CPU, an image alone is computed as it is in a batch.

    Kernels for batches round alike whatever the batch's size; some go another way for a single image. Those, forwards
    or backwards, are given the image twice.
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

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.ndim != 4 or self.weight.requires_grad:
            return super().forward(x)
        result: Tensor = _Convolve.apply(x, self)
        return result

    def convolve(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, h, w)."""
        return alike(self._steady[0], lambda x: self._conv_forward(x, self.weight, self.bias), x)

    def back(self, above: Tensor, shape: torch.Size) -> Tensor:
        """The gradient: (N, K, h, w) to (N, C, H, W); `shape` is (C, H, W)."""
        return alike(self._steady[1], lambda above: input_gradient(self, above, shape), above)


def alike(steady: Steady, compute: Compute, x: Tensor) -> Tensor:
    """`compute(x)`, for a single image as it is in a batch."""
    return compute(x) if len(x) != 1 else steady(x, quick=compute, certain=in_company(compute))


def input_gradient(layer: nn.Conv2d, above: Tensor, shape: torch.Size) -> Tensor:
    """What a convolution passes back to its input, whose items are of `shape` (C, H, W)."""
    assert not isinstance(layer.padding, str)
    like = torch.empty(
        len(above), *shape, dtype=above.dtype, memory_format=LAYOUT
    )  # only its shape and layout are looked at
    found, _, _ = torch.ops.aten.convolution_backward(
        above, like, layer.weight, None, layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups,
        [True, False, False],
    )  # fmt: skip
    return found


class _Convolve(torch.autograd.Function):
    """The layer's convolution, and the gradient with respect to its input; the weights are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Convolution) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape[1:]
        return layer.convolve(x)

    @staticmethod
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(above, ctx.shape), None
