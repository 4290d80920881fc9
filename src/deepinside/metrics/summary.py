"""From the numbers of single items to those of a run; how far maps of variants agree, and pictures with the photo."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from deepinside.maths.similarity import rank_correlation
from deepinside.values import Item, Panel

MAPS = ("magnitude", "signed", "colour")
RECONSTRUCTION = "reconstruction_"
"""How the name of a panel begins that is meant to look like its item's `photo`."""
BEST_PSNR = 100.0


def means(items: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of every metric over the items that have it."""
    names = dict.fromkeys(name for values in items.values() for name in values)
    return {name: float(np.mean([values[name] for values in items.values() if name in values])) for name in names}


def means_by_group(items: Mapping[str, Mapping[str, float]], groups: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The means over the items of each group, with `count`, their number; `groups` maps an item's name to its group.

    Methods and baselines are metrics of the same items, so they stand side by side over the same photos.
    """
    members: dict[str, dict[str, Mapping[str, float]]] = {group: {} for group in sorted(set(groups.values()))}
    for name, group in groups.items():
        members[group][name] = items[name]
    return {group: {"count": float(len(those)), **means(those)} for group, those in members.items()}


def agreement(item: Item) -> dict[str, float]:
    """Rank correlation of the first variant's maps with those of each other variant, the mean over one item's maps."""
    maps = [panel for panel in item.panels if panel.look in MAPS and "/" in panel.name]
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
            if panel.values.shape == reference.values.shape:
                yield first, other, reference, panel
