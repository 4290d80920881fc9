"""Photos from Python: paths, Pillow images, arrays, tensors, or sequences of these."""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.images.archives import is_url
from deepinside.images.batches import all_batches, fit
from deepinside.images.load import NOTES, as_displayed
from deepinside.images.names import user_path
from deepinside.images.settings import ImageSettings, as_declared, loaded_size
from deepinside.networks.spec import InputConvention
from deepinside.types import ImageBatch, Photo, unique

ImageInput = str | Path | Image.Image | NDArray[Any] | Tensor
"""A path (a file, a folder, a glob or a list of paths), a Pillow image, an array (H, W), (H, W, 3) or (H, W, 4) of
uint8, or a tensor (3, H, W) or (1, H, W) of uint8; intensities 0–255, or other numbers with `levels`. A fourth axis in
front is a batch."""
EXPECTED = "a path, a Pillow image, a uint8 array (H, W, 3), a uint8 tensor (3, H, W), or several of these"
CHANNELS = (1, 3, 4)
Levels = tuple[float, float]
"""The values of black and white in arrays and tensors that are not uint8."""


def read_inputs(
    inputs: ImageInput | Sequence[ImageInput],
    settings: ImageSettings,
    convention: InputConvention,
    levels: Levels | None = None,
) -> ImageBatch:
    """All photos in one batch, decoded as by the command line; names are the files' names.

    Raises DeepInsideError if there is nothing to read, and for the first unreadable photo. The command line instead
    skips unreadable photos.
    """
    several = inputs if isinstance(inputs, Sequence) and not isinstance(inputs, str) else [inputs]
    photos = [photo for one in several for photo in read(one, settings, convention, levels)][: settings.limit]
    if not photos:
        raise DeepInsideError(f"photo: expected {EXPECTED}, found none.")
    stems = unique(photo.stem for photo in photos)
    rows = enumerate(zip(photos, stems, strict=True))
    named = tuple(replace(photo, stem=stem, number=number) for number, (photo, stem) in rows)
    return ImageBatch(named, torch.stack([photo.pixels for photo in named]))


def read(
    source: ImageInput, settings: ImageSettings, convention: InputConvention, levels: Levels | None = None
) -> Iterator[Photo]:
    """The photos of one input."""
    if isinstance(source, str | Path):
        yield from from_path(source, settings, convention)
    elif isinstance(source, np.ndarray | Tensor) and source.ndim == 4:
        for one in source:
            yield from_image(picture(one, levels), settings, convention)
    else:
        yield from_image(picture(source, levels), settings, convention)


def from_path(path: str | Path, settings: ImageSettings, convention: InputConvention) -> Iterator[Photo]:
    """Every photo at a path, read as by the command line; raises DeepInsideError for the first unreadable one."""
    if not is_url(str(path)) and not (user_path(str(path), "photo").exists() or glob.has_magic(str(path))):
        raise DeepInsideError(f"photo: expected a file, a folder or a glob, found {path}, which is not there.")
    for loaded in all_batches(replace(settings, root=str(path), names=()), convention):
        for skipped in loaded.skipped:
            raise DeepInsideError(f"{skipped.name} cannot be read as an image: {skipped.reason}.")
        yield from loaded.batch.photos if loaded.batch is not None else ()


def from_image(image: Image.Image, settings: ImageSettings, convention: InputConvention) -> Photo:
    """The same photo that `batches` makes of a file with this image."""
    upright = as_displayed(image)
    size, settings = loaded_size(settings, convention), as_declared(settings, convention)
    fitted = fit(upright, settings, size, interpolation=convention.interpolation)
    notes = tuple(f"{name_of(image)}: {note}." for note in upright.info.get(NOTES, ()))
    return Photo(name_of(image), convention.to_network(fitted.pixels), digest(image), view=fitted.view, notes=notes)


def picture(source: Image.Image | NDArray[Any] | Tensor, levels: Levels | None = None) -> Image.Image:
    """A Pillow image of an image, array or tensor. Raises DeepInsideError for another type, dtype or shape."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, Tensor):
        source = source.detach().cpu().movedim(-3, -1).numpy() if source.ndim == 3 else source.detach().cpu().numpy()
    if not isinstance(source, np.ndarray):
        raise DeepInsideError(f"photo: expected {EXPECTED}, found {type(source).__name__}.")
    if levels is not None and source.dtype != np.uint8:
        source = intensities(source, levels)
    if source.dtype != np.uint8:
        raise DeepInsideError(
            f"photo: expected intensities 0–255 of type uint8, found {source.dtype}; say which values are black and "
            "white, as in levels=(0, 1)."
        )
    values = source[..., None] if source.ndim == 2 else source
    if values.ndim != 3 or values.shape[2] not in CHANNELS or 0 in values.shape:
        raise DeepInsideError(f"photo: expected {EXPECTED}, found one of shape {tuple(source.shape)}.")
    return Image.fromarray(np.ascontiguousarray(values.squeeze(-1) if values.shape[2] == 1 else values))


def intensities(values: NDArray[Any], levels: Levels) -> NDArray[np.uint8]:
    """Values between the two levels, black and white, as 256 intensities. Raises DeepInsideError for others."""
    black, white = levels
    if not black < white:
        raise DeepInsideError(f"levels: expected the values of black and white in this order, found {levels}.")
    if not values.size or not (values.min() >= black and values.max() <= white):
        span = f"{values.min():g} to {values.max():g}" if values.size else "none"
        raise DeepInsideError(f"photo: expected values from {black:g} to {white:g} (levels), found {span}.")
    return np.round((values.astype(np.float64) - black) / (white - black) * 255).astype(np.uint8)


def name_of(image: object) -> str:
    """The stem of the file that a Pillow image was opened from; `photo` if there is none."""
    return Path(str(getattr(image, "filename", "") or "photo")).stem


def digest(image: Image.Image) -> str:
    """The SHA-256 of an in-memory photo: its mode, size and values."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
