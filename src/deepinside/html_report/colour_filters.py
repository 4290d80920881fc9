"""Colour maps as SVG filters, which colour a greyscale picture in the browser."""

from collections.abc import Iterable

CHOICES = {
    "inferno": "inferno", "viridis": "viridis", "cividis": "cividis", "gray": "grey", "gray_r": "grey, inverted",
    "signed": "blue, white, red",
}  # fmt: skip
"""The maps offered in the viewer, with their labels."""
STEPS = 33
"""Colours per map; browsers interpolate between them."""


def filters(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The values of red, green and blue along each of the maps, for `feFuncR` and so on."""
    return {name: channels(name) for name in dict.fromkeys([*CHOICES, "mask", *names])}


def channels(name: str) -> dict[str, str]:
    import numpy as np

    from deepinside.figures.maps import colour_map

    colours = colour_map(name)(np.linspace(0, 1, STEPS))[:, :3]
    return {channel: " ".join(f"{value:.3g}" for value in colours[:, i]) for i, channel in enumerate("RGB")}
