"""The convolution against PyTorch's own."""

import copy

import pytest
import torch
from torch import nn

from deepinside.networks.kernels.convolution import Convolution

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize(
    "keys",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 5, "stride": 2, "groups": 2, "bias": False},
        {"kernel_size": (3, 1), "stride": (2, 1), "padding": (0, 1), "dilation": 2},
    ],
)
def test_output_and_gradient_are_those_of_pytorch(keys: dict[str, int], images: int, dtype: torch.dtype) -> None:
    layer = nn.Conv2d(6, 8, **keys).requires_grad_(False).to(dtype)
    quick = Convolution.of(layer)
    x = torch.randn(images, 6, 17, 14, generator=GENERATOR, dtype=dtype, requires_grad=True)
    torch.testing.assert_close(quick(x), layer(x))
    above = torch.randn(layer(x).shape, generator=GENERATOR, dtype=dtype)
    (found,), (expected,) = (torch.autograd.grad(f(x), x, above) for f in (quick, layer))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("images", [1, 4])
def test_the_rectifier_is_taken_along(images: int, dtype: torch.dtype) -> None:
    layer = nn.Conv2d(6, 8, 3, padding=1, groups=2).requires_grad_(False).to(dtype)
    quick = Convolution.of(layer)
    x = torch.randn(images, 6, 17, 14, generator=GENERATOR, dtype=dtype, requires_grad=True)
    above = torch.randn(images, 8, 17, 14, generator=GENERATOR, dtype=dtype)
    found, expected = quick(x, rectified=True), layer(x).relu()
    torch.testing.assert_close(found, expected)
    (back,), (wanted,) = (torch.autograd.grad(values, x, above) for values in (found, expected))
    torch.testing.assert_close(back, wanted)


def test_a_copy_with_other_weights_computes_with_them() -> None:
    quick = Convolution.of(nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False))
    x = torch.randn(2, 4, 8, 8, generator=GENERATOR)
    before = quick(x, rectified=True)
    other = copy.deepcopy(quick)
    other.weight.data = other.weight.data.neg()
    other.bias.data = other.bias.data + 1
    torch.testing.assert_close(other(x), nn.functional.conv2d(x, -quick.weight, quick.bias + 1, padding=1))
    assert torch.equal(quick(x, rectified=True), before)


@pytest.mark.parametrize("channels", [(128, 192, 8), (3, 64, 56)])
def test_an_image_alone_is_computed_as_in_a_batch(channels: tuple[int, int, int]) -> None:
    """Two shapes for which oneDNN was seen to round a single image differently, forwards or backwards."""
    inputs, outputs, size = channels
    quick = Convolution.of(nn.Conv2d(inputs, outputs, 3, padding=1).requires_grad_(False))
    x = torch.randn(4, inputs, size, size, generator=GENERATOR).to(memory_format=torch.channels_last).requires_grad_()
    above = torch.randn(4, outputs, size, size, generator=GENERATOR).to(memory_format=torch.channels_last)
    together, alone = quick(x), quick(x[2:3])
    assert torch.equal(alone, together[2:3])
    (both,) = torch.autograd.grad(together, x, above)
    (one,) = torch.autograd.grad(alone, x, above[2:3])
    assert torch.equal(one[2:3], both[2:3])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(24, 24), (23, 30), (27, 25)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(11, 4, 0), (7, 2, 3), (5, 3, (1, 2)), (4, 2, 1)])
def test_the_way_back_to_a_photo_is_that_of_pytorch(
    kernel: int, stride: int, padding: int, size: tuple[int, int], channels: int
) -> None:
    layer = nn.Conv2d(channels, 8, kernel, stride, padding).requires_grad_(False).double()
    quick = Convolution.of(layer)
    assert quick.is_strided_on_few_channels()
    x = torch.randn(3, channels, *size, generator=GENERATOR, dtype=torch.float64, requires_grad=True)
    above = torch.randn(layer(x).shape, generator=GENERATOR, dtype=torch.float64)
    (found,), (expected,) = (torch.autograd.grad(f(x), x, above) for f in (quick, layer))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "keys", [{"kernel_size": 3}, {"kernel_size": 2, "stride": 2}, {"kernel_size": (3, 5), "stride": 2}]
)
def test_other_layers_go_back_as_the_library_does(keys: dict[str, int]) -> None:
    assert not Convolution(3, 8, **keys).is_strided_on_few_channels()
