"""From the numbers of single items to those of a run, and how far the maps of two variants agree."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from deepinside.values import Item, Panel

MAPS = ("magnitude", "signed", "colour")


def means(items: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over the items that have it."""
    names = dict.fromkeys(name for values in items.values() for name in values)
    return {name: float(np.mean([values[name] for values in items.values() if name in values])) for name in names}


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps of one shape, -1 to 1; 0 where one of them is constant."""
    a, b = first.flatten().numpy(), second.flatten().numpy()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


def agreement(item: Item) -> dict[str, float]:
    """Rank correlation of the first variant's maps with those of each other variant, the mean over one item's maps."""
    maps = [panel for panel in item.panels if panel.look in MAPS and "/" in panel.name]
    found: dict[str, list[float]] = {}
    for a, b, x, y in pairs(maps):
        found.setdefault(f"rank_correlation/{a}~{b}", []).append(rank_correlation(x.values, y.values))
    return {name: float(np.mean(values)) for name, values in found.items()}


def pairs(maps: Sequence[Panel]) -> Iterator[tuple[str, str, Panel, Panel]]:
    by_name: dict[str, list[tuple[str, Panel]]] = {}
    for panel in maps:
        variant, _, name = panel.name.partition("/")
        by_name.setdefault(name, []).append((variant, panel))
    for variants in by_name.values():
        first, reference = variants[0]
        for other, panel in variants[1:]:
            if panel.values.shape == reference.values.shape:
                yield first, other, reference, panel
