"""The fast LRN against PyTorch's own in float64."""

import pytest
import torch
from torch import Tensor, nn

from deepinside.networks.kernels import norm as norms
from deepinside.networks.kernels.norm import CrossChannelNorm

GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True, params=[True, False], ids=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways are tested, and for what numba has no functions the plain one only."""
    kinds = (torch.float32, torch.bfloat16)
    monkeypatch.setattr(norms, "compiled_pays", lambda x: request.param and x.dtype in kinds)


def value_and_gradient(norm: nn.Module, x: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x)
    (found,) = torch.autograd.grad(y, x, above.to(y.dtype))
    return y.double(), found.double()


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)]
)
@pytest.mark.parametrize("beta", [0.75, 0.5])
@pytest.mark.parametrize(("size", "channels"), [(1, 7), (3, 7), (5, 70), (5, 2)])
def test_the_norm_and_its_gradient_are_those_of_pytorch(
    size: int, channels: int, beta: float, dtype: torch.dtype, tolerance: float
) -> None:
    plain = nn.LocalResponseNorm(size, alpha=0.3, beta=beta, k=1.5)
    x, above = (torch.randn(2, channels, 13, 14, generator=GENERATOR).to(dtype) for _ in range(2))
    expected = value_and_gradient(plain, x.double(), above)
    found = value_and_gradient(CrossChannelNorm(plain), x, above)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_even_window_reaches_further_behind_as_onnx_says(dtype: torch.dtype) -> None:
    norm = CrossChannelNorm(nn.LocalResponseNorm(4, alpha=4.0, beta=1.0, k=0.0))
    x = torch.tensor([1.0, 2, 4, 8, 16], dtype=dtype).view(1, 5, 1, 1)
    expected = [1 / (1 + 4 + 16), 2 / (1 + 4 + 16 + 64), 4 / (4 + 16 + 64 + 256), 8 / (16 + 64 + 256), 16 / (64 + 256)]
    torch.testing.assert_close(norm(x).flatten(), torch.tensor(expected, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "channels"), [(5, 96), (5, 70), (4, 16), (3, 2)])
def test_compiled_functions_and_pytorch_give_the_same_bytes(
    size: int, channels: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run changes over in the middle."""
    norm = CrossChannelNorm(nn.LocalResponseNorm(size, alpha=0.3))
    x, above = (torch.randn(2, channels, 13, 14, generator=GENERATOR).mul(20).to(dtype) for _ in range(2))
    monkeypatch.setattr(norms, "compiled_pays", lambda _: True)
    compiled = value_and_gradient(norm, x, above)
    monkeypatch.setattr(norms, "compiled_pays", lambda _: False)
    plain = value_and_gradient(norm, x, above)
    assert torch.equal(compiled[0], plain[0]) and torch.equal(compiled[1], plain[1])


def test_a_pixel_alone_is_normalised_as_in_a_batch() -> None:
    norm = CrossChannelNorm(nn.LocalResponseNorm(5, alpha=0.3))
    x = torch.randn(5, 96, 27, 27, generator=GENERATOR)
    assert torch.equal(norm(x)[3:4], norm(x[3:4]))
    assert torch.equal(norm(x)[:, :, 2:3, 4:5], norm(x[:, :, 2:3, 4:5]))


def test_maps_in_any_memory_format_give_the_same() -> None:
    norm = CrossChannelNorm(nn.LocalResponseNorm(5, alpha=0.3))
    x = torch.randn(2, 96, 5, 6, generator=GENERATOR)
    assert torch.equal(norm(x), norm(x.contiguous(memory_format=torch.channels_last)))
