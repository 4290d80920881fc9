"""Measures of localisation for boxes and saliency maps, and the same for baselines that need no map.

Boxes are (x0, y0, x1, y1), in pixels or fractions, the same unit for all boxes of a call. Functions of a map take boxes
in the map's pixel edges. A single number misleads (an object that fills its photo is localised by the box of the whole
image), so results should be read by `size_bin` and next to the baselines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepinside.errors import DeepInsideError

Array = NDArray[np.float64]

DELTAS = (0.3, 0.5, 0.7)
"""The IoUs over which MaxBoxAccV2 averages."""
LEVELS = tuple(step / 50 for step in range(1, 50))
"""The thresholds of a map from which one is chosen, in shares of its range."""

SIZES = ("object 0–25 %", "object 25–50 %", "object 50–100 %")
"""How much of the photo its object covers; the names sort by it."""


@dataclass(frozen=True)
class Answer:
    """A predicted or annotated object: a label and its box."""

    label: str
    box: tuple[float, float, float, float]


# ---- boxes -----------------------------------------------------------------------------------------------------------


def area(boxes: ArrayLike) -> Array:
    """(N,), width times height of boxes (N, 4) or one box (4,)."""
    a = _boxes(boxes)
    return np.asarray((a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1]))


def iou(first: ArrayLike, second: ArrayLike) -> Array:
    """(N, K), 0..1: the area common to each box of `first` (N, 4) and `second` (K, 4) over the area of their union."""
    a, b = _boxes(first)[:, None], _boxes(second)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(min=0).prod(-1)
    return np.asarray(common / (area(first)[:, None] + area(second)[None] - common))


def best_iou(box: ArrayLike, truth: ArrayLike) -> float:
    """The largest IoU of `box` (4,) with the annotated boxes `truth` (K, 4); 0 if there are none."""
    return float(iou(box, truth).max(initial=0.0))


def pixel_boxes(fractions: ArrayLike, shape: tuple[int, ...]) -> Array:
    """(K, 4): boxes in fractions of width and height, in the pixel edges of a map of `shape` (h, w)."""
    return _boxes(fractions) * np.array([shape[-1], shape[-2]] * 2, dtype=np.float64)


def object_size(truth: ArrayLike, shape: tuple[int, ...] = (1, 1)) -> float:
    """Share of an image of `shape` (h, w) that the largest annotated box covers, 0..1.

    The largest box, not all together, so the whole image has IoU ≥ 0.5 exactly if this share is at least a half.
    """
    areas = area(truth)
    if not len(areas):
        raise DeepInsideError("A photo without boxes has no object size; leave it out.")
    return float(areas.max() / (shape[-1] * shape[-2]))


# ---- ILSVRC's rule ---------------------------------------------------------------------------------------------------


def localised(answers: Sequence[Answer], truth: Sequence[Answer], *, top: int = 5, threshold: float = 0.5) -> bool:
    """Whether one of the first `top` answers has an object's label and IoU of at least `threshold` with it.

    ILSVRC's rule (Russakovsky et al. 2015, Sect. 4.2): label and box must be right in the same answer; any box of the
    label counts. `answers` are in descending order of confidence. An answer with a label that is not in the photo never
    counts, so its box is not needed to compute errors.
    """
    if top < 1:
        raise DeepInsideError(f"top: expected at least 1, found {top}.")
    return any(
        answer.label == thing.label and best_iou(answer.box, thing.box) >= threshold
        for answer in answers[:top]
        for thing in truth
    )


def box_scores(boxes: Mapping[str, ArrayLike], truth: ArrayLike, *, threshold: float = 0.5) -> dict[str, float]:
    """For each named box, of the method or a baseline: `name/iou`, `name/right`, 1 if IoU ≥ threshold, and
    `name/box_accuracy`, the share of `DELTAS` that the IoU reaches.

    The class is taken as known, so only the box is measured.
    """
    overlaps = {name: best_iou(box, truth) for name, box in boxes.items()}
    scores = {f"{name}/iou": overlap for name, overlap in overlaps.items()}
    scores |= {f"{name}/right": float(overlap >= threshold) for name, overlap in overlaps.items()}
    return scores | {
        f"{name}/box_accuracy": float((overlap >= np.array(DELTAS)).mean()) for name, overlap in overlaps.items()
    }


# ---- MaxBoxAccV2 -----------------------------------------------------------------------------------------------------


def component_boxes(saliency: ArrayLike, level: float) -> Array:
    """(K, 4): the boxes of the connected pieces (8 neighbours) where the map, scaled to 0..1, is at least `level`.

    The piece of a constant map is the whole image.
    """
    from scipy import ndimage  # 0.2 s to import, and only localisation needs it

    values = _map(saliency)
    low, high = values.min(), values.max()
    mask = values >= low + level * (high - low)
    pieces = ndimage.find_objects(ndimage.label(mask, np.ones((3, 3)))[0])
    return np.array([(x.start, y.start, x.stop, y.stop) for y, x in pieces], dtype=np.float64)


def level_overlaps(saliency: ArrayLike, truth: ArrayLike, levels: Sequence[float] = LEVELS) -> Array:
    """(levels,): the largest IoU of a piece's box with an annotated box, at each threshold."""
    return np.array([iou(component_boxes(saliency, level), truth).max() for level in levels])


