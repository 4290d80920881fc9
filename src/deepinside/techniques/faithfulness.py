"""Deletion and insertion: does the class depend on the pixels that a map ranks highest?

Petsiuk, Das & Saenko 2018, "RISE", Sect. 4.1: pixels are deleted from the photo, or inserted into a blurred photo, in
the map's order, the highest first, and the posterior of the class is recorded. With a good map it falls early
(deletion: a small area under the curve) or rises early (insertion: a large area).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.averaging import Average, attributions
from deepinside.attribution.gradients import forward_centre_crop
from deepinside.attribution.relu_rules import ReluRule, check_rule, rule_notes, with_rule
from deepinside.config.settings import STRICT
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import measure
from deepinside.optimisation.regularisers import blur
from deepinside.targets import Target, TargetRequest, check, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput

Curves = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Faithfulness:
    """Deletion and insertion curves of the saliency map, and of a random order of the pixels for comparison.

    `target` is a class or group (see `deepinside.targets`), "top1" or "true". Pixels are changed in `steps` equal
    parts. Deleted pixels become the mean (zero in image space); insertion starts from the photo blurred by
    `blur` · its shorter side. `relu_rule` as in `deepinside.attribution.relu_rules`, `average` as in
    `deepinside.attribution.averaging`: the map is the largest absolute value over channels.
    """

    target: TargetRequest = "top1"
    relu_rule: ReluRule = "gradient"
    average: Average = None
    steps: PositiveInt = 32
    blur: PositiveFloat = 0.05

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have the target, or the rule has no ReLU to act on."""
        target = check(self.target, network)
        check_rule(network, self.relu_rule, [network.target if target is None else target.layer])

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo: the photo, its map, the curves over the share of pixels as traces, and their areas."""
        if not len(batch):
            return TechniqueOutput(())
        ruled = network if self.relu_rule == "gradient" else with_rule(network, self.relu_rule)[0]
        forward, targets = forward_centre_crop(ruled, batch, self.target)  # a rule changes no score
        x, scores = forward.x.detach(), forward.scores.cpu()
        if self.average is None:
            gradient = forward.gradient(targets)
        else:
            gradient = attributions(ruled, replace(batch, pixels=x), targets, self.average, seeds)
        maps = gradient.abs().amax(1)
        del forward  # frees its activations
        chance = [
            torch.rand(maps.shape[1:], generator=seeds.generator(photo.number, "order")) for photo in batch.photos
        ]
        with torch.no_grad():
            curves = self.curves(network, x, maps, targets, "")
            curves |= self.curves(network, x, torch.stack(chance).to(maps), targets, "random_")
        shown = (x + network.mean).cpu()
        rows = zip(batch.photos, targets, strict=True)
        rules = rule_notes(network, self.relu_rule, targets[0].layer)
        return TechniqueOutput(
            tuple(
                replace(
                    item(p, shown[i], maps[i].cpu(), curves, i, (*target_notes(p, t), *rules)),
                    prediction=of_photo(p, network, scores[i], t),
                )
                for i, (p, t) in enumerate(rows)
            )
        )

    def curves(self, network: Network, x: Tensor, maps: Tensor, targets: Sequence[Target], name: str) -> Curves:
        """The posterior (N, steps + 1) while pixels are deleted, or inserted, in the descending order of `maps`."""
        order = ranks(maps)
        blurred = blur(x, self.blur * min(x.shape[2:]))
        shares = [step / self.steps for step in range(self.steps + 1)]
        return {
            f"{name}deletion": follow(network, x, torch.zeros_like(x), order, shares, targets),
            f"{name}insertion": follow(network, blurred, x, order, shares, targets),
        }


def ranks(maps: Tensor) -> Tensor:
    """Each pixel's rank in the descending order of its map, divided by the number of pixels; (N, H, W) as `maps`."""
    flat = maps.flatten(1)
    places = flat.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (places.to(maps) / flat.shape[1]).view(maps.shape)


def follow(
    network: Network, start: Tensor, end: Tensor, order: Tensor, shares: Sequence[float], targets: Sequence[Target]
) -> Tensor:
    """The posterior (N, len(shares)) of images that have the pixels ranked below each share from `end`."""
    posteriors = [
        measure(network, torch.where(order[:, None] < share, end, start), targets, "posterior") for share in shares
    ]
    return torch.stack(posteriors, 1).cpu()


def area(curve: Tensor) -> float:
    """Area under a curve over 0..1, by the trapezoidal rule."""
    return torch.trapezoid(curve.double(), dx=1 / (len(curve) - 1)).item()


def item(photo: Photo, shown: Tensor, saliency: Tensor, curves: Curves, index: int, said: tuple[str, ...]) -> Item:
    """One photo's map and curves; no curves for a blank map, because its pixels have no order."""
    photos = Panel("photo", shown, "photo", photo.stem)
    if why := blank(saliency):
        return Item(photo.stem, photo.stem, (photos, Panel("saliency", saliency, "magnitude", blank=why)), notes=said)
    trace = {name: values[index] for name, values in curves.items()}
    areas = {f"{name}_area": area(curve) for name, curve in trace.items()}
    caption = f"deletion {areas['deletion_area']:.2f}, insertion {areas['insertion_area']:.2f}"
    panels = (photos, Panel("saliency", saliency, "magnitude", caption))
    return Item(photo.stem, photo.stem, panels, areas, trace, said)
