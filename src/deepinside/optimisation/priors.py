"""The image priors of the two papers on inversion, with their constants.

An energy sets four things: the initial noise, the weight of the representation's error, the penalty on the image, and
the bounds of the image. Both energies are multiplied by a constant that makes the optimiser's rate independent of the
image's size; the authors' code scales the step instead.

Total variation depends on the resolution. Neighbours differ more in a small copy of a photo, so Σ TV² is the same for
both sizes, while the other terms grow with the number of pixels. Its weight is therefore multiplied by
(side / `side`)^β, where `side` is the input size that the papers' weights were chosen for.
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
    """The value for a layer at `depth`, its position among the network's layers divided by their number, in (0, 1]."""
    if not isinstance(values, tuple):
        return values
    return next((value for share, value in values if depth <= share + 1e-9), values[-1][1])


def resolution(shape: Shape, side: float, beta: float) -> float:
    """The factor of total variation's weight for images of `shape` (C, H, W): (√(H·W) / side)^β."""
    return (math.sqrt(math.prod(shape[1:])) / side) ** beta


def by_item(values: ByDepth, depths: Sequence[float], like: Tensor) -> Tensor:
    """(N,): the value for each of N depths."""
    return numbers_like([at_depth(values, depth) for depth in depths], like)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mahendran2014:
    """σ²·error + λ_TV/2·Σ TV^(β/2) + λ_α/2·Σ|x|^α: eq. 2-4 of arXiv 1412.0035, times the constant σ².

    σ = `sigma`·√(values in the image), the norm of a typical mean-subtracted photo; the start is noise of that norm.
    `alpha_weight` is λ_α and `total_variation` λ_TV as in the authors' code, which uses 1, 10 and 100 for
    layers 1-6, 7-12 and 13-20 of CaffeNet's 20 layers. Here they are given by share of the depth, so that they apply to
    any network, and for inputs of `side` pixels.
    """

    sigma: PositiveFloat = 68.92
    alpha: float = Field(default=6.0, ge=2)
    alpha_weight: NonNegativeFloat = 8e-10
    beta: PositiveFloat = 2.0
    total_variation: ByDepth = ((0.3, 1.0), (0.6, 10.0), (1.0, 100.0))
    side: PositiveFloat = 227.0

    paper_optimiser = "Momentum"
    jitter_steps = 0

    @property
    def weights_by_depth(self) -> bool:
        """Whether the weight of total variation depends on the layer's depth."""
        return isinstance(self.total_variation, tuple)

    def start(self, shape: Shape, generator: torch.Generator) -> Tensor:
        """Gaussian noise with norm σ and `shape` (C, H, W), on the CPU."""
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
        """`x` (N, C, H, W) unchanged: this version has no bounds."""
        return x

    def margin(self, stride: int) -> int:
        """0: this version has no jitter."""
        return 0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Mahendran2016:
    """H·W·C·error + (v/B)^β·Σ TV^(β/2) + B^-α·Σ‖x_pixel‖^α: IJCV 2016 (arXiv 1512.02017), times the constant H·W.

    B = `bound`, the typical norm of a pixel's colour; `largest` is B₊, onto which larger norms are projected; B/v with
    v = `edge` is the typical difference of neighbours, for inputs of `side` pixels; C = `error_weight`. The authors ran
    C = 1, 20, 100 and 300 on every layer; here each applies to a share of the depth, which is this project's choice.
    Start: uniform noise with a 95 % quantile of B/√3. In the first `jitter_steps` steps the network's input is a
    window of a slightly larger image, at a random offset of up to `margin` pixels.
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

    @property
    def weights_by_depth(self) -> bool:
        """Whether the weight of the error depends on the layer's depth."""
        return isinstance(self.error_weight, tuple)

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
        """`x` (N, C, H, W) with the norm of every pixel's colour, as a vector from the mean colour, limited to B₊."""
        return regularisers.limit_colours(x, self.largest)

    def margin(self, stride: int) -> int:
        """By how many pixels the image exceeds the network's input: a quarter of the layer's stride, minus one."""
        return max(round(stride / 4), 1) - 1 if self.jitter_steps else 0
