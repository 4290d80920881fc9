"""Box annotations: Tiny ImageNet's text files, PASCAL VOC and ILSVRC XML, COCO JSON.

Every format becomes boxes (x0, y0, x1, y1) in pixel edges of the photo: x1 and y1 are exclusive, the full photo is
(0, 0, w, h). The formats' own numbers mean:

- Tiny ImageNet: first and last pixel, counted from 0 (over 55 000 lines both run from 0 to 63 of 64 pixels);
- PASCAL VOC: first and last pixel, counted from 1, as its development kit says;
- ILSVRC and other XML of that form: first and last pixel, counted from 0;
- COCO: left and top edge, width and height.

The standard library's XML parser reads XML; document types, and with them entities, are refused. Its JSON parser reads
COCO and pydantic checks the result. COCO's own library would only parse the JSON, without the check.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf, isfinite
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from deepinside.errors import DeepInsideError
from deepinside.images import archives
from deepinside.images.load import UnreadableImage

if TYPE_CHECKING:
    from torch import Tensor

Box = tuple[float, float, float, float]

ACCEPTED = (
    "Tiny ImageNet's val_annotations.txt or <wnid>_boxes.txt (tab-separated), PASCAL VOC or ILSVRC XML (<annotation>), "
    "COCO JSON (images, annotations, categories)"
)
MAX_SIDE = 1 << 24
"""The largest width and height of a photo: integers up to this are exact in float32."""
SUFFIXES = {".txt", ".xml", ".json"}
TINY_LINE = re.compile(r"(?P<photo>[^\t]+)\t(?:(?P<label>[^\t]+)\t)?(?P<box>\d+\t\d+\t\d+\t\d+)")
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotation:
    """The objects of one photo: `boxes` in pixel edges and a label (a WordNet id or a name) for each.

    `size` is the photo's width and height if the file has them.
    """

    boxes: tuple[Box, ...] = ()
    labels: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    @property
    def label(self) -> str | None:
        """The label of the largest box; None without boxes."""
        return max(zip(map(_area, self.boxes), self.labels, strict=True), default=(0.0, None), key=lambda row: row[0])[
            1
        ]

    def of(self, label: str) -> tuple[Box, ...]:
        """The boxes of `label`."""
        return tuple(box for box, own in zip(self.boxes, self.labels, strict=True) if own == label)

    def fractions(self, size: tuple[int, int] | None = None) -> "Tensor":
        """(K, 4) float, the boxes in fractions of the photo's width and height.

        `size` (w, h) is the photo's, for formats that do not store it. A stored size takes precedence, so a photo that
        was downscaled after annotation keeps its boxes.
        """
        width, height = known = self.size or size or (0, 0)
        if min(known) < 1:
            raise DeepInsideError("This annotation does not tell its photo's size; give the width and height.")
        import torch

        return torch.tensor(self.boxes, dtype=torch.float32).reshape(-1, 4) / torch.tensor([width, height] * 2)


def read_annotations(path: Path) -> dict[str, Annotation]:
    """The annotations in a file, or in every file of an accepted format below a folder or in an archive, by photo.

    A photo's key is its name without the suffix, for COCO with the folders in `file_name`; `find` looks one up. The
    format is recognised by content. Boxes without area are dropped and logged; boxes are clipped to the photo; COCO's
    crowd regions are ignored. Raises DeepInsideError for a file of no accepted format (in a folder such files are
    skipped, unless none is left), a damaged file, and a photo that two files describe differently.
    """
    files = _candidates(path)
    read = ((file, _read_file(file, contents)) for file, contents in files)
    found = [(file, annotations) for file, annotations in read if annotations is not None]
    if not found:
        what = f"{path} is not" if [path] == [file for file, _ in files] else f"None of {len(files)} files in {path} is"
        raise DeepInsideError(f"{what} an annotation file; accepted are {ACCEPTED}.")
    return _merge(found)


def find(annotations: Mapping[str, Annotation], photo: PurePath) -> Annotation | None:
    """The annotation of a photo: its key is the longest trailing part of the photo's path without suffix."""
    parts = photo.with_suffix("").parts
    keys = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((annotations[key] for key in keys if key in annotations), None)


