"""The direction in which an image is optimised: along a contrast limit, in pixels or in Fourier coefficients."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deepinside.optimisation.optimisers import root_mean_square

Parametrisation = Literal["pixels", "fourier"]

COLOUR_FACTORS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""A square root of the covariance of RGB values in photographs (Olah et al. 2017, "Feature Visualization")."""


def along(x: Tensor, contrast: float | None, parametrisation: Parametrisation) -> Tensor:
    """`x` (N, C, H, W) unchanged; its gradient becomes the ascent direction of these settings."""
    found: Tensor = _AscentDirection.apply(x, contrast, parametrisation)
    return found


class _AscentDirection(torch.autograd.Function):
    """The identity, whose gradient is `ascent_direction` of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, contrast: float | None, parametrisation: Parametrisation) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = contrast, parametrisation
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return ascent_direction(gradient, x, *ctx.settings), None, None


def ascent_direction(gradient: Tensor, x: Tensor, contrast: float | None, parametrisation: Parametrisation) -> Tensor:
    """The direction to move images `x` (N, C, H, W) in, from the objective's gradient, image by image.

    At the contrast limit, the component that raises the contrast is removed. "fourier" gives the step of gradient
    ascent in the image's Fourier coefficients, scaled by 1/frequency, with decorrelated colours.
    """
    if contrast is not None:
        gradient = tangential(gradient, x, contrast)
    if parametrisation == "fourier":
        return torch.cat([decorrelated(one) for one in gradient.split(1)])  # one by one: batch invariance
    return gradient


def tangential(gradient: Tensor, x: Tensor, contrast: float) -> Tensor:
    """`gradient` without its outward radial part, for images at the contrast limit."""
    outward = multiplier(gradient, x).clamp(min=0)
    at_limit = root_mean_square(x) >= contrast * (1 - 1e-3)
    return torch.where(at_limit, gradient - outward * x, gradient)


def multiplier(gradient: Tensor, x: Tensor) -> Tensor:
    """⟨∇, x⟩ / ‖x‖², (N, 1, 1, 1): the Lagrange multiplier 2λ of ‖x‖² where x is optimal under a contrast limit."""
    along_x = (gradient * x).flatten(1).sum(1)
    return (along_x / x.square().flatten(1).sum(1).clamp(min=1e-12)).view(-1, 1, 1, 1)


def decorrelated(gradient: Tensor) -> Tensor:
    """(1, C, H, W): the gradient step in scaled Fourier coefficients and decorrelated colours, back in pixels."""
    height, width = gradient.shape[-2:]
    rows = torch.fft.fftfreq(height, device=gradient.device, dtype=gradient.dtype).view(-1, 1)
    columns = torch.fft.rfftfreq(width, device=gradient.device, dtype=gradient.dtype).view(1, -1)
    frequency = (rows.square() + columns.square()).sqrt() * max(height, width)
    scale = frequency.clamp(min=1).pow(-2)  # 1/f once for the coefficients, once for their gradient
    smooth = torch.fft.irfft2(torch.fft.rfft2(gradient) * scale, s=(height, width))
    return mixed_colours(smooth) if gradient.shape[1] == 3 else smooth


def mixed_colours(x: Tensor) -> Tensor:
    """RGB directions weighted by the covariance of colours in photographs."""
    factors = torch.tensor(COLOUR_FACTORS, device=x.device, dtype=x.dtype)
    covariance = factors @ factors.T
    covariance = covariance / covariance.diagonal().mean()
    return torch.stack([(weights.view(-1, 1, 1) * x[0]).sum(0) for weights in covariance])[None]


def limit_contrast(x: Tensor, contrast: float) -> Tensor:
    """Images (N, C, H, W) scaled down to a root mean square of `contrast` where they exceed it."""
    return x * (contrast / root_mean_square(x)).clamp(max=1)
