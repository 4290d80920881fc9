"""Penalties against sums written out by hand; shifts and blurs against what they must keep."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toys import numerical_gradient

from deepinside.optimisation import regularisers


def images(count: int = 2, side: int = 5) -> Tensor:
    return torch.randn(count, 3, side, side + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def slow_total_variation(image: Tensor, beta: float) -> float:
    total = 0.0
    for channel in image.tolist():
        for i, row in enumerate(channel):
            for j, value in enumerate(row):
                down = channel[i + 1][j] - value if i + 1 < len(channel) else 0.0
                right = row[j + 1] - value if j + 1 < len(row) else 0.0
                total += (down**2 + right**2) ** (beta / 2)
    return total


@pytest.mark.parametrize("beta", [2.0, 3.0])
def test_total_variation_is_the_papers_sum(beta: float) -> None:
    x = images()
    expected = [slow_total_variation(image, beta) for image in x]
    assert regularisers.total_variation(x, beta).tolist() == pytest.approx(expected)


def test_norms_are_their_sums() -> None:
    x = images()
    assert regularisers.squared_norm(x).tolist() == pytest.approx([(i**2).sum().item() for i in x])
    assert regularisers.p_norm(x, 6).tolist() == pytest.approx([(i**6).sum().item() for i in x])
    assert regularisers.p_norm(x, 3).tolist() == pytest.approx([(i.abs() ** 3).sum().item() for i in x])


@pytest.mark.parametrize(
    "penalty",
    [
        regularisers.squared_norm,
        regularisers.total_variation,
        lambda x: regularisers.total_variation(x, 1.5),
        lambda x: regularisers.p_norm(x, 6),
        lambda x: regularisers.colour_norm(x, 6),
    ],
    ids=["l2", "tv", "tv1.5", "p_norm", "colour_norm"],
)
def test_gradients_are_the_finite_differences(penalty: Callable[[Tensor], Tensor]) -> None:
    x = images(1).requires_grad_()
    (gradient,) = torch.autograd.grad(penalty(x).sum(), x)
    places = torch.arange(x.numel())
    expected = numerical_gradient(penalty, x.detach(), places, 1e-5)
    assert torch.allclose(gradient.flatten(), expected, rtol=1e-6, atol=1e-6)


def test_flat_images_have_finite_slopes() -> None:
    x = torch.zeros(1, 3, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(regularisers.total_variation(x, 1.0).sum(), x)
    assert torch.equal(gradient, torch.zeros_like(x))


def test_each_image_is_moved_by_its_own_offset_and_back() -> None:
    x = images()
    moved = regularisers.shift(x, [(1, -2), (0, 0)])
    assert torch.equal(moved[0, :, 1, 0], x[0, :, 0, 2])
    assert torch.equal(moved[1], x[1])
    assert torch.equal(regularisers.shift(moved, [(-1, 2), (0, 0)]), x)


def test_blur_keeps_flat_images_and_spreads_a_point_evenly() -> None:
    flat = torch.full((1, 3, 6, 7), 4.0)
    assert torch.allclose(regularisers.blur(flat, 1.3), flat)
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    found = regularisers.blur(point, 1.5)[0, 0]
    assert found.sum().item() == pytest.approx(1)
    assert torch.allclose(found, found.flip(0)) and torch.allclose(found, found.T)
    places = torch.arange(21.0, dtype=torch.float64) - 10
    assert (found.sum(0) * places.square()).sum().sqrt().item() == pytest.approx(1.5, rel=0.02)