def _candidates(path: Path) -> list[tuple[Path, Callable[[], bytes]]]:
    """The files that may hold annotations, and how to read each."""
    inside = archives.split(path) or ((path, ()) if path.is_file() and archives.suffix(path.name) else None)
    if inside is not None:
        archive, pattern = inside
        found = [(archive.joinpath(*m.parts), m.read) for _, m in archives.matching(archives.members(archive), pattern)]
        return sorted((row for row in found if row[0].suffix.lower() in SUFFIXES), key=lambda row: row[0])
    if not path.is_dir():
        return [(path, path.read_bytes)]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return [(file, file.read_bytes) for file in files]


def _read_file(path: Path, contents: Callable[[], bytes]) -> dict[str, Annotation] | None:
    """The annotations of one file, None if it has no accepted format."""
    try:
        data = contents()
    except OSError as error:
        raise DeepInsideError(f"The annotations {path} cannot be read: {error.strerror}.") from error
    except UnreadableImage as error:
        raise DeepInsideError(f"The annotations {path} cannot be read: {error.reason}.") from error
    reader = _recognise(data)
    return None if reader is None else reader(path, data)


def _recognise(data: bytes) -> Callable[[Path, bytes], dict[str, Annotation]] | None:
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") and all(key in start for key in (b'"images"', b'"annotations"', b'"categories"')):
        return _read_coco
    if start.startswith(b"<") and b"<annotation" in start:
        return _read_xml
    line = start.split(b"\n", 1)[0].decode(errors="replace").rstrip()
    return _read_tiny if TINY_LINE.fullmatch(line) else None


def _merge(found: Iterable[tuple[Path, dict[str, Annotation]]]) -> dict[str, Annotation]:
    merged: dict[str, Annotation] = {}
    for file, annotations in found:
        for key, annotation in annotations.items():
            if merged.setdefault(key, annotation) != annotation:
                raise DeepInsideError(
                    f"{file} describes the photo {key} unlike another file of that folder; give one file or sub-folder."
                )
    return merged


# ---- Tiny ImageNet ---------------------------------------------------------------------------------------------------


def _read_tiny(path: Path, data: bytes) -> dict[str, Annotation]:
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    rows = [(number, line.rstrip()) for number, line in enumerate(lines, 1) if line.strip()]
    objects: dict[str, list[tuple[str, Box]]] = {}
    for number, line in rows:
        key, label, box = _tiny_line(path, number, line)
        objects.setdefault(key, []).append((label, box))
    return {key: _annotation(path, listed) for key, listed in objects.items()}


def _tiny_line(path: Path, number: int, line: str) -> tuple[str, str, Box]:
    """Photo, label and box. The lines of a training class have no label: it is the photo's name up to the number."""
    match = TINY_LINE.fullmatch(line)
    if match is None:
        raise DeepInsideError(
            f"Line {number} of {path} is {line[:80]!r}; expected photo, label and four whole numbers, tab-separated."
        )
    x0, y0, x1, y1 = map(float, match["box"].split("\t"))
    key = PurePosixPath(match["photo"]).stem
    return key, match["label"] or key.rpartition("_")[0], (x0, y0, x1 + 1, y1 + 1)


# ---- PASCAL VOC and ILSVRC -------------------------------------------------------------------------------------------


