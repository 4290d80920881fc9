"""Photographs for a network: which files, under which names, in batches decoded ahead while the last is computed."""

import glob
import hashlib
import logging
import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Self

import torch
from PIL import Image
from pydantic import Field, PositiveInt, field_validator, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.images.annotations import Annotation, find, read_annotations
from deepinside.images.load import UnreadableImage, read_image, to_tensor
from deepinside.networks.spec import InputConvention
from deepinside.settings import STRICT
from deepinside.values import ImageBatch, Photo

PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
"""Photographs that lie inside scikit-image's package, so that nothing is fetched: name and file in its data folder."""
# HEIC is not read here, but whoever has such photos should hear so
SUFFIX = re.compile(r"\.(jpe?g|jpe|jfif|a?png|gif|webp|avif|bmp|tiff?|p[bgnp]m|jp2|j2k|jpx|qoi|hei[cf])", re.IGNORECASE)
"""What counts as a photo in a folder; everything else there is passed over."""
WNID = re.compile(r"n\d{8}(?!\d)")
UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff\u2028\u2029]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names Windows keeps for itself
MAX_STEM_BYTES = 120
THREADS = min(4, os.cpu_count() or 1)
AHEAD = 2
"""Slices of photos that are read while one is computed."""
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ImageSettings:
    """Which photos, and how they come to the network's size. With neither `root` nor `names` there are none.

    root: a folder, one image, a glob such as `photos/n02*/*.jpg`, or a `.txt` file with one path a line, relative to
    the list's own folder (`#` starts a comment). recursive: look into the folder's sub-folders too.
    names: photographs that come with scikit-image, put before those of `root`.
    resize: `square` stretches to the size; `short_side_crop` scales the shorter side to `short_side` (by default the
    size itself) and cuts the middle out. enlarge: photos are loaded this many times larger than
    the network's input, for techniques that cut crops of the network's size out of them.
    limit: take only the first so many. batch: how many are computed at once.
    labels: the photos' true classes: `folder` (the name of the file's folder), `stem` (an `n` and eight digits at the
    start of its name), or a file of lines `name label`, separated by a tab, a comma or a space.
    annotations: where the objects are and what they are called: a file or a folder of files that
    `deepinside.images.annotations` reads. A photo without a label gets that of its largest box; of boxes with other
    labels none is kept.
    original_side: photos are kept for figures at most this many pixels along their longer side.
    """

    root: str | None = None
    recursive: bool = False
    names: tuple[str, ...] = ()
    resize: Literal["square", "short_side_crop"] = "square"
    short_side: PositiveInt | None = None
    enlarge: float = Field(default=1.0, ge=1)
    limit: PositiveInt | None = None
    batch: PositiveInt = 16
    labels: str | None = None
    annotations: str | None = None
    original_side: PositiveInt = 1024

    @field_validator("names")
    @classmethod
    def _names_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PHOTOGRAPHS]
        if unknown:
            raise ValueError(f"no photograph {unknown[0]!r}; there are {', '.join(PHOTOGRAPHS)}")
        return names

    @model_validator(mode="after")
    def _short_side_is_used(self) -> Self:
        if self.short_side is not None and self.resize != "short_side_crop":
            raise ValueError("short_side needs resize=short_side_crop")
        return self


@plain_dataclass(frozen=True)
class Source:
    """One photo to be read: its file, a name that is unique in the set and safe as a file's, its class and the boxes
    of that class if known.

    `name` is how a person is told about it: the path below the folder that was asked for.
    """

    path: Path
    stem: str
    name: str
    label: str | None = None
    objects: Annotation | None = None


@plain_dataclass(frozen=True)
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


@plain_dataclass(frozen=True)
class _Decoded:
    source: Source
    number: int
    sized: Tensor
    original: Tensor
    sha256: str
    boxes: Tensor | None
    view: tuple[float, float, float, float]


def listed(settings: ImageSettings) -> list[Source]:
    """Every photo the settings ask for, in order: by name for a folder or glob, as written for a list.

    Stems are the files' own where they are unique; otherwise the folders' names stand before them (`left-cat`), then
    the suffix after them (`cat-png`), then a number. `limit` changes no stem. Raises DeepInsideError where there is
    nothing to read; without `root` and `names` the list is empty.
    """
    base, paths = _find(settings) if settings.root is not None else (Path(), [])
    files = [*map(_shipped, settings.names), *paths]
    short = [*map(Path, settings.names), *(_below(path, base) for path in paths)]
    label = _labeller(settings.labels, paths, base)
    labels = [*(None for _ in settings.names), *map(label, paths)]
    rows = zip(files, unique_stems(short), map(_shown, short), labels, strict=True)
    found = [Source(*row) for row in rows]
    return (found if settings.annotations is None else _annotated(found, settings.annotations))[: settings.limit]


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


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """A name for each path, safe as a file's name on any system and unlike every other even where case is ignored."""
    spellings: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: "-".join([*_folders(path), path.stem]),
        lambda path: "-".join(filter(None, [*_folders(path), path.stem, path.suffix[1:]])),
    )
    names = [safe_name(spellings[0](path)) for path in paths]
    for spell in spellings[1:]:
        twins = _repeated(_folded(name) for name in names)
        names = [
            safe_name(spell(path)) if _folded(name) in twins else name for path, name in zip(paths, names, strict=True)
        ]
    return _numbered(names)


