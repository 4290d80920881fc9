"""One panel as a picture."""

from pathlib import Path

import numpy as np
from PIL import Image

from deepinside.figures.maps import colour_map
from deepinside.values import Panel


def picture(panel: Panel, magnitude_map: str = "inferno", signed_map: str = "signed") -> np.ndarray:
    """The panel as a person sees it: (H, W, 3) uint8. NaN is drawn as zero."""
    values = np.nan_to_num(panel.values.detach().cpu().double().numpy())
    if panel.look == "photo":
        return rgb(values)
    largest = float(np.abs(values).max(initial=0)) or 1.0
    if panel.look == "colour":
        return rgb(127.5 + 127.5 * values / largest)
    if panel.look == "signed":
        return coloured(values / (2 * largest) + 0.5, signed_map)
    return coloured(values / largest, "gray" if panel.look == "mask" else magnitude_map)


def rgb(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of RGB levels 0-255, (3, H, W) or grey (1, H, W) or (H, W); what lies outside is clipped."""
    channels = np.broadcast_to(values, (3, *values.shape[-2:]))
    return np.clip(channels.transpose(1, 2, 0), 0, 255).round().astype(np.uint8)


def coloured(values: np.ndarray, name: str) -> np.ndarray:
    rgba: np.ndarray = colour_map(name)(values, bytes=True)
    return rgba[..., :3]


def save_panel(panel: Panel, path: Path, magnitude_map: str = "inferno", signed_map: str = "signed") -> None:
    """One PNG, a pixel for every value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(panel, magnitude_map, signed_map)).save(path)
