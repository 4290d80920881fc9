"""Winograd's convolution against PyTorch's in float64."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepinside.networks.kernels import tiles, winograd
from deepinside.networks.kernels.convolution import Convolution, Place, suits_winograd
from deepinside.networks.kernels.winograd import TileGrid, Winograd, divided

GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def test_the_matrices_compute_a_convolution_of_one_tile() -> None:
    """Aᵀ ((G g Gᵀ) ∘ (Bᵀ d B)) A is the correlation of d and g: Lavin & Gray 2015, Eq. 8."""
    inputs = torch.zeros(6, 6, dtype=torch.float64)
    for row, (taken, weights) in enumerate(zip(tiles.TAKEN, tiles.INPUT_WEIGHTS, strict=True)):
        for place, weight in zip(taken, weights, strict=True):
            inputs[row, place] += float(weight)
    outputs, filters = (
        torch.tensor(matrix, dtype=torch.float64) for matrix in (tiles.OUTPUT_WEIGHTS, tiles.FILTER_WEIGHTS)
    )
    window, kernel = random(6, 6).double(), random(3, 3).double()
    found = outputs @ ((filters @ kernel @ filters.T) * (inputs @ window @ inputs.T)) @ outputs.T
    torch.testing.assert_close(found, F.conv2d(window[None, None], kernel[None, None])[0, 0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("padding", "groups"), [((0, 0), 1), ((1, 1), 2), ((2, 1), 1)])
@pytest.mark.parametrize("size", [(3, 5), (4, 4), (9, 14), (17, 10)])
def test_the_convolution_is_that_of_pytorch(
    size: tuple[int, int], padding: tuple[int, int], groups: int, rectified: bool
) -> None:
    x, weight, bias = random(3, 16, *size), random(24, 16 // groups, 3, 3) / 12, random(24)
    found = Winograd(weight, bias, padding, groups)(x, rectified)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=padding, groups=groups)
    expected = expected.relu() if rectified else expected
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [1, 36 * 24 * 3 * 2, 36 * 24 * 9 * 2])
def test_blocks_of_any_size_give_the_same_bytes(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, compute = random(5, 8, 11, 12), Winograd(random(16, 8, 3, 3), random(16), (1, 1), 1)
    expected = compute(x)
    monkeypatch.setattr(winograd, "BLOCK", block)
    TileGrid.of.cache_clear()
    try:
        assert len(TileGrid.of(x.shape, (1, 1), 16).blocks) > 1
        assert torch.equal(compute(x), expected)
    finally:
        TileGrid.of.cache_clear()


@pytest.mark.parametrize(("count", "most"), list(itertools.product([1, 2, 3, 5, 16, 17], [0, 1, 2, 4, 15])))
def test_parts_are_equal_and_cover_everything(count: int, most: int) -> None:
    length, starts = divided(count, most)
    assert length <= max(1, most)
    assert {place for start in starts for place in range(start, start + length)} == set(range(count))
    assert length > 1 or count == 1 or most < 2


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_alone_is_computed_as_in_a_batch_by_any_number_of_threads(threads: int, groups: int) -> None:
    layer = Convolution.of(nn.Conv2d(128, 256, 3, padding=1, groups=groups).requires_grad_(False))
    x = random(5, 128, 13, 14).to(memory_format=torch.channels_last).requires_grad_()
    above = random(5, 256, 13, 14).to(memory_format=torch.channels_last)
    assert layer.in_tiles(x.shape) and layer.in_tiles(above.shape)
    together = layer(x, rectified=True)
    (back,) = torch.autograd.grad(together, x, above)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for image in range(5):
            alone = layer(x[image : image + 1], rectified=True)
            assert torch.equal(alone, together[image : image + 1])
            (one,) = torch.autograd.grad(alone, x, above[image : image + 1])
            assert torch.equal(one[image], back[image])
    finally:
        torch.set_num_threads(before)


def test_the_gradient_is_that_of_float64() -> None:
    layer = nn.Conv2d(96, 64, 3, padding=1).requires_grad_(False)
    x, above = random(2, 96, 30, 29), random(2, 64, 30, 29)
    gradients = []
    exact = copy.deepcopy(layer).double()
    for convolution, dtype in ((Convolution.of(layer), torch.float32), (exact, torch.float64)):
        start = x.to(dtype).requires_grad_()
        gradients += torch.autograd.grad(convolution(start).relu(), start, above.to(dtype))
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-4, atol=1e-5)


def test_nan_and_infinity_are_not_hidden() -> None:
    x = random(1, 8, 8, 8)
    x[0, 3, 2, 2] = torch.nan
    found = Winograd(random(8, 8, 3, 3), None, (1, 1), 1)(x, rectified=True)
    assert found[0, :, 1:4, 1:4].isnan().all()


@pytest.mark.parametrize(
    ("weight", "place", "maps", "suits"),
    [
        ((64, 64, 3, 3), Place((1, 1), (1, 1), (1, 1), 1), (1, 64, 56, 56), True),
        ((384, 192, 3, 3), Place((1, 1), (1, 1), (1, 1), 2), (1, 384, 13, 13), True),
        ((64, 64, 3, 3), Place((1, 1), (2, 2), (1, 1), 1), (1, 64, 56, 56), False),
        ((64, 64, 3, 3), Place((1, 1), (1, 1), (2, 2), 1), (1, 64, 56, 56), False),
        ((64, 64, 5, 5), Place((2, 2), (1, 1), (1, 1), 1), (1, 64, 56, 56), False),
        ((64, 16, 3, 3), Place((1, 1), (1, 1), (1, 1), 1), (1, 16, 112, 112), False),
        ((64, 64, 3, 3), Place((1, 1), (1, 1), (1, 1), 1), (1, 64, 13, 13), False),
    ],
)
def test_the_rule_takes_large_plain_layers_only(
    weight: tuple[int, ...], place: Place, maps: tuple[int, ...], suits: bool
) -> None:
    for batch in (1, 16):
        assert suits_winograd(torch.empty(weight), place, torch.Size((batch, *maps[1:]))) is suits
    assert not suits_winograd(torch.empty(weight, dtype=torch.float64), place, torch.Size(maps))


def test_a_layer_can_do_without() -> None:
    layer = Convolution.of(nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False))
    x = random(1, 64, 56, 56)
    with_it = layer(x)
    layer.winograd = False
    without = Convolution.of(layer)
    without.winograd = False
    assert not torch.equal(without(x), with_it)
    torch.testing.assert_close(without(x), with_it, rtol=1e-4, atol=1e-5)
