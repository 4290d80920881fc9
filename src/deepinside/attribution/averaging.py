"""Averages of the gradient over versions of a photo: SmoothGrad and integrated gradients."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.gradients import Crop, ForwardPass, centre_crop, image_gradient, in_micro_batches
from deepinside.config.settings import STRICT
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import Objective, measure
from deepinside.targets import Target
from deepinside.types import ImageBatch, Seeds


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SmoothGrad:
    """The mean gradient at `samples` noisy copies of the photo (Smilkov et al. 2017, arXiv 1706.03825).

    The noise is Gaussian. Its standard deviation is `sigma` times the photo's range, largest minus smallest intensity.
    """

    kind: Literal["smooth_grad"] = "smooth_grad"
    samples: PositiveInt = 32
    sigma: PositiveFloat = 0.1

    def versions(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Iterator[Tensor]:
        """Each noisy copy of the photos, (N, C, H, W)."""
        x = batch.pixels
        deviation = self.sigma * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        for sample in range(self.samples):
            streams = [seeds.generator(photo.number, f"smooth_grad {sample}") for photo in batch.photos]
            noise = torch.stack([torch.randn(x.shape[1:], generator=stream) for stream in streams])
            yield x + deviation * noise.to(x)

    def factor(self, network: Network, x: Tensor) -> Tensor | None:
        """None: the mean gradient is multiplied by nothing."""
        return None

    def __str__(self) -> str:
        return f"SmoothGrad, {self.samples} samples, sigma {self.sigma:g}"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IntegratedGradients:
    """The mean gradient on the line from a baseline to the photo, times their difference (Sundararajan et al. 2017,
    arXiv 1703.01365, eq. 1).

    `samples` points by the midpoint rule. The baseline is "black", as in the paper, or the training "mean".
    """

    kind: Literal["integrated_gradients"] = "integrated_gradients"
    samples: PositiveInt = 32
    baseline: Literal["black", "mean"] = "black"

    def versions(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Iterator[Tensor]:
        """The photos at each point of the path, (N, C, H, W)."""
        difference = self.factor(network, batch.pixels)
        for sample in range(self.samples):
            yield batch.pixels - (1 - (sample + 0.5) / self.samples) * difference

    def factor(self, network: Network, x: Tensor) -> Tensor:
        """The photo minus the baseline, (N, C, H, W)."""
        if self.baseline == "mean":
            return x
        return x + network.input.mean_at((x.shape[2], x.shape[3]), x.dtype, x.device)

    def __str__(self) -> str:
        return f"integrated gradients, {self.samples} points from {self.baseline}"


def by_name(value: Any) -> Any:
    """A kind of average alone stands for its defaults, "none" for the plain gradient."""
    if value == "none":  # not null in the YAMLs: Hydra's `~key` cannot remove a null
        return None
    return {"kind": value} if isinstance(value, str) else value


Kind = Annotated[SmoothGrad | IntegratedGradients, Field(discriminator="kind")]
Average = Annotated[Kind | None, BeforeValidator(by_name)]
"""The type of a setting that averages the gradient: a kind, or a kind with its keys; none is the plain gradient."""
Windows = dict[Crop, list[Tensor]]
"""By crop, one map of its window, (N, h, w) or (N, C, h, w), for each row of targets, one target per photo."""


def attributions(
    network: Network, batch: ImageBatch, targets: Sequence[Target], average: Average, seeds: Seeds
) -> Tensor:
    """(N, C, H, W): the gradient of each photo's class score, or its average, for photos of the network's size."""
    if average is None:
        return image_gradient(network, batch.pixels, targets)
    crops = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), network.size)
    return average_windows(network, batch, [targets], crops, average, seeds)[crops[0]][0]


def average_windows(
    network: Network, batch: ImageBatch, target_rows: Sequence[Sequence[Target]], crops: Sequence[Crop],
    average: Kind, seeds: Seeds, kind: Objective = "score",
) -> Windows:  # fmt: skip
    """By crop, the attributions (N, C, h, w) of its window for each row of targets, one target per photo.

    Noise and path belong to the photo, so overlapping crops share them.
    """
    found: Windows = {}
    for group in in_micro_batches(crops, len(batch), network.size):

        def gradients(pixels: Tensor, group: Sequence[Crop] = group) -> list[Tensor]:
            windows = torch.cat([crop.cut(pixels, network.size) for crop in group])
            forward = ForwardPass(network, windows, (target.layer for row in target_rows for target in row))
            return [forward.gradient([*row] * len(group), kind) for row in target_rows]

        means = mean_of(gradients, average.versions(network, batch, seeds), average.samples)
        parts = zip(*(mean.split(len(batch)) for mean in means), strict=True)
        found |= {crop: list(part) for crop, part in zip(group, parts, strict=True)}
    factor = average.factor(network, batch.pixels)
    if factor is None:
        return found
    return {crop: [mean * crop.cut(factor, network.size) for mean in means] for crop, means in found.items()}


def mean_of(function: Callable[[Tensor], list[Tensor]], arguments: Iterator[Tensor], count: int) -> list[Tensor]:
    """The mean of each of the function's values over so many arguments."""
    totals = function(next(arguments))
    for argument in arguments:
        totals = [total + value for total, value in zip(totals, function(argument), strict=True)]
    return [total / count for total in totals]


def completeness_error(
    network: Network, x: Tensor, attribution: Tensor, targets: Sequence[Target], average: IntegratedGradients,
    kind: Objective = "score",
) -> Tensor:  # fmt: skip
    """(N,): |Σ attribution − (S(x) − S(baseline))| / |S(x) − S(baseline)|; 0 for an exact integral.

    `x` and `attribution` are (N, C, H, W).
    """
    with torch.no_grad():
        baseline = x - average.factor(network, x)
        rise = measure(network, x, targets, kind) - measure(network, baseline, targets, kind)
    return (attribution.flatten(1).sum(1) - rise).abs() / rise.abs().clamp(min=1e-12)
