"""Cross-channel local response normalisation (LRN)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.kernels.late import compiled_pays, exact
from deepinside.networks.kernels.layout import LAYOUT

USUAL = 0.75
"""The β of AlexNet, CaffeNet and GoogLeNet."""


class CrossChannelNorm(nn.Module):
    """LRN of (N, C, …) across channels, x / e^β with e = k + α/n Σ x² over n neighbouring channels.

    PyTorch's version pads and pools in three dimensions and takes longer than the preceding convolution. Here the usual
    β is computed by square roots, on a CPU in one pass over memory. Half precision is computed in float32.
    Krizhevsky et al. 2012, Sect. 3.3, with Caffe's α/n.
    """

    def __init__(self, norm: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.before, self.after = (norm.size - 1) // 2, norm.size // 2  # ONNX: an even n has one more after than before
        self.scale, self.k, self.beta = norm.alpha / norm.size, float(norm.k), float(norm.beta)
        self.slope = -2 * self.beta * self.scale

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _Norm.apply(x, self)
        return result

    def normalised(self, x: Tensor) -> Tensor:
        """y, in PyTorch's operations."""
        return x * self.factor(self.inverse_root(x))

    def gradient(self, x: Tensor, above: Tensor) -> Tensor:
        """The gradient with respect to x of Σ y · above: f·g − 2 β α/n · x · Σ (f·g·x / e), where f = e^-β."""
        inverse = self.inverse_root(x)
        direct = above * self.factor(inverse)
        through = sum_neighbours(direct * x * (inverse * inverse), self.after, self.before)
        return direct + x * self.slope * through

    def inverse_root(self, x: Tensor) -> Tensor:
        """1/√e."""
        return (sum_neighbours(x * x, self.before, self.after) * self.scale + self.k).rsqrt()

    def factor(self, inverse: Tensor) -> Tensor:
        """e^-β from 1/√e. `torch.rsqrt` rounds correctly, as the compiled roots do; `torch.sqrt` does not."""
        return inverse * inverse * inverse.rsqrt() if self.beta == USUAL else inverse.pow(2 * self.beta)

    def settings(self) -> tuple[Any, ...]:
        """What both compiled functions take."""
        return self.before, self.after, np.float32(self.scale), np.float32(self.k)


def sum_neighbours(x: Tensor, before: int, after: int) -> Tensor:
    """Sums over windows of channels: each channel, those before and those after it, added in this order."""
    channels = x.shape[1]
    padded = F.pad(x, (0, 0) * (x.ndim - 2) + (before, after))
    total = padded[:, :channels]
    for offset in range(1, before + after + 1):
        total = total + padded[:, offset : offset + channels]
    return total


class _Norm(torch.autograd.Function):
    """The normalisation and its gradient. Only the input is kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: CrossChannelNorm) -> Tensor:
        ctx.save_for_backward(x)
        ctx.norm, ctx.compiled = norm, norm.beta == USUAL and compiled_pays(x)
        if not ctx.compiled:
            return norm.normalised(exact(x)).to(x.dtype)
        from deepinside.networks.kernels.channel_norm import normalise
        from deepinside.networks.kernels.compiled import lines, share_threads

        share_threads()
        x = x.detach().contiguous(memory_format=LAYOUT)
        found = torch.empty_like(x)
        normalise(lines(x), lines(found), *norm.settings())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if not ctx.compiled:
            return ctx.norm.gradient(exact(x), exact(above)).to(x.dtype), None
        from deepinside.networks.kernels.channel_norm import normalise_back
        from deepinside.networks.kernels.compiled import lines, share_threads

        share_threads()
        x, above = (maps.contiguous(memory_format=LAYOUT) for maps in (x, above))
        found = torch.empty_like(x)
        normalise_back(lines(x), lines(above), lines(found), np.float32(ctx.norm.slope), *ctx.norm.settings())
        return found, None
