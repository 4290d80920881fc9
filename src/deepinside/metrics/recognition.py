"""Whether networks recognise a computed image as what it should show, from the picture as a person sees it."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from deepinside.metrics.prediction import class_numbers, label_name, predict, with_predictions
from deepinside.networks.network import Network
from deepinside.types import ImageBatch, Item, Panel, TechniqueOutput

IMAGES = ("photo", "stretched")
NOT_COMPUTED = ("photo", "box", "regions", "difference")


def with_recognition(
    output: TechniqueOutput, network: Network, batch: ImageBatch, judge: Network | None
) -> TechniqueOutput:
    """The output with each item's prediction, and recognition metrics for items that should depict a class.

    A representation without classes adds nothing.
    """
    if not network.classes:
        return output
    known = with_predictions(output, network, batch)
    return replace(known, items=tuple(recognised(item, network, judge) for item in known.items))


def recognised(item: Item, network: Network, judge: Network | None) -> Item:
    """`item` with `recognised_top1`, `recognised_top5` and `clipped`; with a judge also `judge_top1`, `judge_top5`.

    Each is 1 or 0: whether the class is the first, or among the first five. A judge that does not know the class adds
    a note instead. An item without a photo also gets a prediction for its computed image, with the judge's best class.
    """
    panel = computed_image(item)
    if panel is None or (item.depicts is None and item.prediction is not None):
        return item
    image = displayed(panel)
    scores = scores_of(image, network)
    prediction = item.prediction or predict(item.title, network, scores, label=item.depicts)
    if item.depicts is None:
        return replace(item, prediction=prediction)
    metrics = {"clipped": share_clipped(image), **ranks(scores, item.depicts, network, "recognised")}
    notes = item.notes
    if judge is not None:
        judge_scores = scores_of(image, judge)
        found = ranks(judge_scores, item.depicts, judge, "judge")
        metrics |= found
        prediction = replace(prediction, judge=f"{judge.name}: {predict(item.title, judge, judge_scores).best[0]}")
        notes += () if found else (f"{judge.name} does not know the class {label_name(item.depicts, network)}",)
    return replace(item, metrics={**item.metrics, **metrics}, notes=notes, prediction=prediction)


def computed_image(item: Item) -> Panel | None:
    """The item's only computed image, if it has just one."""
    found = [panel for panel in item.panels if panel.kind in IMAGES and panel.name not in NOT_COMPUTED]
    return found[0] if len(found) == 1 else None


def displayed(panel: Panel) -> Tensor:
    """The intensities that a screen receives: a stretched image is shown from its least to its largest value."""
    if panel.kind != "stretched":
        return panel.values
    least, largest = panel.values.aminmax()
    return 255 * (panel.values - least) / (largest - least or 1)


def share_clipped(intensities: Tensor) -> float:
    """The share of values outside 0–255, which a screen cannot show."""
    return ((intensities < 0) | (intensities > 255)).double().mean().item()


def scores_of(intensities: Tensor, network: Network) -> Tensor:
    """The class scores (classes,) of an image (3, H, W) of intensities."""
    return network.scores(as_input(intensities, network))[0]


def ranks(scores: Tensor, depicts: str, network: Network, name: str) -> dict[str, float]:
    """`{name}_top1` and `{name}_top5` from class scores (classes,); empty if the class is unknown."""
    classes = class_numbers(depicts, network)
    if not classes:
        return {}
    better = int((scores > scores[classes].max()).sum())
    return {f"{name}_top1": float(better < 1), f"{name}_top5": float(better < 5)}


def as_input(intensities: Tensor, network: Network) -> Tensor:
    """(1, C, H, W): the image in eight bits and the network's size, mean-subtracted."""
    shown = intensities.round().clamp(0, 255)[None].to(network.mean)
    if shown.shape[1] != network.input.count:
        shown = shown.mean(1, keepdim=True).expand(-1, network.input.count, -1, -1)
    if tuple(shown.shape[2:]) != tuple(network.size):
        shown = F.interpolate(shown, network.size, mode="bilinear", antialias=True, align_corners=False)
    with torch.no_grad():
        return shown - network.mean