def safe_name(name: str) -> str:
    """`name` with what file systems refuse or hide replaced by `_`; a long one is cut and ends in part of a hash."""
    safe = UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    safe = re.sub(r"^[.\s]|[.\s]$", "_", safe) or "_"
    if RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if len(safe.encode()) <= MAX_STEM_BYTES:
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{safe.encode()[: MAX_STEM_BYTES - 9].decode(errors='ignore')}-{digest}"


def resized(image: Image.Image, size: tuple[int, int], *, short_side: int | None) -> Image.Image:
    """`image` at `size` (H, W), bilinear over the area each new pixel covers.

    Stretched as a whole; or, with `short_side`, as if the shorter side had been scaled to it and the middle cut out.
    """
    height, width = size
    box = view(image.size, size, short_side=short_side)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)


def view(whole: tuple[int, int], size: tuple[int, int], *, short_side: int | None) -> tuple[float, float, float, float]:
    """What `resized` shows at `size` (H, W) of an image of `whole` (w, h): left, top, right, bottom in its pixels."""
    if short_side is None:
        return 0.0, 0.0, float(whole[0]), float(whole[1])
    scale = min(whole) / short_side
    width, height = size[1] * scale, size[0] * scale
    left, top = (whole[0] - width) / 2, (whole[1] - height) / 2
    return max(left, 0.0), max(top, 0.0), min(left + width, whole[0]), min(top + height, whole[1])


def loaded_size(settings: ImageSettings, convention: InputConvention) -> tuple[int, int]:
    """Height and width of the photos a technique gets: the network's times `enlarge`."""
    size = (round(convention.size[0] * settings.enlarge), round(convention.size[1] * settings.enlarge))
    if settings.short_side is not None and settings.short_side < max(size):
        raise DeepInsideError(
            f"images.short_side is {settings.short_side}, smaller than the {size[0]}×{size[1]} that is cut out of it; "
            f"make it at least {max(size)}."
        )
    return size


# ---- which files -----------------------------------------------------------------------------------------------------


def _shipped(name: str) -> Path:
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise DeepInsideError(f"The photograph {name!r} comes with scikit-image, which is not installed.")
    return Path(package.origin).parent / "data" / PHOTOGRAPHS[name]


def _find(settings: ImageSettings) -> tuple[Path, list[Path]]:
    """The files below `root`, and the folder their names are relative to."""
    root = Path(settings.root or "").expanduser()
    if root.is_dir():
        return root, _in_folder(root, recursive=settings.recursive)
    if root.is_file():
        return root.parent, _in_list(root) if root.suffix.lower() == ".txt" else [root]
    if glob.has_magic(str(root)):
        return _in_glob(root)
    raise DeepInsideError(f"images.root is {settings.root}, which is neither a folder nor a file nor a glob.")


def _in_folder(root: Path, *, recursive: bool) -> list[Path]:
    walk = root.rglob("*") if recursive else root.iterdir()
    found = sorted(path for path in walk if _is_photo(path.relative_to(root)) and path.is_file())
    if not found:
        deeper = "" if recursive else "; images.recursive=true looks into its sub-folders too"
        raise DeepInsideError(f"The folder {root} has no photos (.jpg, .png, .webp, …){deeper}.")
    return found


