"""Chooses the thresholds of MaxBoxAccV2 on photos that are not used for measuring, and prints them.

    python tools/localisation_levels.py images=tiny_imagenet images.split=train

The words are those of `deepinside`. Of each class PER_CLASS photos are taken, chosen by a hash of their names. The
second number is the accuracy on these photos; with five folds, each measured at the thresholds of the other four, the
third shows what choosing on them adds.
"""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from deepinside.attribution.gradients import image_gradient
from deepinside.config.composition import compose_dict
from deepinside.experiment.schema import Experiment, read_experiment
from deepinside.images.batches import batches, slices
from deepinside.images.sources import Source, listed
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.segmentation import boxes as scoring
from deepinside.targets import label_class
from deepinside.types import Photo

PER_CLASS = 10
FOLDS = 5


def digest(name: str) -> int:
    """A number that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def chosen(sources: Sequence[Source], per_class: int = PER_CLASS) -> list[Source]:
    """The photos with boxes, `per_class` of each class: those whose names have the smallest hashes."""
    by_class = defaultdict(list)
    for source in sorted(sources, key=lambda one: digest(one.name)):
        if source.objects is not None and len(by_class[source.label]) < per_class:
            by_class[source.label].append(source)
    return [source for row in by_class.values() for source in row]


def maps_of_classes(
    experiment: Experiment, network: Network, per_class: int = PER_CLASS
) -> Iterator[tuple[Photo, Tensor]]:
    """The chosen photos, each with the saliency map (H, W) of its own class."""
    photos = chosen(listed(experiment.images, experiment.network), per_class)
    numbers = slices(len(photos), experiment.images.batch)
    for _, batch, _ in batches(photos, numbers, experiment.images, network.input):
        if batch is not None:
            targets = [label_class(photo.label or "", network) for photo in batch.photos]
            maps = image_gradient(network, batch.pixels, targets).abs().amax(1)
            yield from zip(batch.photos, maps, strict=True)


def overlaps(words: Sequence[str]) -> dict[str, np.ndarray]:
    """(photos, levels) for the saliency map of each photo's own class, and for the Gaussian at the centre."""
    experiment = read_experiment(compose_dict(["experiment=localisation_error", *words]))
    found: dict[str, list[np.ndarray]] = {"map_levels": [], "centre_levels": []}
    for photo, saliency in maps_of_classes(experiment, load(experiment.network)):
        truth = scoring.pixel_boxes(photo.boxes_in_view(), tuple(saliency.shape))
        if len(truth):
            centre = scoring.centre_gaussian(tuple(saliency.shape))
            found["map_levels"].append(scoring.level_overlaps(saliency.numpy(), truth))
            found["centre_levels"].append(scoring.level_overlaps(centre, truth))
    return {name: np.array(rows) for name, rows in found.items()}


def accuracy(table: np.ndarray, levels: Sequence[float]) -> float:
    """MaxBoxAccV2 of (photos, levels) at the thresholds, one for each IoU."""
    places = [scoring.LEVELS.index(level) for level in levels]
    return float((table[:, places] >= np.array(scoring.DELTAS)).mean())


def cross_validated(table: np.ndarray) -> float:
    """The accuracy of every fifth of the photos at the thresholds of the others."""
    fold = np.arange(len(table)) % FOLDS
    return float(np.mean([accuracy(table[fold == k], scoring.best_levels(table[fold != k])) for k in range(FOLDS)]))


def main(words: Sequence[str]) -> None:
    for name, table in overlaps(words).items():
        levels = scoring.best_levels(table)
        print(
            f"{name}: {list(levels)}  # {len(table)} photos, MaxBoxAccV2 {accuracy(table, levels):.1%}, "
            f"cross-validated {cross_validated(table):.1%}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
