"""Cross-channel local response normalisation (LRN), in one pass over memory on a CPU."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LAYOUT = torch.channels_last


class CrossChannelNorm(nn.Module):
    """LRN of (N, C, H, W) across channels, x / e^β with e = k + α/n Σ x² over n neighbouring channels.

    PyTorch's version pads and pools in three dimensions and takes longer than the preceding convolution.
    Krizhevsky et al. 2012, Sect. 3.3, with Caffe's α/n.
    """

    def __init__(self, norm: nn.LocalResponseNorm) -> None:
        super().__init__()
        self.before, self.after = (norm.size - 1) // 2, norm.size // 2  # ONNX: an even n has one more after than before
        self.scale, self.k, self.beta = norm.alpha / norm.size, float(norm.k), float(norm.beta)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.ndim == 4 and x.dtype in (torch.float32, torch.bfloat16):
            result: Tensor = _Norm.apply(x, self)
            return result
        return self.plain(x)

    def plain(self, x: Tensor) -> Tensor:
        """The same in PyTorch's operations, for any device and precision."""
        edges = (0, 0) * (x.ndim - 2) + (self.before, self.after)
        windows = F.pad(x * x, edges).unfold(1, self.before + 1 + self.after, 1)
        return x * (self.k + self.scale * windows.sum(-1)).pow(-self.beta)

    def settings(self) -> tuple[Any, ...]:
        """What the compiled functions take."""
        return self.before, self.after, np.float32(self.scale), np.float32(self.k), np.float32(self.beta)


class _Norm(torch.autograd.Function):
    """The normalisation and its gradient. Only the input is kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: CrossChannelNorm) -> Tensor:
        # numba takes a quarter of a second to import, and most networks have no such layer
        from deepinside.networks.kernels.channel_norm import normalise
        from deepinside.networks.kernels.compiled import lines, share_threads

        share_threads()
        x = x.detach().contiguous(memory_format=LAYOUT)
        ctx.save_for_backward(x)
        ctx.norm, found = norm, torch.empty_like(x)
        normalise(lines(x), lines(found), *norm.settings())
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        from deepinside.networks.kernels.channel_norm import normalise_back
        from deepinside.networks.kernels.compiled import lines, share_threads

        share_threads()
        (x,) = ctx.saved_tensors
        found = torch.empty_like(x)
        above = above.contiguous(memory_format=LAYOUT)
        normalise_back(lines(x), lines(above), lines(found), *ctx.norm.settings())
        return found, None
