"""Batches of photos at a network's input size; threads decode the next batches while one is computed."""

import hashlib
import logging
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.images.load import NOTES, UnreadableImage, decode, to_tensor
from deepinside.images.settings import ImageSettings, as_declared, crop_side, loaded_size, view
from deepinside.images.sources import Source, listed
from deepinside.networks.spec import InputConvention, Interpolation
from deepinside.types import ImageBatch, Photo

THREADS = min(4, os.cpu_count() or 1)
AHEAD = 2
"""The number of ranges of photos that are read in advance."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


class Loaded(NamedTuple):
    """Some of the photos, by their indices in the full list: the readable ones as a batch, None if there are none, and
    the skipped ones."""

    numbers: range
    batch: ImageBatch | None
    skipped: list[Skipped]


@dataclass(frozen=True)
class _Decoded:
    source: Source
    number: int
    fitted: "Fitted"
    sha256: str
    boxes: Tensor | None
    notes: tuple[str, ...]


class Reading(NamedTuple):
    """A range of photos that threads are decoding."""

    places: range
    photos: "list[Future[_Decoded | Skipped]]"


def slices(count: int, size: int) -> list[range]:
    """The indices of `count` photos in batches of `size`; the last may be smaller. One empty range for no photos."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)] or [range(0)]


def start_reading(
    sources: Sequence[Source], places: range, settings: ImageSettings, convention: InputConvention
) -> Reading:
    """Decode a range of photos in the background, before `batches` gets to it."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="photos")
    try:
        return _submit(pool, sources, places, as_declared(settings, convention), convention)
    finally:
        pool.shutdown(wait=False)  # its threads end with the last photo


def batches(
    sources: Sequence[Source], numbers: Iterable[range], settings: ImageSettings, convention: InputConvention,
    early: Reading | None = None,
) -> Iterator[Loaded]:  # fmt: skip
    """The photos at `numbers`, range by range; threads decode the next ranges while one is computed.

    `pixels` is (N, C, H, W), mean-subtracted; H and W are the convention's, times `enlarge`. An unreadable photo is
    missing from its batch and does not affect the others: each photo's number is its index in `sources`, so results do
    not depend on the ranges. An empty range gives an empty batch. `numbers` is consumed lazily, `AHEAD` ranges in
    advance; only their photos are in memory. The range of `early`, from `start_reading`, is not decoded again.
    """
    size, settings = loaded_size(settings, convention), as_declared(settings, convention)
    with closing(_ahead(sources, numbers, settings, convention, early)) as groups:
        for places, group in groups:
            decoded = [item for item in group if isinstance(item, _Decoded)]
            skipped = [item for item in group if isinstance(item, Skipped)]
            batch = _batch(decoded, convention, size) if decoded or not places else None
            del group, decoded  # free them before the next range is read
            yield Loaded(places, batch, skipped)
            del batch


def all_batches(settings: ImageSettings, convention: InputConvention) -> Iterator[Loaded]:
    """Every photo that the settings name, in batches of `settings.batch`; one empty batch if they name none.

    Raises DeepInsideError if there is nothing to read, or if no photo is readable.
    """
    sources = listed(settings)
    skipped: list[Skipped] = []
    for loaded in batches(sources, slices(len(sources), settings.batch), settings, convention):
        skipped += loaded.skipped
        yield loaded
    check_some_are_readable(len(sources), skipped)


def check_some_are_readable(count: int, skipped: Sequence[Skipped]) -> None:
    """Raise DeepInsideError if all of `count` photos were skipped."""
    if count and len(skipped) == count:
        raise DeepInsideError(f"None of {count} photos can be read; {skipped[0].name}: {skipped[0].reason}.")


# ---- to the network's size -------------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    """A photo at the size that a technique receives: `pixels` (3, H, W) uint8, and the part of the photo they show:
    left, top, right and bottom in fractions of its width and height."""

    pixels: Tensor
    view: tuple[float, float, float, float]


def fit(
    image: Image.Image, settings: ImageSettings, size: tuple[int, int], full: tuple[int, int] | None = None,
    interpolation: Interpolation = "bilinear",
) -> Fitted:  # fmt: skip
    """A Pillow image of mode RGB resized to `size` (H, W) by the settings, filtered over the area that each new pixel
    covers. `full` is the photo's original width and height, if `decode` has already downscaled it."""
    width, height = full = full or image.size
    shrunk = round(width / image.width)
    left, top, right, bottom = view(full, size, short_side=crop_side(settings, size))
    box = (left / shrunk, top / shrunk, right / shrunk, bottom / shrunk)
    method = Image.Resampling[interpolation.upper()]
    pixels = image.resize((size[1], size[0]), method, box=box, reducing_gap=3.0)
    return Fitted(to_tensor(pixels), (left / width, top / height, right / width, bottom / height))


# ---- decoding --------------------------------------------------------------------------------------------------------


def _submit(
    pool: ThreadPoolExecutor, sources: Sequence[Source], places: range, settings: ImageSettings,
    convention: InputConvention,
) -> Reading:  # fmt: skip
    return Reading(places, [pool.submit(_read, sources[place], place, settings, convention) for place in places])


def _ahead(
    sources: Sequence[Source], numbers: Iterable[range], settings: ImageSettings, convention: InputConvention,
    early: Reading | None,
) -> Generator[tuple[range, list[_Decoded | Skipped]]]:  # fmt: skip
    """Each range with its decoded photos; threads read the next ranges while the consumer works on one."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="photos")
    asked = iter(numbers)
    coming: deque[Reading] = deque()

    def start() -> None:
        for places in islice(asked, AHEAD + 1 - len(coming)):
            known = early if early is not None and early.places == places else None
            coming.append(known or _submit(pool, sources, places, settings, convention))

    try:
        start()
        while coming:
            places, photos = coming.popleft()
            group = [photo.result() for photo in photos]
            del photos  # the futures hold their results
            yield places, group
            del group
            start()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Source, number: int, settings: ImageSettings, convention: InputConvention) -> _Decoded | Skipped:
    size = loaded_size(settings, convention)
    try:
        data = source.read()
        image, full = decode(data, source.path, needed=max(settings.short_side or 0, *size))
    except UnreadableImage as error:
        LOG.warning("skipped %s: %s", source.name, error.reason)
        return Skipped(source.name, error.reason)
    boxes = None if source.objects is None else source.objects.fractions(full)
    notes = tuple(f"{source.name}: {note}." for note in image.info.get(NOTES, ()))
    fitted = fit(image, settings, size, full, convention.interpolation)
    return _Decoded(source, number, fitted, hashlib.sha256(data).hexdigest(), boxes, notes)


def _batch(decoded: Sequence[_Decoded], convention: InputConvention, size: tuple[int, int]) -> ImageBatch:
    sized = [item.fitted.pixels for item in decoded]
    pixels = convention.to_network(torch.stack(sized) if sized else torch.zeros(0, 3, *size, dtype=torch.uint8))
    return ImageBatch(tuple(map(_photo, decoded, pixels)), pixels)


def _photo(item: _Decoded, pixels: Tensor) -> Photo:
    source, view = item.source, item.fitted.view
    return Photo(
        source.stem, pixels, item.sha256, source.label, item.boxes, view, item.number, item.notes, source.depicts
    )