def _in_glob(pattern: Path) -> tuple[Path, list[Path]]:
    matches = [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute one
    found = sorted(path for path in matches if _is_photo(Path(path.name)) and path.is_file())
    if not found:
        raise DeepInsideError(f"No photo matches images.root={pattern}.")
    return Path(os.path.commonpath([path.parent for path in found])), found


def _in_list(path: Path) -> list[Path]:
    lines = [line.strip() for line in _text(path).splitlines()]
    found = [path.parent / Path(line).expanduser() for line in lines if line and not line.startswith("#")]
    if not found:
        raise DeepInsideError(f"The list {path} names no photos; expected one path a line.")
    return found


def _is_photo(relative: Path) -> bool:
    return bool(SUFFIX.fullmatch(relative.suffix)) and not any(part.startswith(".") for part in relative.parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DeepInsideError(f"{path} cannot be read as text: {error}.") from error


# ---- their names and classes -----------------------------------------------------------------------------------------


def _below(path: Path, base: Path) -> Path:
    return path.relative_to(base) if path.is_relative_to(base) else path


def _shown(path: Path) -> str:
    """The path as it may stand in a log: letters of any script, but no line breaks and no undecodable bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path.as_posix())


def _folders(path: Path) -> list[str]:
    return [part for part in path.parent.parts if part not in {path.anchor, ".."}]


def _folded(name: str) -> str:
    return name.casefold()


def _repeated(keys: Iterable[Hashable]) -> set[Hashable]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _numbered(names: list[str]) -> list[str]:
    """`names` with -2, -3, … after the second, third, … of the same."""
    taken: set[str] = set()
    out = []
    for name in names:
        tries = (name if number == 1 else f"{name}-{number}" for number in range(1, len(names) + 2))
        free = next(candidate for candidate in tries if _folded(candidate) not in taken)
        taken.add(_folded(free))
        out.append(free)
    return out


def _labeller(labels: str | None, paths: Sequence[Path], base: Path) -> Callable[[Path], str | None]:
    if labels is None:
        return lambda path: None
    if labels == "folder":
        return lambda path: path.resolve().parent.name
    if labels == "stem":
        return _wnid
    table = _label_file(Path(labels).expanduser())
    if paths and not any(_look_up(table, path, base) for path in paths):
        raise DeepInsideError(f"The label file {labels} names none of the photos, the first of which is {paths[0]}.")
    return lambda path: _look_up(table, path, base)


def _annotated(photos: Sequence[Source], annotations: str) -> list[Source]:
    """The photos with their objects; one that has no label gets theirs."""
    known = read_annotations(Path(annotations).expanduser())
    found = [find(known, photo.path) for photo in photos]
    if not any(found):
        raise DeepInsideError(
            f"images.annotations={annotations} has none of the photos, the first of which is "
            f"{photos[0].path}; a photo is found by its name without the suffix."
        )
    return [
        photo if objects is None else _with_objects(photo, objects)
        for photo, objects in zip(photos, found, strict=True)
    ]


def _with_objects(photo: Source, objects: Annotation) -> Source:
    """The photo with the boxes of its own label, or where none is called so, with those of the largest box's label."""
    main = photo.label if photo.label in objects.labels else objects.label
    if main is None:
        return photo
    boxes = objects.of(main)
    kept = replace(objects, boxes=boxes, labels=(main,) * len(boxes))
    return replace(photo, label=photo.label or main, objects=kept)


def _wnid(path: Path) -> str | None:
    match = WNID.match(path.stem)
    return match.group() if match else None


def _look_up(table: dict[str, str], path: Path, base: Path) -> str | None:
    keys = (_below(path, base).as_posix(), path.name, path.stem)
    return next((table[key] for key in keys if key in table), None)


def _label_file(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in _text(path).splitlines())
    return dict(_label_line(path, line) for line in lines if line and not line.startswith("#"))


def _label_line(path: Path, line: str) -> tuple[str, str]:
    """Name and label: two columns of a tab-separated table, or what stands around the first comma or space."""
    separator = next((mark for mark in ("\t", ",", " ") if mark in line), None)
    if separator is None:
        raise DeepInsideError(f"The label file {path} has the line {line!r}; expected a name and a label.")
    name, label = line.split(separator)[:2] if separator == "\t" else line.split(separator, 1)
    return name.strip(), label.strip()


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
        image, digest = read_image(source.path)
    except UnreadableImage as error:
        LOG.warning("skipped %s: %s", source.name, error.reason)
        return Skipped(source.name, error.reason)
    short_side = (settings.short_side or max(size)) if settings.resize == "short_side_crop" else None
    whole = image.size
    left, top, right, bottom = view(whole, size, short_side=short_side)
    shown = (left / whole[0], top / whole[1], right / whole[0], bottom / whole[1])
    boxes = None if source.objects is None else source.objects.fractions(whole)
    sized = to_tensor(resized(image, size, short_side=short_side))
    image.thumbnail((settings.original_side, settings.original_side), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return _Decoded(source, number, sized, to_tensor(image), digest, boxes, shown)


def _batch(decoded: Sequence[_Decoded], convention: InputConvention, size: tuple[int, int]) -> ImageBatch:
    sized = torch.stack([item.sized for item in decoded]) if decoded else torch.zeros(0, 3, *size, dtype=torch.uint8)
    pixels = convention.to_network(sized)
    photos = [
        Photo(item.source.stem, one, item.original, item.sha256, item.source.label, item.boxes, item.view, item.number)
        for item, one in zip(decoded, pixels, strict=True)
    ]
    return ImageBatch(tuple(photos), pixels)


def fingerprint(sources: Sequence[Source], settings: ImageSettings) -> str:
    """TEMPORARY: until the archive work lands."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.name}/{source.path.stat().st_size if source.path.exists() else 0}\n".encode())
    return digest.hexdigest()
