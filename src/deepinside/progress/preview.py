"""Previews: the current images of an optimisation."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from deepinside.networks.spec import InputConvention
from deepinside.optimisation.callbacks import Step
from deepinside.progress.observer import Observer, Seldom

MOST, SIDE, GAP = 24, 128, 4
"""Images per preview, the minimum width of each in pixels, and the gap between them."""


class Preview(Observer):
    """Writes `preview.png` into a folder periodically and atomically; a full disk does not stop the run."""

    def __init__(self, convention: InputConvention, folder: Path, seconds: float) -> None:
        super().__init__()
        self.convention, self.folder, self.seldom = convention, folder, Seldom(seconds)

    def step(self, now: Step) -> None:
        if self.seldom.now():
            with suppress(OSError):
                self.write(preview_grid(now.images, self.convention))

    def write(self, pixels: np.ndarray) -> None:
        temporary = self.folder / f"preview.{os.getpid()}"
        Image.fromarray(pixels).save(temporary, format="PNG")
        temporary.replace(self.folder / "preview.png")


def preview_grid(images: Tensor, convention: InputConvention) -> np.ndarray:
    """The first images of a batch (N, C, H, W) in a near-square grid, (H, W, 3) uint8."""
    levels = convention.to_pixels(images[:MOST].detach().cpu()).permute(0, 2, 3, 1).numpy()
    count, height, width, _ = levels.shape
    scale = max(1, SIDE // width)
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    tall, wide = height * scale + GAP, width * scale + GAP
    pixels = np.full((rows * tall - GAP, columns * wide - GAP, 3), 255, np.uint8)
    for i, picture in enumerate(levels):
        y, x = i // columns * tall, i % columns * wide
        pixels[y : y + tall - GAP, x : x + wide - GAP] = picture.repeat(scale, 0).repeat(scale, 1)
    return pixels
