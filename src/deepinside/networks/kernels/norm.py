"""Cross-channel local response normalisation (LRN), as fast as one small convolution."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.kernels.batch_invariance import BatchInvariant, batch_invariant
from deepinside.networks.kernels.matrix import by_onednn


class CrossChannelNorm(nn.Module):
    """LRN across channels, x / e^β with e = k + α/n Σ x² over n neighbouring channels.

    The sum is a banded 1×1 convolution.

    PyTorch's version pads and pools in three dimensions and takes longer than the preceding convolution.
    Krizhevsky et al. 2012, Sect. 3.3, with Caffe's α/n.
    """

    def __init__(self, norm: nn.LocalResponseNorm, channels: int) -> None:
        super().__init__()
        self.beta = float(norm.beta)
        place = torch.arange(channels)
        offset = place[None] - place[:, None]  # ONNX: for even n, one more neighbour after than before
        near = (offset >= -((norm.size - 1) // 2)) & (offset <= norm.size // 2)
        self.register_buffer("band", (near * (norm.alpha / norm.size)).float()[:, :, None, None])
        self.register_buffer("k", torch.full((channels,), float(norm.k)))
        self._choices = (BatchInvariant(), BatchInvariant())

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _Norm.apply(x, self)
        return result

    def energy(self, x: Tensor) -> Tensor:
        """e of (N, C, H, W)."""
        compute = partial(mix_channels, weight=self.get_buffer("band"), bias=self.get_buffer("k"))
        return batch_invariant(self._choices[0], compute, x * x)

    def spread(self, above: Tensor) -> Tensor:
        """bandᵀ · above: the gradient through the sum in e."""
        compute = partial(mix_channels, weight=self.get_buffer("band").transpose(0, 1))
        return batch_invariant(self._choices[1], compute, above)


class _Norm(torch.autograd.Function):
    """y = x·f with f = e^-β; the gradient of g is f·g − 2β x·(bandᵀ (f·g·x / e)), in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: CrossChannelNorm) -> Tensor:
        energy = norm.energy(x)
        inverse = energy.rsqrt_() if norm.beta == 0.75 else energy.reciprocal_()
        factor = power(inverse, norm.beta)
        ctx.save_for_backward(x, inverse, factor)
        ctx.norm = norm
        return x * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        x, inverse, factor = ctx.saved_tensors
        direct = above * factor
        through = (direct * x).mul_(inverse)
        through = through.mul_(inverse) if ctx.norm.beta == 0.75 else through
        return direct.addcmul_(x, ctx.norm.spread(through), value=-2 * ctx.norm.beta), None


def mix_channels(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1×1 convolution by oneDNN. `F.conv2d` switches library at sixteen images, and with it the rounding."""
    if x.device.type == "cpu" and by_onednn(x):
        found: Tensor = torch.ops.aten.mkldnn_convolution(x, weight.contiguous(), bias, [0, 0], [1, 1], [1, 1], 1)
        return found
    return F.conv2d(x, weight, bias)


def power(inverse: Tensor, beta: float) -> Tensor:
    """e^-β from 1/e; for the usual β = 3/4 from 1/√e, without a logarithm."""
    return inverse.sqrt().mul_(inverse) if beta == 0.75 else inverse.pow(beta)
