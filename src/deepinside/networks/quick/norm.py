"""LRN in the time of one small convolution."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossChannelNorm(nn.Module):
    """LRN across channels, x / (k + α/n Σ x²)^β over n neighbouring channels, its sum a banded 1x1 convolution.

    PyTorch's own pads and pools in three dimensions, which takes longer than the convolution before it.
    Krizhevsky et al. 2012, Sect. 3.3, with Caffe's α/n.
    """

    def __init__(self, norm: nn.LocalResponseNorm, channels: int) -> None:
        super().__init__()
        self.k, self.beta = norm.k, norm.beta
        place = torch.arange(channels)
        offset = place[None] - place[:, None]  # ONNX: one neighbour more behind than before where n is even
        near = (offset >= -((norm.size - 1) // 2)) & (offset <= norm.size // 2)
        self.register_buffer("band", (near * (norm.alpha / norm.size)).float()[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        energy = F.conv2d(x * x, self.get_buffer("band")) + self.k
        if self.beta != 0.75:
            return x * energy.pow(-self.beta)
        root = energy.rsqrt()
        return x * root * root.sqrt()
