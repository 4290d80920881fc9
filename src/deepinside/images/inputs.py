"""Photographs as a program has them at hand: paths, Pillow images, arrays, tensors, or several of these."""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.images.archives import is_url
from deepinside.images.batches import all_batches, fit
from deepinside.images.load import NOTES, as_seen
from deepinside.images.names import user_path
from deepinside.images.settings import ImageSettings, loaded_size
from deepinside.networks.spec import InputConvention
from deepinside.types import ImageBatch, Photo, unique

ImageInput = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""A path (a file, a folder, a glob or a list of paths), a Pillow image, an array (H, W), (H, W, 3) or (H, W, 4) of
uint8, or a tensor (3, H, W) or (1, H, W) of uint8; levels 0-255."""
EXPECTED = "a path, a Pillow image, a uint8 array (H, W, 3), a uint8 tensor (3, H, W), or several of these"
CHANNELS = (1, 3, 4)


def read_inputs(
    given: ImageInput | Sequence[ImageInput], settings: ImageSettings, convention: InputConvention
) -> ImageBatch:
    """All photos in one batch, as the command line would give them to a technique; names are those of the files.

    Raises DeepInsideError where there is nothing to read, and, unlike the command line, which goes on with the others,
    for the first photo that cannot be read.
    """
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    photos = [photo for one in several for photo in read(one, settings, convention)][: settings.limit]
    if not photos:
        raise DeepInsideError(f"photo: expected {EXPECTED}, found none.")
    stems = unique(photo.stem for photo in photos)
    rows = enumerate(zip(photos, stems, strict=True))
    named = tuple(replace(photo, stem=stem, number=number) for number, (photo, stem) in rows)
    return ImageBatch(named, torch.stack([photo.pixels for photo in named]))


def read(given: ImageInput, settings: ImageSettings, convention: InputConvention) -> Iterator[Photo]:
    """The photos behind one of the things that may be given."""
    if isinstance(given, str | Path):
        yield from from_path(given, settings, convention)
    else:
        yield from_image(picture(given), settings, convention)


def from_path(path: str | Path, settings: ImageSettings, convention: InputConvention) -> Iterator[Photo]:
    """Every photo behind a path, as the command line reads it; raises DeepInsideError for the first it cannot read."""
    if not is_url(str(path)) and not (user_path(str(path), "photo").exists() or glob.has_magic(str(path))):
        raise DeepInsideError(f"photo: expected a file, a folder or a glob, found {path}, which is not there.")
    for loaded in all_batches(replace(settings, root=str(path), names=()), convention):
        for skipped in loaded.skipped:
            raise DeepInsideError(f"{skipped.name} cannot be read as an image: {skipped.reason}.")
        yield from loaded.batch.photos if loaded.batch is not None else ()


def from_image(image: Image.Image, settings: ImageSettings, convention: InputConvention) -> Photo:
    """What `batches` makes of a file with this image in it."""
    seen = as_seen(image)
    fitted = fit(seen, settings, loaded_size(settings, convention))
    notes = tuple(f"{name_of(image)}: {note}." for note in seen.info.get(NOTES, ()))
    return Photo(name_of(image), convention.to_network(fitted.pixels), digest(image), view=fitted.view, notes=notes)


def picture(given: Image.Image | NDArray[np.uint8] | Tensor) -> Image.Image:
    """A Pillow image of one. Raises DeepInsideError for another kind, another type of number or another shape."""
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, Tensor):
        given = given.detach().cpu().movedim(-3, -1).numpy() if given.ndim == 3 else given.detach().cpu().numpy()
    if not isinstance(given, np.ndarray):
        raise DeepInsideError(f"photo: expected {EXPECTED}, found {type(given).__name__}.")
    if given.dtype != np.uint8:
        raise DeepInsideError(
            f"photo: expected levels 0-255 of type uint8, found {given.dtype}; convert it, from 0-1 as in "
            "(photo * 255).round() and then to uint8."
        )
    values = given[..., None] if given.ndim == 2 else given
    if values.ndim != 3 or values.shape[2] not in CHANNELS or 0 in values.shape:
        raise DeepInsideError(f"photo: expected {EXPECTED}, found one of shape {tuple(given.shape)}.")
    return Image.fromarray(np.ascontiguousarray(values.squeeze(-1) if values.shape[2] == 1 else values))


def name_of(given: object) -> str:
    """The stem of the file a Pillow image was opened from; `photo` for what has none."""
    return Path(str(getattr(given, "filename", "") or "photo")).stem


def digest(image: Image.Image) -> str:
    """The SHA-256 of what a photo without a file holds: its mode, size and values."""
    return hashlib.sha256(f"{image.mode} {image.size} ".encode() + image.tobytes()).hexdigest()
