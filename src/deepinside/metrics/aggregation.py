"""From the numbers of single items to those of a run; how far maps of variants agree, and pictures with the photo."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from deepinside.metrics.intervals import Interval, mean_interval
from deepinside.metrics.similarity import rank_correlation
from deepinside.types import Item, Panel

BLANK = "blank_maps"
"""An item's number of maps that tell nothing (`Panel.blank`), where it has any; it has no mean."""
MAPS = ("magnitude", "signed", "colour")
RECONSTRUCTION = "reconstruction_"
"""How the name of a panel begins that is meant to look like its item's `photo`."""
BEST_PSNR = 100.0
NAMED = 6
"""Items with blank maps that are named."""


def means(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of every metric (items,) over the items that have it; NaN stands where one has not."""
    there = {name: values[~np.isnan(values)] for name, values in columns.items() if name != BLANK}
    return {name: float(values.mean()) for name, values in there.items() if len(values)}


def means_by_group(columns: Mapping[str, np.ndarray], groups: Sequence[str | None]) -> dict[str, dict[str, float]]:
    """The means over the items of each group, with `count`, their number; `groups` names every item's, if it has one.

    Methods and baselines are metrics of the same items, so they stand side by side over the same photos.
    """
    return {
        group: {"count": float(those.sum()), **means({name: values[those] for name, values in columns.items()})}
        for group, those in members(groups).items()
    }


def intervals_by_group(
    columns: Mapping[str, np.ndarray], groups: Sequence[str | None]
) -> dict[str, dict[str, Interval]]:
    """The 95 % intervals of those means, where enough items of a group have the metric (`mean_interval`)."""
    found = {
        group: {name: mean_interval(values[those & ~np.isnan(values)]) for name, values in columns.items()}
        for group, those in members(groups).items()
    }
    return {
        group: {name: one for name, one in intervals.items() if one is not None and name != BLANK}
        for group, intervals in found.items()
    }


def members(groups: Sequence[str | None]) -> dict[str, np.ndarray]:
    """(items,) by group: which items belong to it."""
    return {group: np.array([other == group for other in groups]) for group in sorted(filter(None, set(groups)))}


def numbers(item: Item) -> dict[str, float]:
    """All of one item's numbers: the technique's, how far its variants agree, how far its pictures are the photo."""
    count = sum(bool(panel.blank) for panel in item.panels)
    return {**item.metrics, **agreement(item), **fidelity(item), **({BLANK: float(count)} if count else {})}


def blank_note(names: Sequence[str | None], columns: Mapping[str, np.ndarray]) -> list[str]:
    """The sentence on blank maps, if there are any: how many, of which items, and that they are left out."""
    if BLANK not in columns:
        return []
    those = [str(name) for name, count in zip(names, columns[BLANK], strict=True) if not np.isnan(count)]
    further = f" and {len(those) - NAMED} more" if len(those) > NAMED else ""
    return [
        f"{int(np.nansum(columns[BLANK]))} maps, of {len(those)} of {len(names)} items, tell nothing (zero everywhere, "
        f"constant, or the posterior is saturated): {', '.join(those[:NAMED])}{further}; numbers and claims leave them "
        "out."
    ]


def agreement(item: Item) -> dict[str, float]:
    """Rank correlation of the first variant's maps with those of each other variant, the mean over one item's maps.

    Blank maps are left out: they have no order.
    """
    maps = [panel for panel in item.panels if panel.kind in MAPS and "/" in panel.name]
    found: dict[str, list[float]] = {}
    for a, b, x, y in pairs(maps):
        found.setdefault(f"rank_correlation/{a}~{b}", []).append(rank_correlation(x.values, y.values))
    return {name: float(np.mean(values)) for name, values in found.items()}


def fidelity(item: Item) -> dict[str, float]:
    """How far each panel `reconstruction_NAME` looks like the item's photo: `NAME/psnr` in dB and `NAME/ssim`.

    As a person sees them, values clamped to 0-255. PSNR is at most 100, for pictures (almost) the same; SSIM (Wang et
    al. 2004) is 1 for the same picture and near 0 for unrelated ones.
    """
    photo = next((panel.values for panel in item.panels if panel.name == "photo"), None)
    found: dict[str, float] = {}
    for panel in item.panels:
        variant, slash, name = panel.name.rpartition("/")
        if photo is not None and name.startswith(RECONSTRUCTION) and panel.values.shape == photo.shape:
            stem = f"{variant}{slash}{name.removeprefix(RECONSTRUCTION)}"
            found |= {f"{stem}/{measure}": value for measure, value in likeness(photo, panel.values).items()}
    return found


def likeness(photo: Tensor, other: Tensor) -> dict[str, float]:
    """PSNR and SSIM of two pictures (C, H, W) of pixel values 0-255, H and W at least 7."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # takes a second, and few runs need it

    a, b = (values.double().clamp(0, 255).numpy() for values in (photo, other))
    psnr = BEST_PSNR if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=255)
    ssim = structural_similarity(a, b, data_range=255, channel_axis=0)
    return {"psnr": min(float(psnr), BEST_PSNR), "ssim": float(ssim)}


def pairs(maps: Sequence[Panel]) -> Iterator[tuple[str, str, Panel, Panel]]:
    by_name: dict[str, list[tuple[str, Panel]]] = {}
    for panel in maps:
        variant, _, name = panel.name.partition("/")
        by_name.setdefault(name, []).append((variant, panel))
    for variants in by_name.values():
        first, reference = variants[0]
        for other, panel in variants[1:]:
            if panel.values.shape == reference.values.shape and not (panel.blank or reference.blank):
                yield first, other, reference, panel
