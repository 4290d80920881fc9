"""The gradient of a target with respect to the photo, and how maps of crops are put together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.micro_batches import micro_batch_size
from deepinside.networks.network import Network, as_scores
from deepinside.optimisation.objectives import Objective, objective_values
from deepinside.targets import Target, check, for_batch
from deepinside.types import ImageBatch


class ForwardPass:
    """Photos `x` (N, C, H, W) seen once by a network, to be differentiated for as many targets as wanted."""

    def __init__(self, network: Network, x: Tensor, layers: Iterable[str]) -> None:
        self.network = network
        self.x = x.detach().requires_grad_()
        with torch.enable_grad():
            self.activations = network.activations(self.x, sorted(set(layers)))

    @property
    def scores(self) -> Tensor:
        """The class scores (N, classes), where their layer was looked at."""
        return as_scores(self.activations[self.network.target].detach())

    def gradient(self, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
        """∂S_c/∂I at every photo, one target each; score per pixel level, (N, C, H, W).

        One backward pass for the whole batch. Simonyan et al. 2013, Sect. 3.1.
        """
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.objective(targets, kind).sum(), self.x, retain_graph=True)
        return gradient

    def objective(self, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
        """(N,): what is differentiated, of photo i for `targets[i]`; of the layers that were looked at."""
        return objective_values(self.activations, targets, kind, self.network)


def image_gradient(network: Network, x: Tensor, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
    """∂S_c/∂I at every photo of `x` (N, C, H, W), one target each; score per pixel level, same shape as `x`.

    One backward pass for the whole batch. Simonyan et al. 2013, Sect. 3.1.
    """
    return ForwardPass(network, x, (target.layer for target in targets)).gradient(targets, kind)


@dataclass(frozen=True)
class Crop:
    """A window of a larger photo, by its upper left corner, mirrored or not."""

    top: int
    left: int
    mirrored: bool = False

    def cut(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """The window out of `x` (N, C, H, W)."""
        window = x[..., self.top : self.top + size[0], self.left : self.left + size[1]]
        return window.flip(-1) if self.mirrored else window

    def put(self, canvas: Tensor, window: Tensor) -> None:
        """Add what belongs to this window to its place on `canvas`, mirrored back."""
        back = window.flip(-1) if self.mirrored else window
        canvas[..., self.top : self.top + back.shape[-2], self.left : self.left + back.shape[-1]] += back


def centre_crop(whole: tuple[int, int], size: tuple[int, int]) -> list[Crop]:
    """The window of `size` (rows, columns) in the middle of a photo of `whole`."""
    return [Crop((whole[0] - size[0]) // 2, (whole[1] - size[1]) // 2)]


def ten_crops(whole: tuple[int, int], size: tuple[int, int]) -> list[Crop]:
    """Four corners and the centre, and their mirror images. Simonyan et al. 2013, Sect. 3.1."""
    down, right = whole[0] - size[0], whole[1] - size[1]
    if down <= 0 or right <= 0:
        raise DeepInsideError(
            f"ten crops: expected photos larger than the network's {size[0]}x{size[1]}, found {whole[0]}x{whole[1]}; "
            "set images.enlarge=1.143 (that is 256/224)."
        )
    corners = [Crop(0, 0), Crop(0, right), Crop(down, 0), Crop(down, right)]
    plain = [*corners, *centre_crop(whole, size)]
    return plain + [Crop(crop.top, crop.left, mirrored=True) for crop in plain]


def in_micro_batches(crops: Sequence[Crop], photos: int, size: tuple[int, int]) -> Iterator[Sequence[Crop]]:
    """The crops of `size` (rows, columns) of so many photos, in groups of as many as go through the network at once."""
    several = max(1, micro_batch_size(size) // photos)
    return (crops[start : start + several] for start in range(0, len(crops), several))


def average_over_crops(maps: Sequence[Tensor], crops: Sequence[Crop], whole: tuple[int, int]) -> Tensor:
    """Every crop's maps (N, …, h, w) put back in place and averaged where they overlap, (N, …, H, W).

    Pixels that no crop covers are zero.
    """
    canvas = maps[0].new_zeros(*maps[0].shape[:-2], *whole)
    cover = maps[0].new_zeros(whole)
    for crop, one in zip(crops, maps, strict=True):
        crop.put(canvas, one)
        crop.put(cover, torch.ones_like(one[(0,) * (one.ndim - 2)]))
    return canvas / cover.clamp(min=1)


def forward_centre_crop(
    network: Network, batch: ImageBatch, request: str | int, layers: Iterable[str] = ()
) -> tuple[ForwardPass, list[Target]]:
    """The centre crop of every photo seen once, and what `request` means for each: its first target.

    Activations of `layers` are looked at, too.
    """
    (crop,) = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), network.size)
    asked = check(request, network)
    further = [] if asked is None else [asked.layer]
    glance = ForwardPass(network, crop.cut(batch.pixels, network.size), [network.target, *further, *layers])
    return glance, [row[0] for row in for_batch(request, network, batch, glance.scores)]
