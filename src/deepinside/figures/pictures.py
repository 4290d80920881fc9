"""One panel as a picture."""

import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from deepinside.figures.maps import colour_map
from deepinside.values import Panel


def picture(panel: Panel, magnitude_map: str = "inferno", signed_map: str = "signed") -> np.ndarray:
    """The panel as a person sees it: (H, W, 3) uint8. NaN is drawn as zero."""
    return np.array(image(panel, magnitude_map, signed_map).convert("RGB"))


def image(panel: Panel, magnitude_map: str, signed_map: str) -> Image.Image:
    """The same as a Pillow image: of mode RGB, or of mode P, a byte a pixel, where a colour map
    gives the colours."""
    values = np.nan_to_num(panel.values.detach().cpu().numpy())
    if panel.look == "photo":
        return Image.fromarray(rgb(values))
    values = values.astype(np.float64)
    largest = float(np.abs(values).max(initial=0)) or 1.0
    if panel.look == "colour":
        return Image.fromarray(rgb(127.5 + 127.5 * values / largest))
    if panel.look == "signed":
        return coloured(values / (2 * largest) + 0.5, signed_map)
    return coloured(values / largest, "gray" if panel.look == "mask" else magnitude_map)


def rgb(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of RGB levels 0-255, (3, H, W) or grey (1, H, W) or (H, W); what lies outside is clipped."""
    channels = np.broadcast_to(values, (3, *values.shape[-2:]))
    return np.clip(channels.transpose(1, 2, 0), 0, 255).round().astype(np.uint8)


def coloured(values: np.ndarray, name: str) -> Image.Image:
    """The colours that a colour map gives to values 0-1, (H, W)."""
    table = colours(name)
    places = np.clip(len(table) * values, 0, len(table) - 1).astype(np.int16)
    if len(table) > 256:  # more than a palette holds; matplotlib has a few such maps
        return Image.fromarray(table[places])
    found = Image.fromarray(places.astype(np.uint8))
    found.putpalette(table.tobytes())
    return found


@cache
def colours(name: str) -> np.ndarray:
    """(N, 3) uint8: a colour map's colours, with which a map is drawn in a fifth of the time it takes matplotlib."""
    known = colour_map(name)
    return known(np.arange(known.N), bytes=True)[:, :3]


def save_panel(panel: Panel, path: Path, magnitude_map: str = "inferno", signed_map: str = "signed") -> None:
    """One PNG, a pixel for every value; a map with its palette takes half the bytes and a third of the time of RGB.

    In photos nothing repeats but runs: to look for no more takes half the time and comes to no more bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = image(panel, magnitude_map, signed_map)
    found.save(path, compress_level=1, compress_type=zlib.Z_RLE if found.mode == "RGB" else zlib.Z_DEFAULT_STRATEGY)
