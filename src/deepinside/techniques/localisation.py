"""From the saliency map to the object: a mask and a box, without box supervision (Simonyan et al. 2013, Sect. 3.2).

If there are box annotations, the boxes are scored together with network-free baselines.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.gradients import Crop, ForwardPass, centre_crop, ten_crops
from deepinside.attribution.relu_rules import ReluRule, check_rule, rule_notes, with_rule
from deepinside.config.settings import STRICT
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank
from deepinside.networks.network import Network
from deepinside.segmentation import boxes as scoring
from deepinside.segmentation import graph_cut
from deepinside.segmentation.boxes import Answer
from deepinside.segmentation.graph_cut import Box, Segmentation
from deepinside.targets import Target, TargetRequest, check, for_batch, label_class, target_notes
from deepinside.techniques.saliency import Saliency
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput, safe_name

Share = Annotated[float, Field(gt=0, le=1)]
TOPS = (1, 5)
"""ILSVRC counts a photo as right if one of the first so many answers is."""
RED, BLUE, CYAN = (255.0, 0.0, 0.0), (0.0, 0.0, 255.0), (0.0, 255.0, 255.0)
"""The paper's Fig. 3: pixels of no colour model, of the foreground's, of the background's."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Localisation:
    """Saliency map, colour models of its most and least salient pixels, one GraphCut, one connected piece, box.

    `target` is a class or group (see `deepinside.targets`): "top5" segments five objects per photo, "true | top1" that
    of the photo's own class if it is known. The two colour models, of `components` Gaussians each, are fitted to the
    pixels above the quantile `foreground` and below the quantile `background` of the map. `smoothness` is GraphCut's
    weight, for a shorter side of 256 pixels. Constraints keep the cut from collapsing to a pixel (see
    `graph_cut.Constraints`): pixels above the quantile `foreground_seeds` are object, those below `background_seeds`
    are not (null: no such seeds); the smoothness is halved until the mask holds `least_mass` of the map on the pixels
    of the foreground's colour model. `piece` "salient" keeps the connected component with most of the map, "largest"
    that with most pixels. `threshold` is the quantile whose bounding box is the baseline without colours; `usual_size`
    is the width and height, as shares of the photo's, of the centred and the random box. `map_levels` and
    `centre_levels` are the thresholds of MaxBoxAccV2 for the IoUs 0.3, 0.5 and 0.7, as shares of the map's range, for
    the map and for a Gaussian at the centre; tools/localisation_levels.py chooses them on other photos.

    In photos with boxes their own class is segmented too, and the metrics are about it: a box of another class can
    never be right (ILSVRC's rule), so no other class is needed for the localisation error.
    """

    target: TargetRequest = "top1"
    crops: Literal["centre", "ten"] = "centre"
    relu_rule: ReluRule = "gradient"
    foreground: Share = 0.95
    background: Share = 0.30
    components: PositiveInt = 5
    smoothness: float = Field(default=150.0, ge=0, allow_inf_nan=False)
    foreground_seeds: Share | None = 0.995
    background_seeds: Share | None = 0.005
    least_mass: float = Field(default=0.7, ge=0, le=1)
    piece: Literal["salient", "largest"] = "salient"
    threshold: Share = 0.95
    usual_size: tuple[Share, Share] = (0.72, 0.68)
    map_levels: tuple[Share, Share, Share] = (0.14, 0.12, 0.08)
    centre_levels: tuple[Share, Share, Share] = (0.36, 0.3, 0.16)

    @model_validator(mode="after")
    def _quantiles_are_in_order(self) -> Self:
        if self.background >= self.foreground:
            raise ValueError(f"background must be below foreground={self.foreground}, is {self.background}")
        if (self.background_seeds or 0) >= (self.foreground_seeds or 1):
            raise ValueError(f"background_seeds must be below foreground_seeds, is {self.background_seeds}")
        return self

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have the target, or the rule has no ReLU to act on."""
        target = check(self.target, network)
        check_rule(network, self.relu_rule, [network.target if target is None else target.layer])

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo and class: the photo with the predicted box, the map with the annotated boxes, the pixels
        of the two colour models, the mask. With several classes per photo, the item's name ends in the class."""
        if not len(batch):
            return TechniqueOutput(())
        ruled = network if self.relu_rule == "gradient" else with_rule(network, self.relu_rule)[0]
        (middle,) = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), network.size)
        forward = ForwardPass(
            ruled, middle.cut(batch.pixels, network.size), [network.target]
        )  # a rule changes no score
        scores = forward.scores.cpu()
        targets = self.targets(network, batch, scores)
        maps = self.maps(forward, middle, batch.pixels, targets)
        del forward  # frees its activations
        rows = zip(batch.photos, targets, maps, scores, strict=True)
        items = [
            item
            for photo, found, shown, row in rows
            for item in self.items(network, observe(network, photo, row, seeds), found, shown)
        ]
        notes = rule_notes(network, self.relu_rule, targets[0][0].layer)
        return TechniqueOutput(tuple(replace(one, notes=(*one.notes, *notes)) for one in items), self.deviations(batch))

    def targets(self, network: Network, batch: ImageBatch, scores: Tensor) -> list[list[Target]]:
        """By photo: the requested targets, and its own class if it has boxes in the network's view."""
        found = for_batch(self.target, network, batch, scores)
        own = [own_class(network, photo) for photo in batch.photos]
        return [row if one is None or one in row else [*row, one] for row, one in zip(found, own, strict=True)]

    def maps(
        self, forward: ForwardPass, middle: Crop, pixels: Tensor, targets: Sequence[Sequence[Target]]
    ) -> list[list[Tensor]]:
        """By photo: the map (H, W) of every target. `forward` is the forward pass of the `middle` crop."""
        saliency, net = Saliency(), forward.network
        crops = (ten_crops if self.crops == "ten" else centre_crop)((pixels.shape[2], pixels.shape[3]), net.size)
        everywhere = list(zip(*targets, strict=False))  # as many as every photo has; the rest is some photos' own
        known = saliency.known_maps(forward, middle, everywhere)
        maps = zip(*saliency.averaged(net, pixels, everywhere, crops, known), strict=True)
        found = [[one.cpu() for one in of_photo] for of_photo in maps]
        further = [(place, target) for place, row in enumerate(targets) for target in row[len(everywhere) :]]
        if further:
            places, others = zip(*further, strict=True)
            for place, one in zip(places, saliency.maps(net, pixels[list(places)], others, crops), strict=True):
                found[place].append(one.cpu())
        return found

    def items(
        self, network: Network, scene: "Scene", targets: Sequence[Target], maps: Sequence[Tensor]
    ) -> Iterator[Item]:
        for number, (target, saliency) in enumerate(zip(targets, maps, strict=True), 1):
            cut = self.segmented(scene, saliency)
            stem = scene.photo.stem
            name = stem if len(targets) == 1 else f"{stem}_{number}_{safe_name(target.name)}"
            prediction = of_photo(scene.photo, network, scene.scores, target)
            yield replace(self.item(name, scene, target, saliency, cut), prediction=prediction)

    def segmented(self, scene: "Scene", saliency: Tensor) -> Segmentation:
        """Mask and box of the object that the map (H, W) points at."""
        return graph_cut.segment(
            scene.levels.byte().permute(1, 2, 0).contiguous().numpy(),
            saliency.numpy(),
            foreground_quantile=self.foreground,
            background_quantile=self.background,
            components=self.components,
            smoothness=self.smoothness,
            constraints=self.constraints,
            seed=scene.seed,
        )

    @property
    def constraints(self) -> graph_cut.Constraints:
        return graph_cut.Constraints(self.foreground_seeds, self.background_seeds, self.least_mass, self.piece)

    def item(self, name: str, scene: "Scene", target: Target, saliency: Tensor, cut: Segmentation) -> Item:
        marked = len(scene.truth) > 0 and target == scene.own
        shape = (saliency.shape[0], saliency.shape[1])
        boxes = {
            "graph_cut": cut.box,
            "threshold": graph_cut.threshold_box(saliency.numpy(), level=self.threshold),
            **graph_cut.baselines(shape, size=self.usual_size, seed=scene.seed),
        }
        numbers = {"mask_share": float(cut.mask.mean()), "found": float(cut.found)}
        if marked and not blank(saliency):
            numbers |= scores_of_boxes(scene, boxes) | scoring.map_scores(saliency.numpy(), scene.truth)
            numbers["mass_edges"] = scoring.mass_inside(scoring.edges(scene.levels.permute(1, 2, 0)), scene.truth)
            numbers |= self.box_accuracies(saliency, scene.truth)
        return Item(
            name,
            name,
            tuple(self.panels(scene, target, saliency, cut, marked=marked)),
            numbers,
            notes=target_notes(scene.photo, target),
            group=scoring.size_bin(numbers["object_share"]) if "object_share" in numbers else None,
        )

    def box_accuracies(self, saliency: Tensor, truth: Tensor) -> dict[str, float]:
        """MaxBoxAccV2 of the map and of the Gaussian at the centre, at thresholds that were chosen beforehand."""
        centre = scoring.centre_gaussian(tuple(saliency.shape))
        return {
            "map/box_accuracy": scoring.map_box_accuracy(saliency.numpy(), truth, self.map_levels),
            "centre_gaussian/box_accuracy": scoring.map_box_accuracy(centre, truth, self.centre_levels),
        }

    def panels(
        self, scene: "Scene", target: Target, saliency: Tensor, cut: Segmentation, *, marked: bool
    ) -> Iterator[Panel]:
        """The four pictures of the paper's Fig. 3."""
        said = f"IoU {scoring.best_iou(cut.box, scene.truth):.2f}" if marked else ""
        yield Panel("box", scene.levels, "photo", said, torch.tensor([cut.box]))
        yield Panel("saliency", saliency, "magnitude", target.name, scene.truth if marked else None, blank(saliency))
        yield Panel("regions", self.regions(saliency), "photo")
        size = f"{cut.mask.mean():.0%} of the photo" if cut.found else "no object found: the whole photo"
        yield Panel("mask", torch.from_numpy(cut.mask).float(), "mask", size)

    def regions(self, saliency: Tensor) -> Tensor:
        """(3, H, W) RGB: blue where pixels make the foreground's colour model, cyan the background's, red neither."""
        salient, rest = graph_cut.most_and_least(
            saliency.numpy(), foreground=self.foreground, background=self.background
        )
        picture = torch.tensor(RED)[:, None, None].repeat(1, *saliency.shape)
        for mask, colour in ((salient, BLUE), (rest, CYAN)):
            picture[:, torch.from_numpy(mask)] = torch.tensor(colour)[:, None]
        return picture

    def deviations(self, batch: ImageBatch) -> tuple[str, ...]:
        """Deviations from the paper, one sentence each."""
        side = min(batch.pixels.shape[2:])
        said = {
            f"photos are cut up at a shorter side of {side} pixels, not the authors' 256": side != 256,
            f"the ReLUs use the rule {self.relu_rule}, not gradient": (self.relu_rule != "gradient"),
            "one centre crop, not the average of ten": self.crops != "ten",
            "the most and the least salient pixels are tied to the object and to the background beforehand": (
                (self.foreground_seeds, self.background_seeds) != (None, None)
            ),
            f"the smoothness is halved until the mask holds {self.least_mass:.0%} of the map's mass on the pixels of "
            "the foreground's colour model": self.least_mass > 0,
            "the object is the connected piece with most of the map's mass, not the largest": self.piece != "largest",
            f"the colour models are fitted above the {self.foreground:.0%} and below the {self.background:.0%} "
            "quantile, not 95 % and 30 %": (self.foreground, self.background) != (0.95, 0.30),
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class Scene:
    """One photo as it is cut up: `levels` (3, H, W) RGB 0-255, whole numbers; its `own` class and the `truth` boxes
    (K, 4) in pixel edges of `levels`, none without annotations; its class `scores` (classes,)."""

    photo: Photo
    levels: Tensor
    own: Target | None
    truth: Tensor
    scores: Tensor
    seed: int


def observe(network: Network, photo: Photo, scores: Tensor, seeds: Seeds) -> Scene:
    """The scene of a photo; `scores` (classes,)."""
    levels = network.input.to_pixels(photo.pixels).cpu().float()
    height, width = levels.shape[1:]
    return Scene(
        photo,
        levels.expand(3, -1, -1),
        own_class(network, photo),
        photo.boxes_in_view() * torch.tensor([width, height] * 2),
        scores,
        seeds.generator(photo.number, "localisation").initial_seed() % 2**32,
    )


def own_class(network: Network, photo: Photo) -> Target | None:
    """The photo's own class where somebody marked its object and some of that is in view.

    Raises DeepInsideError where the network does not know the class.
    """
    return label_class(photo.label, network) if photo.label is not None and len(photo.boxes_in_view()) else None


def scores_of_boxes(scene: Scene, boxes: Mapping[str, Box]) -> dict[str, float]:
    """`object_share`, and for each way to find a box its IoU, whether it is right with the class given (IoU ≥ 0.5),
    and whether class and box are wrong among the first and the first five answers."""
    found = {"object_share": scoring.object_size(scene.truth, tuple(scene.levels.shape[1:]))}
    found |= scoring.box_scores(boxes, scene.truth)
    for name, box in boxes.items():
        found |= {f"{name}/top{top}_error": float(not is_right(scene, box, top)) for top in TOPS}
    return found


def is_right(scene: Scene, box: Box, top: int) -> bool:
    """ILSVRC's rule. Answers of other classes count as wrong whatever their box, so they are given the same one."""
    own = scene.own.channels if scene.own is not None else ()
    ranking = scene.scores.argsort(descending=True, stable=True)[:top].tolist()
    answers = [Answer("own" if index in own else str(index), box) for index in ranking]
    truth = [Answer("own", (x0, y0, x1, y1)) for x0, y0, x1, y1 in scene.truth.tolist()]
    return scoring.localised(answers, truth, top=top)
