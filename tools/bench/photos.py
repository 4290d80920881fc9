"""The photos that are measured on: parts of the photographs that scikit-image brings, the same everywhere."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deepinside.images.batches import all_batches
from deepinside.images.settings import PHOTOGRAPHS, ImageSettings
from deepinside.images.sources import listed
from deepinside.networks.spec import InputConvention

BUILD = Path("build/bench")
USUAL = (500, 375)  # what most photos of ImageNet measure


def jpegs(count: int, size: tuple[int, int] = USUAL) -> Path:
    """A folder of so many JPEGs of `size` (width, height), seeded parts of five photographs; written once."""
    folder = BUILD / f"photos-{count}-{size[0]}x{size[1]}"
    if folder.exists() and len(list(folder.glob("*.jpg"))) == count:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    whole = [Image.open(source.path).convert("RGB") for source in listed(ImageSettings(names=tuple(PHOTOGRAPHS)[:5]))]
    generator = np.random.default_rng(0)
    for index in range(count):
        cut = part(whole[index % len(whole)], size, generator)
        cut.save(folder / f"photo{index:05d}.jpg", quality=90)
    return folder


def part(image: Image.Image, size: tuple[int, int], generator: np.random.Generator) -> Image.Image:
    """A part of the image, between four tenths and all of its width and height."""
    share = generator.uniform(0.4, 1)
    width, height = (share * side for side in image.size)
    left, top = generator.uniform(0, image.width - width), generator.uniform(0, image.height - height)
    return image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))


def pixels(count: int, convention: InputConvention) -> Tensor:
    """(count, 3, H, W) zero-centred, as a network takes them."""
    settings = ImageSettings(root=str(jpegs(count)), resize="short_side_crop", batch=count)
    return torch.cat([loaded.batch.pixels for loaded in all_batches(settings, convention) if loaded.batch])
