"""Perceptually uniform colour maps that colour-blind readers can use."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap

BELOW, ZERO, ABOVE = (38.0, 12.6, -50.4), (97.0, 0.0, 0.0), (38.0, 39.8, 33.4)
"""CIELAB of the signed map: blue, near white, red. Both ends are equally dark, so greyscale shows the magnitude."""
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65
TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def colour_map(name: str) -> Colormap:
    """`signed` (blue, white, red), `mask` (black, amber) or a colour map of matplotlib."""
    return OWN[name] if name in OWN else colormaps[name]


def signed(steps: int = 256) -> Colormap:
    """From `BELOW` over `ZERO` to `ABOVE` along straight lines in CIELAB, where equal steps look equal."""
    place = np.linspace(-1, 1, steps)[:, None]
    ends = np.where(place < 0, BELOW, ABOVE)
    colours = srgb(np.array(ZERO) + np.abs(place) * (ends - np.array(ZERO)))
    return ListedColormap(colours.tolist(), name="signed")


def srgb(lab: np.ndarray) -> np.ndarray:
    """Convert (N, 3) CIELAB under D65 to sRGB in [0, 1]; colours outside sRGB are clipped."""
    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], axis=1)
    xyz = WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(xyz @ TO_RGB.T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


SIGNED = signed()
MASK = ListedColormap([(0.0, 0.0, 0.0), (1.0, 176 / 255, 0.0)], name="mask")
"""Amber is visible on white pages; a white mask of a complete photo is not."""
OWN = {"signed": SIGNED, "mask": MASK}