def best_levels(overlaps: ArrayLike, levels: Sequence[float] = LEVELS) -> tuple[float, ...]:
    """For each of `DELTAS` the threshold at which most photos reach that IoU; the lowest of equals. `overlaps` is
    (photos, levels). Choose on other photos than those that are measured."""
    hits = np.asarray(overlaps)[None] >= np.array(DELTAS)[:, None, None]
    return tuple(levels[place] for place in hits.mean(1).argmax(1))


def map_box_accuracy(saliency: ArrayLike, truth: ArrayLike, levels: Sequence[float]) -> float:
    """MaxBoxAccV2 of one photo (Choe et al. 2020): the share of `DELTAS` that a piece's box reaches, each at its own
    threshold of `levels`. The mean over photos is the measure; there the threshold is chosen on the test photos, here
    beforehand."""
    return float((level_overlaps(saliency, truth, levels) >= np.array(DELTAS)).mean())


def centre_gaussian(shape: tuple[int, ...]) -> Array:
    """(h, w): a Gaussian at the centre, its deviation a quarter of each side: the baseline of Choe et al. 2020 that
    needs no network."""
    y, x = (((np.arange(side) + 0.5) / side - 0.5) / 0.25 for side in shape)
    return np.asarray(np.exp(-0.5 * (y[:, None] ** 2 + x[None] ** 2)))


def edges(photo: ArrayLike) -> Array:
    """(h, w): the Sobel magnitude of the luminance (0 black, 1 white) of a photo (h, w, 3) of RGB values 0-255.

    An edge detector knows no class: a map that only follows edges is no explanation (Adebayo et al. 2018, Sect. 4).
    """
    from skimage.color import rgb2gray  # only localisation needs it
    from skimage.filters import sobel

    return np.asarray(sobel(rgb2gray(np.asarray(photo, dtype=np.float64) / 255)))


# ---- maps ------------------------------------------------------------------------------------------------------------


def inside(shape: tuple[int, ...], boxes: ArrayLike, *, tolerance: float = 0.0) -> NDArray[np.bool_]:
    """(h, w): which pixels have their centre in a box, or at most `tolerance` pixels from one."""
    x0, y0, x1, y1 = (edge[:, None, None] for edge in _boxes(boxes).T)
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across, down = np.maximum(x0 - x, x - x1).clip(min=0), np.maximum(y0 - y, y - y1).clip(min=0)
    return np.asarray((np.hypot(across, down) <= tolerance).any(0))


def pointing(saliency: ArrayLike, boxes: ArrayLike, *, tolerance: float = 0.0) -> float:
    """The pointing game (Zhang et al. 2016): 1 if the map's maximum is in a box, else 0.

    `tolerance` is in pixels of the map; the authors allow 15 at about 224. Of several equal maxima the share in a box
    counts, so a constant map scores like a random point.
    """
    values = _map(saliency)
    return float(inside(values.shape, boxes, tolerance=tolerance)[values == values.max()].mean())


def mass_inside(saliency: ArrayLike, boxes: ArrayLike) -> float:
    """Share of the map's sum in the boxes, 0..1: the energy-based pointing game (Wang et al. 2020).

    For a map of zeros that of a constant map.
    """
    values = _map(saliency)
    within = inside(values.shape, boxes)
    total = values.sum()
    return float(values[within].sum() / total) if total > 0 else float(within.mean())


def map_scores(saliency: ArrayLike, boxes: ArrayLike, *, tolerance: float = 0.0) -> dict[str, float]:
    """The map's `pointing` and `mass_inside`, and the same without a map.

    `pointing_centre` points at the image's centre. `area_inside` is the boxes' share of the area: the score of a random
    point and the mass of a constant map; `mass_centre` is the mass of `centre_gaussian`. `concentration` is mass over
    area, 1 for a constant map; absent if no pixel's centre is in a box.
    """
    values = _map(saliency)
    share = float(inside(values.shape, boxes).mean())
    middle = (values.shape[1] / 2, values.shape[0] / 2)
    mass = mass_inside(values, boxes)
    scores = {
        "pointing": pointing(values, boxes, tolerance=tolerance),
        "pointing_centre": float(_within(middle, boxes, tolerance)),
        "mass_inside": mass,
        "mass_centre": mass_inside(centre_gaussian(values.shape), boxes),
        "area_inside": share,
    }
    return scores | ({"concentration": mass / share} if share > 0 else {})


# ---- over many photos ------------------------------------------------------------------------------------------------


def size_bin(share: float) -> str:
    """The bin of `SIZES` of an object that covers `share` (0..1) of its photo; 25 and 50 % are in the middle bin."""
    return SIZES[0] if share < 0.25 else SIZES[1] if share <= 0.5 else SIZES[2]


def _boxes(boxes: ArrayLike) -> Array:
    array = np.asarray(boxes, dtype=np.float64)
    array = array.reshape(-1, 4) if array.size in (0, 4) else array
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise DeepInsideError(f"Boxes must be finite and of shape (K, 4), found {array.shape}.")
    if (array[:, 2:] <= array[:, :2]).any():
        raise DeepInsideError("Boxes must have x0 < x1 and y0 < y1; found one without area.")
    return array


def _map(saliency: ArrayLike) -> Array:
    values = np.asarray(saliency, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all() or (values < 0).any():
        raise DeepInsideError(f"A saliency map must be (h, w), finite and not negative, found shape {values.shape}.")
    return values


def _within(point: tuple[float, float], boxes: ArrayLike, tolerance: float) -> bool:
    array = _boxes(boxes)
    nearest = np.clip(point, array[:, :2], array[:, 2:])
    return bool((np.hypot(*(nearest - point).T) <= tolerance).any())
