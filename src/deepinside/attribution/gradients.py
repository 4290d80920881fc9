"""The gradient of a target with respect to the photo, and averages of maps over crops."""

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
    """A forward pass of photos `x` (N, C, H, W), which can be differentiated for any number of targets."""

    def __init__(self, network: Network, x: Tensor, layers: Iterable[str]) -> None:
        self.network = network
        self.x = x.detach().requires_grad_()
        with torch.enable_grad():
            self.activations = network.activations(self.x, sorted(set(layers)))

    @property
    def scores(self) -> Tensor:
        """The class scores (N, classes); their layer must be among `layers`."""
        return as_scores(self.activations[self.network.target].detach())

    def gradient(self, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
        """∂S_c/∂I at every photo, one target each; score per intensity, (N, C, H, W).

        One backward pass for the complete batch. Simonyan et al. 2013, Sect. 3.1.
        """
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self.objective(targets, kind).sum(), self.x, retain_graph=True)
        return gradient

    def objective(self, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
        """(N,): the objective of photo i for `targets[i]`, whose layers must be among `layers`."""
        return objective_values(self.activations, targets, kind, self.network)


def image_gradient(network: Network, x: Tensor, targets: Sequence[Target], kind: Objective = "score") -> Tensor:
    """∂S_c/∂I at every photo of `x` (N, C, H, W), one target each; score per intensity, same shape as `x`.

    One backward pass for the complete batch. Simonyan et al. 2013, Sect. 3.1.
    """
    return ForwardPass(network, x, (target.layer for target in targets)).gradient(targets, kind)


@dataclass(frozen=True)
class Crop:
    """A window of a larger photo, by its upper left corner, mirrored or not."""

    top: int
    left: int
    mirrored: bool = False

    def cut(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """The window of `x` (N, C, H, W)."""
        window = x[..., self.top : self.top + size[0], self.left : self.left + size[1]]
        return window.flip(-1) if self.mirrored else window

    def put(self, canvas: Tensor, window: Tensor) -> None:
        """Add `window` to `canvas` at this crop's position, mirrored back."""
        back = window.flip(-1) if self.mirrored else window
        canvas[..., self.top : self.top + back.shape[-2], self.left : self.left + back.shape[-1]] += back


def centre_crop(photo_size: tuple[int, int], size: tuple[int, int]) -> list[Crop]:
    """The window of `size` (rows, columns) at the centre of a photo of `photo_size`."""
    return [Crop((photo_size[0] - size[0]) // 2, (photo_size[1] - size[1]) // 2)]


def ten_crops(photo_size: tuple[int, int], size: tuple[int, int]) -> list[Crop]:
    """Four corners and the centre, and their mirror images. Simonyan et al. 2013, Sect. 3.1."""
    down, right = photo_size[0] - size[0], photo_size[1] - size[1]
    if down <= 0 or right <= 0:
        raise DeepInsideError(
            f"ten crops: expected photos larger than the network's {size[0]}x{size[1]}, "
            f"found {photo_size[0]}x{photo_size[1]}; set images.enlarge=1.143 (that is 256/224)."
        )
    corners = [Crop(0, 0), Crop(0, right), Crop(down, 0), Crop(down, right)]
    plain = [*corners, *centre_crop(photo_size, size)]
    return plain + [Crop(crop.top, crop.left, mirrored=True) for crop in plain]


def in_micro_batches(crops: Sequence[Crop], photos: int, size: tuple[int, int]) -> Iterator[Sequence[Crop]]:
    """The crops of `size` (rows, columns) of so many photos, in groups that fit a micro-batch."""
    several = max(1, micro_batch_size(size) // photos)
    return (crops[start : start + several] for start in range(0, len(crops), several))


def average_over_crops(maps: Sequence[Tensor], crops: Sequence[Crop], photo_size: tuple[int, int]) -> Tensor:
    """The maps (N, …, h, w) of the crops at their positions in the photo, averaged where they overlap, (N, …, H, W).

    Pixels that no crop covers are zero.
    """
    canvas = maps[0].new_zeros(*maps[0].shape[:-2], *photo_size)
    cover = maps[0].new_zeros(photo_size)
    for crop, one in zip(crops, maps, strict=True):
        crop.put(canvas, one)
        crop.put(cover, torch.ones_like(one[(0,) * (one.ndim - 2)]))
    return canvas / cover.clamp(min=1)


def forward_centre_crop(
    network: Network, batch: ImageBatch, request: str | int, layers: Iterable[str] = ()
) -> tuple[ForwardPass, list[Target]]:
    """A forward pass of every photo's centre crop, and each photo's first target for `request`.

    The pass also keeps the activations of `layers`.
    """
    (crop,) = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), network.size)
    target = check(request, network)
    further = [] if target is None else [target.layer]
    forward = ForwardPass(network, crop.cut(batch.pixels, network.size), [network.target, *further, *layers])
    return forward, [row[0] for row in for_batch(request, network, batch, forward.scores)]
