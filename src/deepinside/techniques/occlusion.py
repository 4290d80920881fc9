"""Occlusion: how far a class score falls when a square of the photo is covered (Zeiler & Fergus 2013, Sect. 4.2).

The square moves over the photo. It needs no gradient, so it also tests maps that are made of gradients.
"""

import math
from collections.abc import Sequence

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.gradients import Crop, average_over_crops, forward_centre_crop, in_micro_batches
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import Objective, check_objective, measure
from deepinside.targets import Target, TargetRequest, check, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Prediction, Seeds, TechniqueOutput


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Occlusion:
    """S_c(I) − S_c(I with a square at the training mean); each pixel has the mean over the squares that cover it.

    `side` is the side of the square and `stride` the distance between squares, at most `side`; both are shares of the
    photo's shorter side. The first squares touch the upper and left edges, the last ones the lower and right edges.
    `target` is a class, group or unit (see `deepinside.targets`), "top1" or "true". The paper's map is that of
    `objective` "posterior".
    """

    target: TargetRequest = "top1"
    objective: Objective = "score"
    side: float = Field(default=0.25, gt=0, le=1)
    stride: float = Field(default=0.0625, gt=0, le=1)

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have the target, the objective is not defined for it, or the
        squares would leave gaps."""
        target = check(self.target, network)
        if target is not None:
            check_objective(self.objective, target, network.target)
        if self.stride > self.side:
            raise DeepInsideError(
                f"stride: expected at most side, {self.side:g}, or squares leave gaps, found {self.stride:g}."
            )

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo: the photo and the fall in the objective, (H, W), positive where covering lowers it."""
        if not len(batch):
            return TechniqueOutput(())
        forward, targets = forward_centre_crop(network, batch, self.target)
        x, scores = forward.x.detach(), forward.scores.cpu()
        del forward  # frees its activations
        side, squares = self.squares(network.size)
        with torch.no_grad():
            falls = self.falls(network, x, targets, side, squares)
        parts = [fall[:, None, None].expand(-1, side, side) for fall in falls]
        maps = average_over_crops(parts, squares, network.size).cpu()
        predictions = [of_photo(p, network, *row) for p, *row in zip(batch.photos, scores, targets, strict=True)]
        shown = (x + network.mean).cpu()
        rows = zip(batch.photos, shown, maps, falls.amax(0).tolist(), targets, predictions, strict=True)
        return TechniqueOutput(tuple(item(*row) for row in rows), self.deviations())

    def squares(self, size: tuple[int, int]) -> tuple[int, list[Crop]]:
        """The side of the square in pixels, and its places in a photo of `size` (rows, columns), row by row."""
        side, stride = (max(1, round(share * min(size))) for share in (self.side, self.stride))
        rows, columns = (places(length, side, stride) for length in size)
        return side, [Crop(top, left) for top in rows for left in columns]

    def falls(
        self, network: Network, x: Tensor, targets: Sequence[Target], side: int, squares: Sequence[Crop]
    ) -> Tensor:
        """(squares, N): the fall of the objective of each photo of `x` (N, C, H, W) by place of the square."""
        before, found = measure(network, x, targets, self.objective), []
        for group in in_micro_batches(squares, len(x), network.size):
            covered = torch.cat([cover(x, square, side) for square in group])
            after = measure(network, covered, [*targets] * len(group), self.objective)
            found.append(before - after.unflatten(0, (len(group), len(x))))
        return torch.cat(found)

    def deviations(self) -> tuple[str, ...]:
        """Deviations from the paper, one sentence each."""
        said = {
            "covers with the training mean, not with grey": True,
            "a pixel has the mean over the squares that cover it, not the value of the square about it": True,
            "maps the class score, not the probability": self.objective == "score",
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


def places(length: int, side: int, stride: int) -> list[int]:
    """The first pixels of squares along an axis, from edge to edge, at most `stride` apart."""
    last = length - side
    return torch.linspace(0, last, math.ceil(last / stride) + 1).round().int().tolist()


def cover(x: Tensor, square: Crop, side: int) -> Tensor:
    """A copy of the photos (N, C, H, W) with the square at zero, the training mean."""
    copy = x.clone()
    copy[..., square.top : square.top + side, square.left : square.left + side] = 0
    return copy


def item(photo: Photo, shown: Tensor, values: Tensor, largest: float, target: Target, prediction: Prediction) -> Item:
    panels = (
        Panel("photo", shown, "photo", photo.stem),
        Panel("occlusion", values, "signed", target.name, blank=blank(values)),
    )
    said = target_notes(photo, target)
    return Item(photo.stem, photo.stem, panels, {"largest_fall": largest}, notes=said, prediction=prediction)
