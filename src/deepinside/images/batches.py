"""Photographs for a network: in batches of its size, the next being decoded in threads while one is computed."""

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
from deepinside.images.settings import ImageSettings, loaded_size
from deepinside.images.sources import Source, listed
from deepinside.networks.spec import InputConvention
from deepinside.types import ImageBatch, Photo

THREADS = min(4, os.cpu_count() or 1)
AHEAD = 2
"""Ranges of photos that are read while one is computed."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be read, and why."""

    name: str
    reason: str


class Loaded(NamedTuple):
    """Some of the photos, by their places in the whole list: those that could be read as a batch, None if there are
    none of these, and those that could not."""

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


def slices(count: int, size: int) -> list[range]:
    """The places of `count` photos in batches of `size`, the last of which may be smaller; one empty for no photos."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)] or [range(0)]


def batches(
    sources: Sequence[Source], numbers: Iterable[range], settings: ImageSettings, convention: InputConvention
) -> Iterator[Loaded]:
    """The photos at `numbers`, range by range; the next are decoded in threads while one is computed.

    `pixels` is (N, C, H, W) zero-centred, H and W being the convention's own times `enlarge`. A photo that cannot be
    read is missing from its batch and changes nothing for the others: each has the number of its place in `sources`,
    so nothing depends on which ranges are asked for, and by whom. An empty range gives an empty batch. `numbers` is
    gone through as the photos are wanted, `AHEAD` ranges before; no more photos than theirs are in memory.
    """
    size = loaded_size(settings, convention)
    with closing(_ahead(sources, numbers, settings, size)) as groups:
        for places, group in groups:
            decoded = [item for item in group if isinstance(item, _Decoded)]
            skipped = [item for item in group if isinstance(item, Skipped)]
            batch = _batch(decoded, convention, size) if decoded or not places else None
            del group, decoded  # or they would live on while the next is read
            yield Loaded(places, batch, skipped)
            del batch


def all_batches(settings: ImageSettings, convention: InputConvention) -> Iterator[Loaded]:
    """Every photo the settings ask for, in batches of `settings.batch`; one empty batch where they ask for none.

    Raises DeepInsideError where there is nothing to read, or nothing that can be read.
    """
    sources = listed(settings)
    skipped: list[Skipped] = []
    for loaded in batches(sources, slices(len(sources), settings.batch), settings, convention):
        skipped += loaded.skipped
        yield loaded
    check_some_are_readable(len(sources), skipped)


def check_some_are_readable(count: int, skipped: Sequence[Skipped]) -> None:
    """Raise DeepInsideError where all of `count` photos were skipped."""
    if count and len(skipped) == count:
        raise DeepInsideError(f"None of {count} photos can be read; {skipped[0].name}: {skipped[0].reason}.")


# ---- to the network's size -------------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    """A photo at the size a technique gets: `pixels` (3, H, W) uint8, and the part of the photo that they show, left,
    top, right and bottom in fractions of its width and height."""

    pixels: Tensor
    view: tuple[float, float, float, float]


def fit(
    image: Image.Image, settings: ImageSettings, size: tuple[int, int], whole: tuple[int, int] | None = None
) -> Fitted:
    """A Pillow image of mode RGB at `size` (H, W), as the settings ask for it, bilinear over the area each new pixel
    covers. `whole` is the photo's own width and height where `decode` has made it smaller already."""
    width, height = whole = whole or image.size
    shrunk = round(width / image.width)
    left, top, right, bottom = view(whole, size, short_side=_short_side(settings, size))
    pixels = resized(image, size, (left / shrunk, top / shrunk, right / shrunk, bottom / shrunk))
    return Fitted(to_tensor(pixels), (left / width, top / height, right / width, bottom / height))


def resized(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """What lies in `box` (left, top, right, bottom) of `image`, at `size` (H, W)."""
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def view(whole: tuple[int, int], size: tuple[int, int], *, short_side: int | None) -> tuple[float, float, float, float]:
    """What is shown at `size` (H, W) of an image of `whole` (w, h): left, top, right, bottom in its pixels.

    All of it, stretched; or, with `short_side`, the middle, as if the shorter side had been scaled to that, or to
    more where `size` would not fit into the photo otherwise.
    """
    if short_side is None:
        return 0.0, 0.0, float(whole[0]), float(whole[1])
    scale = min(min(whole) / short_side, whole[0] / size[1], whole[1] / size[0])
    width, height = size[1] * scale, size[0] * scale
    left, top = (whole[0] - width) / 2, (whole[1] - height) / 2
    return max(left, 0.0), max(top, 0.0), min(left + width, whole[0]), min(top + height, whole[1])


def _short_side(settings: ImageSettings, size: tuple[int, int]) -> int | None:
    """What `view` scales the shorter side to: at least the shorter one of `size` (H, W)."""
    return (settings.short_side or min(size)) if settings.resize == "short_side_crop" else None


# ---- decoding --------------------------------------------------------------------------------------------------------


def _ahead(
    sources: Sequence[Source], numbers: Iterable[range], settings: ImageSettings, size: tuple[int, int]
) -> Generator[tuple[range, list[_Decoded | Skipped]]]:
    """Ranges and their photos, read; those of the next ranges are being read while the consumer works on one."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="photos")
    asked = iter(numbers)
    coming: deque[tuple[range, list[Future[_Decoded | Skipped]]]] = deque()

    def start() -> None:
        for places in islice(asked, AHEAD + 1 - len(coming)):
            coming.append((places, [pool.submit(_read, sources[place], place, settings, size) for place in places]))

    try:
        start()
        while coming:
            places, photos = coming.popleft()
            group = [photo.result() for photo in photos]
            del photos  # they hold what they read
            yield places, group
            del group
            start()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(source: Source, number: int, settings: ImageSettings, size: tuple[int, int]) -> _Decoded | Skipped:
    try:
        data = source.read()
        image, whole = decode(data, source.path, needed=max(settings.short_side or 0, *size))
    except UnreadableImage as error:
        LOG.warning("skipped %s: %s", source.name, error.reason)
        return Skipped(source.name, error.reason)
    boxes = None if source.objects is None else source.objects.fractions(whole)
    notes = tuple(f"{source.name}: {note}." for note in image.info.get(NOTES, ()))
    return _Decoded(source, number, fit(image, settings, size, whole), hashlib.sha256(data).hexdigest(), boxes, notes)


def _batch(decoded: Sequence[_Decoded], convention: InputConvention, size: tuple[int, int]) -> ImageBatch:
    sized = [item.fitted.pixels for item in decoded]
    pixels = convention.to_network(torch.stack(sized) if sized else torch.zeros(0, 3, *size, dtype=torch.uint8))
    return ImageBatch(tuple(map(_photo, decoded, pixels)), pixels)


def _photo(item: _Decoded, pixels: Tensor) -> Photo:
    source, view = item.source, item.fitted.view
    return Photo(source.stem, pixels, item.sha256, source.label, item.boxes, view, item.number, item.notes)