class _Plain(ElementTree.TreeBuilder):
    """Refuses a document type before its declarations are used, so that no entity is ever expanded."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DeepInsideError(f"it declares a document type ({name}), which annotations do not need")


def _read_xml(path: Path, data: bytes) -> dict[str, Annotation]:
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
        # Only PASCAL VOC counts from 1.
        first = 1 if "VOC" in (root.findtext("source/database") or "") else 0
        objects = [(_text(item, "name"), _xml_box(item, first)) for item in root.iterfind("object")]
        annotation = _annotation(path, objects, _xml_size(root))
    except (ElementTree.ParseError, DeepInsideError, ValueError, LookupError) as error:
        raise DeepInsideError(f"The annotations {path} cannot be read as PASCAL VOC or ILSVRC XML: {error}.") from error
    return {path.stem: annotation}


def _text(element: ElementTree.Element, name: str) -> str:
    text = element.findtext(name)
    if text is None or not text.strip():
        raise DeepInsideError(f"<{element.tag}> has no <{name}>")
    return text.strip()


def _xml_box(item: ElementTree.Element, first: int) -> Box:
    x0, y0, x1, y1 = (float(_text(item, f"bndbox/{edge}")) for edge in ("xmin", "ymin", "xmax", "ymax"))
    return x0 - first, y0 - first, x1 - first + 1, y1 - first + 1


def _xml_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """None if the file has no size, or zeros, which some tools write for an unknown size."""
    size = root.find("size")
    known = (0, 0) if size is None else (int(_text(size, "width")), int(_text(size, "height")))
    return _checked_size(known) if min(known) > 0 else None


# ---- COCO ------------------------------------------------------------------------------------------------------------
# with slots: a data set has a million objects, and a pydantic model takes ten times the memory


@checked(slots=True)
class _Category:
    id: int
    name: str


@checked(slots=True)
class _Photo:
    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


@checked(slots=True)
class _Object:
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


@checked(slots=True)
class _Coco:
    images: list[_Photo]
    annotations: list[_Object]
    categories: list[_Category]


COCO_KEYS = {field.name for kind in (_Category, _Photo, _Object, _Coco) for field in fields(kind)}


def _lean(found: dict[str, object]) -> dict[str, object]:
    """The keys of a JSON object that are used. Outlines are dropped while parsing: a data set has gigabytes of them."""
    return {key: found[key] for key in COCO_KEYS & found.keys()}


def _read_coco(path: Path, data: bytes) -> dict[str, Annotation]:
    try:
        coco = TypeAdapter(_Coco).validate_python(json.loads(data, object_hook=_lean))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DeepInsideError(f"The annotations {path} cannot be read as COCO JSON: {place} {first['msg']}.") from error
    except (ValueError, RecursionError) as error:
        raise DeepInsideError(f"The annotations {path} cannot be read as COCO JSON: {error}.") from error
    objects: dict[int, list[tuple[str, Box]]] = {photo.id: [] for photo in coco.images}
    for photo, listed in _coco_objects(path, coco):
        objects[photo].append(listed)
    try:
        return {_coco_key(photo): _annotation(path, objects[photo.id], _coco_size(photo)) for photo in coco.images}
    except DeepInsideError as error:
        raise DeepInsideError(f"The annotations {path} cannot be read as COCO JSON: {error}.") from error


def _coco_objects(path: Path, coco: _Coco) -> Iterator[tuple[int, tuple[str, Box]]]:
    names = {category.id: category.name for category in coco.categories}
    if odd := next((name for name in names.values() if not name.strip() or not name.isprintable()), None):
        raise DeepInsideError(f"The annotations {path} have a category called {odd!r}; expected a name.")
    photos = {photo.id for photo in coco.images}
    for item in coco.annotations:
        if item.image_id not in photos or item.category_id not in names:
            raise DeepInsideError(
                f"The annotations {path} have a box of image {item.image_id} and category {item.category_id}, "
                "of which the file does not list both."
            )
        if not item.iscrowd:
            x, y, width, height = item.bbox
            yield item.image_id, (names[item.category_id], (x, y, x + width, y + height))


def _coco_key(photo: _Photo) -> str:
    path = PurePosixPath(photo.file_name)
    if not path.name or not photo.file_name.isprintable():
        raise DeepInsideError(f"expected the name of a file for image {photo.id}, found {photo.file_name!r}")
    return path.with_suffix("").as_posix()


def _coco_size(photo: _Photo) -> tuple[int, int] | None:
    return _checked_size((photo.width, photo.height)) if photo.width and photo.height else None


# ---- all formats -----------------------------------------------------------------------------------------------------


def _annotation(path: Path, objects: Iterable[tuple[str, Box]], size: tuple[int, int] | None = None) -> Annotation:
    inside = [(label, _inside(box, size), box) for label, box in objects]
    for label, box, raw in inside:
        if not _area(box):
            LOG.warning("%s: a box of %s without area is left out: %s", path, label, raw)
    visible = [(label, box) for label, box, _ in inside if _area(box)]
    return Annotation(tuple(box for _, box in visible), tuple(label for label, _ in visible), size)


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size; raises DeepInsideError if no photo can have it."""
    if not 0 < min(size) <= max(size) <= MAX_SIDE:
        raise DeepInsideError(f"expected a photo's width and height from 1 to {MAX_SIDE}, found {_shortened(size)}")
    return size


def _shortened(size: tuple[int, int]) -> str:
    return " and ".join(str(side) if abs(side) <= MAX_SIDE << 10 else "a far larger number" for side in size)


def _inside(box: Box, size: tuple[int, int] | None) -> Box:
    width, height = size or (inf, inf)
    x0, y0, x1, y1 = box
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def _area(box: Box) -> float:
    """The area; 0 for a box that is inverted or not finite."""
    width, height = box[2] - box[0], box[3] - box[1]
    return width * height if width > 0 and height > 0 and isfinite(width * height) else 0.0
