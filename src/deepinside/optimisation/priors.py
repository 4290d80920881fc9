"""What the two papers on inversion demand of an image besides its representation, with their constants.

An energy decides four things: the noise to start from, how much the representation's error weighs, the penalty that
keeps the image natural, and how the image is kept within bounds. Both energies are multiplied by a constant that
makes the optimiser's rate independent of the image's size, as the authors' code does with the step instead.

Total variation depends on the resolution: neighbours in a small copy of a photo differ more, so that Σ TV² is the same
for both sizes while the other terms grow with the number of pixels. Its weight therefore grows with (side / `side`)^β,
where `side` is that of the inputs the papers' weights were chosen for; at that size they are the papers' own.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.config.settings import STRICT
from deepinside.optimisation import regularisers
from deepinside.optimisation.batching import numbers_like

ByDepth = NonNegativeFloat | tuple[tuple[PositiveFloat, NonNegativeFloat], ...]
"""One value for all layers, or pairs (share of the network's depth, value): the first whose share reaches the layer."""

Shape = Sequence[int]


def at_depth(values: ByDepth, depth: float) -> float:
    """The value for a layer at `depth`, its place among the network's layers over their number, in (0, 1]."""
    if not isinstance(values, tuple):
        return values
    return next((value for share, value in values if depth <= share + 1e-9), values[-1][1])


def resolution(shape: Shape, side: float, beta: float) -> float:
    """What total variation's weight is multiplied with for images of `shape` (C, H, W): (√(H·W) / side)^β."""
    return (math.sqrt(math.prod(shape[1:])) / side) ** beta


def by_item(values: ByDepth, depths: Sequence[float], like: Tensor) -> Tensor:
    """(N,): the value for each of N depths."""
    return numbers_like([at_depth(values, depth) for depth in depths], like)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mahendran2014:
    """σ²·error + λ_TV/2·Σ TV^(β/2) + λ_α/2·Σ|x|^α: eq. 2-4 of arXiv 1412.0035, times the constant σ².

    σ = `sigma`·√(values in the image), the norm of a typical zero-centred photo; noise of that norm is the start.
    `alpha_weight` is λ_α and `total_variation` λ_TV as in the authors' code, which chooses 1, 10 or 100 for layers
    1-6, 7-12 and 13-20 of CaffeNet's twenty: here by share of the depth, so that it means something on any network,
    and for inputs of `side` pixels.
    """

    sigma: PositiveFloat = 68.92
    alpha: float = Field(default=6.0, ge=2)
    alpha_weight: NonNegativeFloat = 8e-10
    beta: PositiveFloat = 2.0
    total_variation: ByDepth = ((0.3, 1.0), (0.6, 10.0), (1.0, 100.0))
    side: PositiveFloat = 227.0

    paper_optimiser = "Momentum"
    jitter_steps = 0

    def start(self, shape: Shape, generator: torch.Generator) -> Tensor:
        """Gaussian noise of norm σ, of `shape` (C, H, W), on the CPU."""
        noise = torch.randn(tuple(shape), generator=generator)
        return noise / noise.norm() * self.sigma * math.sqrt(noise.numel())

    def error_weights(self, shape: Shape, depths: Sequence[float], like: Tensor) -> Tensor:
        """(N,): σ² for every image of `shape` (C, H, W)."""
        return like.new_full((len(depths),), self.sigma**2 * math.prod(shape))

    def penalty(self, x: Tensor, shape: Shape, depths: Sequence[float]) -> Tensor:
        """(N,): the two regularisers of images (N, C, H, W), each weighted for its layer's depth."""
        variation = regularisers.total_variation(x, self.beta)
        weights = by_item(self.total_variation, depths, x) * resolution(shape, self.side, self.beta)
        return weights / 2 * variation + self.alpha_weight / 2 * regularisers.p_norm(x, self.alpha)

    def project(self, x: Tensor) -> Tensor:
        """`x` (N, C, H, W) itself: this version has no bounds."""
        return x

    def margin(self, stride: int) -> int:
        """0: this version does not move the image."""
        return 0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mahendran2016:
    """H·W·C·error + (v/B)^β·Σ TV^(β/2) + B^-α·Σ‖x_pixel‖^α: IJCV 2016 (arXiv 1512.02017), times the constant H·W.

    B = `bound`, the usual norm of a pixel's colour; `largest` is B₊, onto which larger ones are projected; B/v with
    v = `edge` is the usual difference of neighbours, for inputs of `side` pixels; C = `error_weight`. The authors ran
    C = 1, 20, 100 and 300 on every layer; the shares of the depth at which each is taken here are this project's
    choice. Start: uniform noise whose 95 % quantile is B/√3 a value. In the first `jitter_steps` steps the network
    sees a window of a slightly larger image, moved at random within `margin` pixels.
    """

    bound: PositiveFloat = 80.0
    largest: PositiveFloat = 160.0
    edge: NonNegativeFloat = 6.5
    side: PositiveFloat = 224.0
    alpha: float = Field(default=6.0, ge=2)
    beta: PositiveFloat = 2.0
    error_weight: ByDepth = ((0.3, 300.0), (0.6, 100.0), (0.75, 20.0), (1.0, 1.0))
    jitter_steps: NonNegativeInt = 300

    paper_optimiser = "AdaGrad"

    def start(self, shape: Shape, generator: torch.Generator) -> Tensor:
        """Uniform noise of `shape` (C, H, W), on the CPU."""
        noise = 2 * torch.rand(tuple(shape), generator=generator) - 1
        return noise / noise.flatten().quantile(0.95) * self.bound / math.sqrt(3)

    def error_weights(self, shape: Shape, depths: Sequence[float], like: Tensor) -> Tensor:
        """(N,): C·H·W for each image of `shape` (channels, H, W)."""
        return by_item(self.error_weight, depths, like) * math.prod(shape[1:])

    def penalty(self, x: Tensor, shape: Shape, depths: Sequence[float]) -> Tensor:
        """(N,): the two regularisers, means over the pixels of `x` times the H·W of `shape`."""
        weight = (self.edge / self.bound) ** self.beta * resolution(shape, self.side, self.beta)
        variation = weight * regularisers.total_variation(x, self.beta)
        intensity = regularisers.colour_norm(x / self.bound, self.alpha)
        return (variation + intensity) * (math.prod(shape[1:]) / math.prod(x.shape[2:]))

    def project(self, x: Tensor) -> Tensor:
        """`x` (N, C, H, W) with every pixel's colour, a vector from the mean colour, cut to the length B₊."""
        return regularisers.limit_colours(x, self.largest)

    def margin(self, stride: int) -> int:
        """How many pixels the image is larger than the network's input: a quarter of the layer's stride, less one."""
        return max(round(stride / 4), 1) - 1 if self.jitter_steps else 0
