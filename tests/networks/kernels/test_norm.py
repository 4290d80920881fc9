"""The quick LRN against PyTorch's own."""

import pytest
import torch
from torch import nn

from deepinside.networks.kernels.norm import CrossChannelNorm


@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_norm_and_its_gradient_are_those_of_pytorch(size: int, beta: float) -> None:
    plain = nn.LocalResponseNorm(size, alpha=0.3, beta=beta, k=1.5)
    quick = CrossChannelNorm(plain, 7).double()
    x = torch.randn(2, 7, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    weight = torch.linspace(-1, 1, x.numel(), dtype=torch.float64).view_as(x)
    (expected,) = torch.autograd.grad((plain(x) * weight).sum(), x)
    (found,) = torch.autograd.grad((quick(x) * weight).sum(), x)
    # the band holds α/n in float32, as the file does
    torch.testing.assert_close(quick(x), plain(x), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_an_even_window_reaches_further_behind_as_onnx_says() -> None:
    quick = CrossChannelNorm(nn.LocalResponseNorm(4, alpha=4.0, beta=1.0, k=0.0), 5)
    assert quick.get_buffer("band")[1, :, 0, 0].tolist() == [1, 1, 1, 1, 0]
