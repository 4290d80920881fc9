"""Searches GraphCut's settings by cross-validation on photos that are not used for measuring; prints a Markdown table.

    python tools/localisation_settings.py images=tiny_imagenet images.split=train
    python tools/localisation_settings.py --per-class 2 images=tiny_imagenet images.split=train

The words are those of `deepinside`. Of each class some photos are taken, chosen by a hash of their names. Every
setting of GRID cuts every photo. With five folds, the photos of each are answered by the setting that is best on the
other four; `default` answers the same photos, so the difference is what the search would bring on new photos.

The best setting has the largest mean, over the sizes of objects, of the share of right boxes (IoU of at least 0.5, the
class being given). Over all photos alike, large objects would decide, for which the whole photo is a right box.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from localisation_levels import FOLDS, PER_CLASS, maps_of_classes
from localisation_table import cell

from deepinside.config.composition import compose_dict
from deepinside.experiment.schema import Experiment, read_experiment
from deepinside.networks.load import load
from deepinside.segmentation import boxes as scoring
from deepinside.techniques.localisation import Localisation, observe
from deepinside.types import Seeds

GRID = {
    "foreground": (0.9, 0.95),
    "background": (0.3, 0.5),
    "smoothness": (50.0, 150.0),
    "foreground_seeds": (0.995, None),
    "least_mass": (0.0, 0.7),
}
"""The values to try. The background's seeds come and go with the foreground's."""


@dataclass(frozen=True)
class Answers:
    """`right` (photos, settings): 1 if a setting's box is right, else 0; `sizes` (photos,) of the objects."""

    right: np.ndarray
    sizes: np.ndarray


def settings_of(default: Localisation) -> list[Localisation]:
    """The default, then every other combination of GRID."""
    found = [default]
    for values in product(*GRID.values()):
        one = replace(default, **dict(zip(GRID, values, strict=True)))  # type: ignore[arg-type]
        found.append(replace(one, background_seeds=one.foreground_seeds and default.background_seeds))
    return list(dict.fromkeys(found))


def answers(experiment: Experiment, settings: Sequence[Localisation], per_class: int) -> Answers:
    """Cut the chosen photos with every setting, by the map of each photo's own class."""
    network, seeds = load(experiment.network), Seeds(experiment.seed)
    rows, sizes = [], []
    for photo, saliency in maps_of_classes(experiment, network, per_class):
        scene = observe(network, photo, torch.zeros(0), seeds)
        if len(scene.truth):
            found = [one.segmented(scene, saliency).box for one in settings]
            rows.append([scoring.best_iou(box, scene.truth) >= 0.5 for box in found])
            sizes.append(scoring.size_bin(scoring.object_size(scene.truth, tuple(saliency.shape))))
    return Answers(np.array(rows, dtype=np.float64), np.array(sizes))


def scores(known: Answers) -> np.ndarray:
    """(settings,): the share of right boxes, the mean over the sizes that there are."""
    return np.mean([known.right[known.sizes == size].mean(0) for size in np.unique(known.sizes)], 0)


def cross_validated(known: Answers) -> np.ndarray:
    """(photos,): whether each photo's box is right by the setting that is best on the other folds."""
    fold = np.arange(len(known.sizes)) % FOLDS
    best = [int(scores(Answers(known.right[fold != k], known.sizes[fold != k])).argmax()) for k in range(FOLDS)]
    return known.right[np.arange(len(fold)), np.array(best)[fold]]


def table(known: Answers, settings: Sequence[Localisation]) -> str:
    """The table: share of right boxes by size, of the default, of the search, and of the best setting in hindsight."""
    best = int(scores(known).argmax())
    default, searched = known.right[:, 0], cross_validated(known)
    lines = {
        "default": default,
        "searched, cross-validated": searched,
        "searched minus default": searched - default,
        f"best on these photos: {differences(settings[0], settings[best])}": known.right[:, best],
    }
    parts = {size: known.sizes == size for size in np.unique(known.sizes)} | {"all": known.sizes != ""}
    heads = ["right boxes, %", *(f"{size} ({those.sum()})" for size, those in parts.items())]
    body = [[name, *(cell(values[those]) for those in parts.values())] for name, values in lines.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, ["---"] * len(heads), *body])


def differences(default: Localisation, other: Localisation) -> str:
    """The settings that differ, as words of the command line."""
    names = (*GRID, "background_seeds")
    changed = [name for name in names if getattr(default, name) != getattr(other, name)]
    words = (f"technique.{name}={'null' if (value := getattr(other, name)) is None else value}" for name in changed)
    return f"`{' '.join(words)}`" if changed else "the default"


def main(words: Sequence[str]) -> None:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--per-class", type=int, default=PER_CLASS, help="photos of each class (%(default)s)")
    asked, further = parser.parse_known_args(words)
    experiment = read_experiment(compose_dict(["experiment=localisation_error", *further]))
    (default,) = experiment.techniques.values()
    settings = settings_of(default)
    print(table(answers(experiment, settings, asked.per_class), settings))


if __name__ == "__main__":
    main(sys.argv[1:])
