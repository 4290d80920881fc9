"""Draws one panel as a picture."""

import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from deepinside.figures.maps import colour_map
from deepinside.types import Panel

PERCENTILE = 99.5
"""The default end of a map's scale; it resembles the papers' figures. 100 is the largest value."""
BOX, CASING = (255, 176, 0), (0, 0, 0)
"""A light line with a dark outline is visible on every photo, in greyscale and for colour-blind readers."""


def picture(
    panel: Panel, magnitude_map: str = "inferno", signed_map: str = "signed", percentile: float = PERCENTILE
) -> np.ndarray:
    """The panel as RGB, (H, W, 3) uint8, without its boxes. NaN is drawn as zero."""
    return np.array(image(panel, magnitude_map, signed_map, percentile).convert("RGB"))


def image(panel: Panel, magnitude_map: str, signed_map: str, percentile: float) -> Image.Image:
    """The panel as a Pillow image: mode RGB, or mode P (one byte per pixel) if it is drawn with a colour map."""
    values = np.nan_to_num(panel.values.detach().cpu().numpy())
    if panel.kind == "photo":
        return Image.fromarray(rgb(values))
    if panel.kind == "stretched":
        return Image.fromarray(rgb(stretched(values)))
    values = values.astype(np.float64)
    if panel.kind == "mask":
        return coloured(values, "mask")
    largest = end_of_scale(values, percentile)
    if panel.kind == "colour":
        return Image.fromarray(rgb(127.5 + 127.5 * values / largest))
    if panel.kind == "signed":
        return coloured(values / (2 * largest) + 0.5, signed_map)
    return coloured(values / largest, magnitude_map)


def end_of_scale(values: np.ndarray, percentile: float) -> float:
    """The absolute value of the scale's last colour: the percentile, or the largest value if the percentile is zero.

    With the largest value as the end of the scale, a single outlier would leave the map black. 1 for a map of zeros.
    """
    sizes = np.abs(values)
    if not sizes.size:
        return 1.0
    return float(np.percentile(sizes, percentile)) or float(sizes.max()) or 1.0


def scale_sentence(percentile: float) -> str:
    """A sentence on how maps are drawn, for captions and provenance."""
    if percentile == 100:
        return "Maps: the scale is linear from zero to the largest absolute value."
    return (
        f"Maps: the scale is linear from zero to percentile {percentile:g} of the absolute values; larger values take "
        "its last colour."
    )


def stretched(values: np.ndarray) -> np.ndarray:
    """`values` mapped linearly from their range to 0–255."""
    least, largest = float(values.min()), float(values.max())
    return 255 * (values - least) / ((largest - least) or 1.0)


def rgb(values: np.ndarray) -> np.ndarray:
    """Intensities as (H, W, 3) uint8, clipped to 0–255; the input is RGB (3, H, W) or grey (1, H, W) or (H, W)."""
    channels = np.broadcast_to(values, (3, *values.shape[-2:]))
    return np.clip(channels.transpose(1, 2, 0), 0, 255).round().astype(np.uint8)


def coloured(values: np.ndarray, name: str) -> Image.Image:
    """Apply a colour map to values in [0, 1], (H, W)."""
    table = colours(name)
    places = np.clip(len(table) * values, 0, len(table) - 1).astype(np.int16)
    if len(table) > 256:  # a palette has at most 256 colours; a few maps of matplotlib have more
        return Image.fromarray(table[places])
    found = Image.fromarray(places.astype(np.uint8))
    found.putpalette(table.tobytes())
    return found


@cache
def colours(name: str) -> np.ndarray:
    """The colours of a colour map, (N, 3) uint8. Indexing them is five times as fast as matplotlib."""
    known = colour_map(name)
    return known(np.arange(known.N), bytes=True)[:, :3]


def save_panel(
    panel: Panel,
    path: Path,
    magnitude_map: str = "inferno",
    signed_map: str = "signed",
    percentile: float = PERCENTILE,
) -> None:
    """Save a panel as a PNG with one pixel per value.

    A palette halves the size of a map and takes a third of the time of RGB. Boxes are drawn on photos only, because on
    a map they would look like values. Run-length compression of photos takes half the time at the same size.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = image(panel, magnitude_map, signed_map, percentile)
    if panel.kind == "photo" and panel.boxes is not None:
        draw_boxes(found, panel.boxes.tolist())
    found.save(path, compress_level=1, compress_type=zlib.Z_RLE if found.mode == "RGB" else zlib.Z_DEFAULT_STRATEGY)


def draw_boxes(picture: Image.Image, boxes: Sequence[Sequence[float]]) -> None:
    """Draw boxes (x0 y0 x1 y1, pixel edges) into a picture, with lines inside the boxes, scaled to the picture."""
    wide = max(1, round(min(picture.size) / 128))
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        x0, y0, x1, y1 = (round(edge) for edge in box)
        for colour, inset in ((CASING, wide), (BOX, 0)):
            inner = (x0 + inset, y0 + inset, max(x1 - 1 - inset, x0 + inset), max(y1 - 1 - inset, y0 + inset))
            draw.rectangle(inner, outline=colour, width=wide)
