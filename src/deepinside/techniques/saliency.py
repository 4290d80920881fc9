"""The saliency map: how much each pixel matters to the class score (Simonyan et al. 2013, Sect. 3.1)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.maths.gradients import Crop, average, centre_crop, image_gradient, ten_crops
from deepinside.maths.objectives import Objective
from deepinside.networks.network import Network
from deepinside.settings import STRICT
from deepinside.targets import Target, for_batch
from deepinside.values import ImageBatch, Item, Panel, Photo, Seeds, Visual, safe_name

Show = Literal["magnitude", "signed", "input_times_gradient"]


def magnitude(gradient: Tensor, _: Tensor) -> Tensor:
    """M_ij = max over channels of |w_ijc|, for grey photos |w_ij|. Simonyan et al. 2013, Sect. 3.1."""
    return gradient.abs().amax(1)


def signed(gradient: Tensor, _: Tensor) -> Tensor:
    """The sum of w over channels, keeping its sign: where a brighter pixel raises the score."""
    return gradient.sum(1)


def input_times_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """Σ over channels of w·I, I in zero-centred pixels: each pixel's share of the linearised score (eq. 3)."""
    return (gradient * x).sum(1)


REDUCTIONS: dict[Show, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": magnitude,
    "signed": signed,
    "input_times_gradient": input_times_gradient,
}
"""From the gradient (N, C, H, W) at x (N, C, H, W) to a map (N, H, W)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Saliency:
    """w = ∂S_c/∂I at each photo, reduced to one map; over one centre crop or averaged over the paper's ten.

    `target` is a class, group or unit (see `deepinside.targets`), "top1", "topK" for K maps a photo, or "true".
    `objective` other than "score" differentiates through the soft-max, as tools that forget to drop it do.
    """

    target: str | int = "top1"
    objective: Objective = "score"
    show: Show = "magnitude"
    crops: Literal["centre", "ten"] = "centre"

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Visual:
        """One item a photo: the photo, and one map (H, W) for each of its targets."""
        if not len(batch):
            return Visual(())
        whole = (batch.pixels.shape[2], batch.pixels.shape[3])
        crops = (ten_crops if self.crops == "ten" else centre_crop)(whole, network.size)
        with torch.no_grad():
            scores = network.scores(centre_crop(whole, network.size)[0].cut(batch.pixels, network.size))
        targets = for_batch(self.target, network, batch, scores)
        maps = [self.maps(network, batch.pixels, row, crops) for row in zip(*targets, strict=True)]
        items = (
            self.item(network, *one) for one in zip(batch.photos, targets, zip(*maps, strict=True), scores, strict=True)
        )
        return Visual(tuple(items), self.departures())

    def maps(self, network: Network, x: Tensor, targets: Sequence[Target], crops: Sequence[Crop]) -> Tensor:
        """One map a photo, (N, H, W), for one target a photo."""
        found = [self.one_map(network, crop.cut(x, network.size), targets) for crop in crops]
        return average(found, crops, (x.shape[2], x.shape[3]))

    def one_map(self, network: Network, x: Tensor, targets: Sequence[Target]) -> Tensor:
        return REDUCTIONS[self.show](image_gradient(network, x, targets, self.objective), x)

    def item(
        self, network: Network, photo: Photo, targets: Sequence[Target], maps: Sequence[Tensor], scores: Tensor
    ) -> Item:
        shown = Panel("photo", (photo.pixels + network.mean.to(photo.pixels)).cpu(), "photo", photo.stem)
        look = "magnitude" if self.show == "magnitude" else "signed"
        names = [panel_name(target, len(targets)) for target in targets]
        panels = [Panel(n, m.cpu(), look, t.name) for n, m, t in zip(names, maps, targets, strict=True)]  # type: ignore[arg-type]
        return Item(photo.stem, photo.stem, (shown, *panels), dict(numbers(network, targets, maps, scores)))

    def departures(self) -> tuple[str, ...]:
        """Where these settings leave the paper, one sentence each."""
        said = {
            "differentiates through the soft-max, not the class score": self.objective != "score",
            "keeps the gradient's sign": self.show != "magnitude",
            "one centre crop, not the average of ten": self.crops != "ten",
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


def panel_name(target: Target, count: int) -> str:
    return "saliency" if count == 1 else f"saliency_{safe_name(target.name)}"


def numbers(
    network: Network, targets: Sequence[Target], maps: Sequence[Tensor], scores: Tensor
) -> Iterator[tuple[str, float]]:
    """The first target's score and posterior, where it is a class, and how its map is spread."""
    first = targets[0]
    if first.layer == network.target:
        yield "score", scores[list(first.channels)].mean().item()
        yield "posterior", scores.softmax(0)[list(first.channels)].sum().item()
    yield "map_max", maps[0].abs().max().item()
    # 1 where every pixel matters alike, 1/pixels where one pixel is all
    spread = maps[0].abs().sum().square() / maps[0].square().sum().clamp(min=1e-30) / maps[0].numel()
    yield "map_spread", spread.item()
