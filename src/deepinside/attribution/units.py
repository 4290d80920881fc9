"""Some of a layer's units, and their receptive field in the image."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deepinside.networks.network import Network

Channels = Literal["all", "first_half", "second_half"]
Box = tuple[int, int, int, int]
"""x0 y0 x1 y1 in pixels; x1 and y1 are the first that lie outside."""
IMAGES = 8  # a max-pooling or ReLU hides pixels in a single image, but not in all of several


@dataclass(frozen=True)
class Units:
    """The units of a layer at the `neighbourhood` × `neighbourhood` positions of its centre, of all `channels` or half.

    Without a `neighbourhood` all positions are taken; the same where a layer has fewer, or none.
    """

    neighbourhood: int | None = None
    channels: Channels = "all"

    def of(self, activation: Tensor) -> Tensor:
        """These units, (N, …), of a layer's activation (N, C, H, W), (N, tokens, C) or (N, C)."""
        chosen = activation.movedim(-1, 1) if activation.ndim == 3 else activation
        half = chosen.shape[1] // 2
        if self.channels != "all":
            chosen = chosen[:, :half] if self.channels == "first_half" else chosen[:, half:]
        if self.neighbourhood is None or activation.ndim != 4:
            return chosen
        rows, columns = (central(size, self.neighbourhood) for size in chosen.shape[2:])
        return chosen[:, :, rows, columns]

    def omits_positions(self, shape: tuple[int, ...]) -> bool:
        """Whether a layer of `shape` (C, H, W) or (C,) has positions outside the neighbourhood."""
        return self.neighbourhood is not None and len(shape) == 3 and max(shape[1:]) > self.neighbourhood


ALL_UNITS = Units()


def central(size: int, count: int) -> slice:
    """The `count` middle places of `size`, or all if there are fewer; those of the authors of Fig. 9."""
    first = max(size - count, 0) // 2
    return slice(first, first + count)


def receptive_field(network: Network, layer: str, units: Units) -> Box:
    """The smallest box of all pixels that a layer's `units` depend on: their theoretical receptive field.

    The pixels are those with a gradient of a random mix of the units, for one of `IMAGES` images of noise. So the field
    ends at the image's border, and needs no formula: any operation of the network is seen.
    """
    generator = torch.Generator().manual_seed(0)
    noise = 60 * torch.randn(IMAGES, network.input.count, *network.size, generator=generator)
    x = noise.to(network.mean).requires_grad_()
    with torch.enable_grad():
        found = units.of(network.activations(x, [layer])[layer])
        mix = torch.randn(found.shape, generator=generator).to(found)
        (gradient,) = torch.autograd.grad((found * mix).sum(), x)
    nonzero = gradient.ne(0).flatten(0, 1).any(0)
    (top, bottom), (left, right) = ends(nonzero.any(1)), ends(nonzero.any(0))
    return left, top, right, bottom


def ends(nonzero: Tensor) -> tuple[int, int]:
    """The first true place of (n,) and the place after the last one; 0 and 0 if none is."""
    places = nonzero.nonzero()
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
