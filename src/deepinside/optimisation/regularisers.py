"""Regularisers of optimised images: penalties, smoothing, and random transforms between steps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_norm(x: Tensor) -> Tensor:
    """‖I‖₂² of every image, (N,), from mean-subtracted pixels (N, C, H, W). Simonyan et al. 2013, Sect. 2."""
    return x.square().flatten(1).sum(1)


def p_norm(x: Tensor, p: float) -> Tensor:
    """Σ |x|^p of every image, (N,). Mahendran & Vedaldi 2014, eq. 3 (there p = α = 6)."""
    return x.abs().pow(p).flatten(1).sum(1)


def total_variation(x: Tensor, beta: float = 2.0) -> Tensor:
    """Σ (Δ_rows² + Δ_columns²)^(β/2) of every image, (N,). Mahendran & Vedaldi 2014, eq. 4, finite differences."""
    down = F.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 1))
    right = F.pad(x[:, :, :, 1:] - x[:, :, :, :-1], (0, 1))
    energy = down.square() + right.square()
    # for β < 2 the power's slope at zero is infinite, so zero differences are replaced by small ones
    return (energy if beta == 2 else energy.clamp(min=1e-6).pow(beta / 2)).flatten(1).sum(1)


def colour_norm(x: Tensor, p: float) -> Tensor:
    """Σ over pixels of ‖colour‖₂^p of every image, (N,); p ≥ 2. Mahendran & Vedaldi 2016 (IJCV), Sect. 3."""
    return x.square().sum(1).pow(p / 2).flatten(1).sum(1)


def limit_colours(x: Tensor, largest: float) -> Tensor:
    """`x` (N, C, H, W) with each pixel's colour vector scaled down to the norm `largest` if it is longer."""
    length = x.square().sum(1, keepdim=True).sqrt()
    return x * (largest / length.clamp(min=largest))


def shift(x: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """Image i shifted cyclically by `offsets[i]` = (rows, columns)."""
    return torch.stack([image.roll(offset, (1, 2)) for image, offset in zip(x, offsets, strict=True)])


def blur(x: Tensor, sigma: float) -> Tensor:
    """`x` (N, C, H, W) blurred by a Gaussian of `sigma` pixels, channel by channel, with replicated edges."""
    radius = max(1, math.ceil(3 * sigma))
    places = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    kernel = (-places.square() / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1, 1, 1)
    padded = F.pad(x, [radius] * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.transpose(2, 3), groups=x.shape[1])
    return F.conv2d(rows, kernel, groups=x.shape[1])


def diffuse(x: Tensor, amount: float) -> Tensor:
    """`x` (N, C, H, W) after gradient descent of step `amount` on half its total variation (β = 2).

    Steps above 1/8 are split, because larger ones are unstable.
    """
    parts = max(1, math.ceil(amount / 0.125))
    for _ in range(parts):
        padded = F.pad(x, [1] * 4, mode="replicate")
        neighbours = padded[:, :, 2:, 1:-1] + padded[:, :, :-2, 1:-1] + padded[:, :, 1:-1, 2:] + padded[:, :, 1:-1, :-2]
        x = x + amount / parts * (neighbours - 4 * x)
    return x


def transform(x: Tensor, placements: Sequence["Placement"]) -> Tensor:
    """Image i rotated, scaled and shifted by `placements[i]`, bilinear, with replicated edges; (N, C, H, W)."""
    height, width = x.shape[-2:]
    rows = torch.linspace(-1 + 1 / height, 1 - 1 / height, height, device=x.device, dtype=x.dtype).view(-1, 1)
    columns = torch.linspace(-1 + 1 / width, 1 - 1 / width, width, device=x.device, dtype=x.dtype).view(1, -1)
    grids = [placement.grid(rows, columns, height / width) for placement in placements]
    # one by one: batch invariance
    transformed = [
        F.grid_sample(one, grid[None], padding_mode="border", align_corners=False)
        for one, grid in zip(x.split(1), grids, strict=True)
    ]
    return torch.cat(transformed)


class Placement(NamedTuple):
    """A rotation in radians, a scale, and offsets in fractions of the image's height and width."""

    angle: float
    scale: float
    down: float
    right: float

    def grid(self, rows: Tensor, columns: Tensor, aspect: float) -> Tensor:
        """(H, W, 2): the sampling position of each pixel, x and y from −1 to 1; `aspect` is height / width."""
        cos, sin = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        across = cos * columns - sin * aspect * rows + 2 * self.right
        along = sin / aspect * columns + cos * rows + 2 * self.down
        return torch.stack(torch.broadcast_tensors(across, along), -1)
