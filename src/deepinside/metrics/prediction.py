"""What a network sees in the image of an item: its best classes, the target, and whether it is right."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from deepinside.attribution.gradients import centre_crop
from deepinside.config.paths import ROOT
from deepinside.networks.labels import read_names
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import probability
from deepinside.targets import Target, class_target
from deepinside.types import ClassProbability, ImageBatch, Photo, Prediction, TechniqueOutput

BEST = 5
"""Classes per prediction."""


def with_predictions(output: TechniqueOutput, network: Network, batch: ImageBatch) -> TechniqueOutput:
    """The output with a prediction for every item of a photo.

    Most techniques have the class scores and state the prediction themselves; the photos of the other items take one
    forward pass together.
    """
    places = {photo.stem: place for place, photo in enumerate(batch.photos)}
    names = {item.name: places[item.name] for item in output.items if item.prediction is None and item.name in places}
    if not names:
        return output
    found = predictions(network, batch, sorted(names.values()))
    items = (replace(one, prediction=found[names[one.name]]) if one.name in names else one for one in output.items)
    return replace(output, items=tuple(items))


def predictions(network: Network, batch: ImageBatch, places: Sequence[int]) -> dict[int, Prediction]:
    """The predictions for the centre crops of the photos at `places`, by one forward pass."""
    (crop,) = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), network.size)
    with torch.no_grad():
        scores = network.scores(crop.cut(batch.pixels, network.size)[list(places)]).cpu()
    return {place: of_photo(batch.photos[place], network, row) for place, row in zip(places, scores, strict=True)}


def of_photo(photo: Photo, network: Network, scores: Tensor, target: Target | None = None) -> Prediction:
    """The prediction for a photo from its class scores (classes,)."""
    return predict(photo.stem, network, scores, target, photo.label or photo.depicts)


def predict(
    image: str, network: Network, scores: Tensor, target: Target | None = None, label: str | None = None
) -> Prediction:
    """The prediction for an image from its class scores (classes,): the five best classes, falling.

    `target` is what was differentiated, if anything; `label` the true class's WordNet id or name, if known. `right` is
    None if the network has no such class.
    """
    best = scores.topk(min(BEST, len(scores))).indices.tolist()
    own = class_numbers(label, network) if label else []
    return Prediction(
        image,
        tuple(class_probability(class_target(index, network), network, scores) for index in best),
        class_probability(target, network, scores) if target is not None else None,
        written(target, network) if target is not None else None,
        label,
        label_name(label, network) if label else None,
        best[0] in own if own else None,
    )


def class_probability(target: Target, network: Network, scores: Tensor) -> ClassProbability:
    """Score and probability of a target; None for both if it is a unit. The index is that of a single class."""
    if target.layer != network.target:
        return ClassProbability(target.name)
    index = target.channels[0] if len(target.channels) == 1 else None
    score = scores[list(target.channels)].mean().item()
    return ClassProbability(target.name, index, score, probability(scores, target, network.posterior))


def written(target: Target, network: Network) -> str:
    """How to ask for a target: a class's WordNet id, else the name."""
    single = target.layer == network.target and len(target.channels) == 1 and network.labels
    return (network.labels[target.channels[0]].wnid if single else "") or target.name


def class_numbers(label: str, network: Network) -> list[int]:
    """The indices of the classes with this WordNet id or name."""
    return [number for number, known in enumerate(network.labels) if label in (known.wnid, known.name)]


def label_name(label: str, network: Network) -> str:
    """The name of a labelled class: the network's, else ImageNet's for a WordNet id, else the label itself."""
    own = class_numbers(label, network)
    return network.labels[own[0]].name if own else imagenet_names().get(label, label)


@cache
def imagenet_names() -> dict[str, str]:
    """The names of ImageNet's 1000 classes by WordNet id."""
    return dict(read_names(ROOT / "conf_models" / "labels" / "imagenet_1000.txt"))
