"""The fully connected layer against PyTorch's own."""

import copy

import pytest
import torch
from torch import nn

from deepinside.networks.kernels.matrix import FullyConnected

GENERATOR = torch.Generator().manual_seed(0)


def plain(inputs: int = 70, outputs: int = 30, *, bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 7, 16, 17, 40])
def test_product_and_gradient_are_those_of_pytorch(rows: int, bias: bool, dtype: torch.dtype) -> None:
    layer = plain(bias=bias).to(dtype)
    quick = FullyConnected.of(layer)
    x = torch.randn(rows, 70, generator=GENERATOR, dtype=dtype, requires_grad=True)
    above = torch.randn(rows, 30, generator=GENERATOR, dtype=dtype)
    torch.testing.assert_close(quick(x), layer(x))
    (found,), (expected,) = (torch.autograd.grad(f(x), x, above) for f in (quick, layer))
    torch.testing.assert_close(found, expected)


def test_new_weights_are_seen() -> None:
    quick, x = FullyConnected.of(plain()), torch.randn(2, 70)
    before = quick(x)
    other = copy.deepcopy(quick)
    other.weight.data = other.weight * 2
    torch.testing.assert_close(other(x) - other.bias, 2 * (before - quick.bias))
    quick.weight.mul_(3)
    torch.testing.assert_close(quick(x) - quick.bias, 3 * (before - quick.bias))


def test_a_layer_that_is_trained_gets_its_own_gradients() -> None:
    quick = FullyConnected.of(plain()).requires_grad_()
    quick(torch.ones(2, 70)).sum().backward()
    torch.testing.assert_close(quick.weight.grad, torch.full((30, 70), 2.0))
