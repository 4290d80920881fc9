"""LRN in the time of one small product of matrices."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class CrossChannelNorm(nn.Module):
    """LRN across channels, x / e^β with e = k + α/n Σ x² over n neighbouring channels, its sum a banded matrix.

    PyTorch's own pads and pools in three dimensions, which takes longer than the convolution before it.
    Krizhevsky et al. 2012, Sect. 3.3, with Caffe's α/n.
    """

    def __init__(self, norm: nn.LocalResponseNorm, channels: int) -> None:
        super().__init__()
        self.beta = float(norm.beta)
        place = torch.arange(channels)
        offset = place[None] - place[:, None]  # ONNX: one neighbour more behind than before where n is even
        near = (offset >= -((norm.size - 1) // 2)) & (offset <= norm.size // 2)
        self.register_buffer("band", (near * (norm.alpha / norm.size)).float())
        self.register_buffer("k", torch.full((channels,), float(norm.k)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _Norm.apply(x, self.get_buffer("band"), self.get_buffer("k"), self.beta)
        return result


class _Norm(torch.autograd.Function):
    """y = x·f with f = e^-β, and back from g: f·g − 2β x·(bandᵀ (f·g·x / e)).

    On a CPU image by image: one stays in the cache from the first operation to the last, and what stands beside it
    cannot change it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: Tensor, k: Tensor, beta: float) -> Tensor:
        rows = as_rows(x)
        inverse, y = torch.empty_like(rows), torch.empty_like(rows)
        for one, kept, out in parts(rows, inverse, y):
            torch.addmm(k, one * one, band.t(), out=kept)
            torch.rsqrt(kept, out=kept) if beta == 0.75 else kept.reciprocal_()
            torch.mul(one, power(kept, beta), out=out)
        ctx.save_for_backward(rows, inverse, band)
        ctx.beta = beta
        return as_images(y, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        rows, inverse, band = ctx.saved_tensors
        found = torch.empty_like(rows)
        for one, kept, g, out in parts(rows, inverse, as_rows(above), found):
            direct = power(kept, ctx.beta).mul_(g)
            through = (direct * one).mul_(kept)
            through = through.mul_(kept) if ctx.beta == 0.75 else through
            torch.addcmul(direct, one, through @ band, value=-2 * ctx.beta, out=out)
        return as_images(found, above), None, None, None


def power(kept: Tensor, beta: float) -> Tensor:
    """e^-β from 1/e; for the usual β = 3/4 from 1/√e, without a logarithm."""
    return kept.sqrt().mul_(kept) if beta == 0.75 else kept.pow(beta)


def as_rows(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H·W, C), a view where channels lie together."""
    return x.flatten(2).transpose(1, 2).contiguous()


def as_images(rows: Tensor, like: Tensor) -> Tensor:
    return rows.transpose(1, 2).view(like.shape)


def parts(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Every tensor image by image on a CPU, in one piece elsewhere."""
    if rows[0].device.type == "cpu":
        return zip(*rows, strict=True)
    return iter([tuple(values.flatten(0, 1) for values in rows)])
