"""The pictures of a run: its panels, thumbnails of large panels, greyscale copies of maps, and a mosaic.

Every file is named after the path, size and modification time of its source, so unchanged sources are not processed
again.
"""

import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deepinside.html_report.files import write_atomically
from deepinside.html_report.photographs import Photograph, photographs
from deepinside.html_report.runs import read_json
from deepinside.results.shown import prediction_of

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Value = TypeVar("Value")
Box = tuple[float, float, float, float]
SMALL = 256
"""Larger panels are shown as a thumbnail with this many pixels on the longer side."""
MOST_ITEMS = 48
MOST_PANELS = 400
TILE = 128
GROUND = (127, 127, 127)
COLUMNS, ROWS = 4, 2
PHOTOS = ("photo", "box")
MASK = "mask"
"""The colour map of masks, as in `deepinside.figures.maps`."""
LAYERS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Picture:
    """One panel of one item. Paths are relative to the root, with `/`.

    `levels` is the greyscale copy of a map that is drawn with the colours of `colour_map`; both are empty for others.
    """

    panel: str
    original: str
    shown: str
    levels: str
    width: int
    height: int
    colour_map: str = ""

    @property
    def is_photo(self) -> bool:
        """Whether it shows the photo itself, perhaps with boxes."""
        return self.panel.rpartition("/")[2] in PHOTOS

    @property
    def paths(self) -> dict[str, str]:
        return {"original": self.original, "shown": self.shown, "levels": self.levels}


@dataclass(frozen=True)
class ShownItem:
    """One item and its pictures, in the technique's order.

    `verdict` says whether the network's best class is the true one, if that is known. `photograph` is the photo as it
    was taken, if it is still there; `boxes` are the first boxes of its panels, in fractions of what the network sees.
    """

    name: str
    title: str
    pictures: tuple[Picture, ...]
    verdict: str = ""
    photograph: Photograph | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class PictureWriter:
    """Writes the pictures of the run in `root/folder` to `target`, a folder under `root`."""

    root: Path
    folder: str
    target: Path
    maps: tuple[str, ...]
    """The colour maps that the run may have drawn with."""

    def items(self, named: Sequence[str], titles: dict[str, str]) -> list[ShownItem]:
        """The items with pictures, at most `MOST_ITEMS`; `named` are the items in `metrics.json`."""
        saved = saved_items(self.root / self.folder)
        found = panels(self.root / self.folder, set(named[:MOST_ITEMS]))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pictures = dict(zip(found, pool.map(self.picture, found.values(), found), strict=True))
        items: dict[str, list[Picture]] = {}
        for (item, _), picture in pictures.items():
            if picture is not None:
                items.setdefault(item, []).append(picture)
        photos = self.photographs(items, saved)
        return [
            shown_item(name, titles.get(name, readable(name)), those, saved.get(name), photos.get(name))
            for name, those in items.items()
        ]

    def photographs(
        self, items: Mapping[str, Sequence[Picture]], saved: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Photograph]:
        """The photograph of every item that has one."""
        views = {name: next((one.original for one in those if one.is_photo), "") for name, those in items.items()}
        stems = {name: str((saved.get(name, {}).get("prediction") or {}).get("image") or name) for name in items}
        found = photographs(
            self.root, self.folder, {stems[name]: self.root / picture for name, picture in views.items() if picture}
        )
        return {name: found[stem] for name, stem in stems.items() if views[name] and stem in found}

    def picture(self, path: Path, key: tuple[str, str]) -> Picture | None:
        """One panel; None if the file is not an image."""
        from PIL import Image

        original = path.relative_to(self.root).as_posix()
        try:
            with Image.open(path) as image:
                size = image.size
                levels, colour_map = self.levels(path, image) if key[1] not in PHOTOS else ("", "")
                shown = original if max(size) <= SMALL else self.small(path, image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        return Picture(key[1], original, shown, levels, *size, colour_map)

    def small(self, path: Path, image: "Image") -> str:
        target = self.target / f"{fingerprint(path, self.root)}.jpg"
        if not target.is_file():
            copy = image.convert("RGB")
            copy.thumbnail((SMALL, SMALL))
            self.write(target, copy, "JPEG", quality=85)
        return target.relative_to(self.root).as_posix()

    def levels(self, path: Path, image: "Image") -> tuple[str, str]:
        """Write a greyscale copy of a map, with the position of each colour; its path and the colour map's name.

        Both are empty if it is not a map.
        """
        found = read_levels(image, (*self.maps, MASK))
        if found is None:
            return "", ""
        target = self.target / f"{fingerprint(path, self.root)}.png"
        if not target.is_file():
            self.write(target, found[0], "PNG")
        return target.relative_to(self.root).as_posix(), found[1]

    def mosaic(self, items: Sequence[ShownItem]) -> str:
        """Write up to eight of the run's pictures as one thumbnail; empty without pictures."""
        from PIL import Image

        chosen = tiles(items)
        if not chosen:
            return ""
        cells = [cell for row in chosen for cell in row]
        names = "\n".join(fingerprint(self.root / cell.original, self.root) if cell else "" for cell in cells)
        target = self.target / f"mosaic-{sha256(names.encode()).hexdigest()[:16]}.jpg"
        if not target.is_file():
            page = Image.new("RGB", (TILE * len(chosen[0]), TILE * len(chosen)), GROUND)
            for place, cell in ((n, cell) for n, cell in enumerate(cells) if cell):
                with Image.open(self.root / cell.shown) as image:
                    row, column = divmod(place, len(chosen[0]))
                    page.paste(fitted(image), (column * TILE, row * TILE))
            self.write(target, page, "JPEG", quality=82)  # 10 % of the time of WebP
        return target.relative_to(self.root).as_posix()

    def write(self, target: Path, image: "Image", kind: str, **options: int) -> None:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        write_atomically(target, buffer.getvalue())

    def clean(self, used: Iterable[str]) -> None:
        """Remove files that are no longer used."""
        names = {Path(name).name for name in used}
        for left in self.target.glob("*"):
            if left.name not in names:
                left.unlink(missing_ok=True)


def saved_items(folder: Path) -> dict[str, dict[str, Any]]:
    """What the run says about its items, by name; empty for a run of another version."""
    try:
        return {str(item["name"]): item for item in (read_json(folder / "shown.json") or {})["items"]}
    except (KeyError, TypeError):
        return {}


def shown_item(
    name: str, title: str, pictures: Sequence[Picture], saved: Mapping[str, Any] | None, photo: Photograph | None
) -> ShownItem:
    sizes = {picture.panel: (picture.width, picture.height) for picture in pictures}
    panels = [panel for panel in (saved or {}).get("panels", ()) if panel.get("boxes") and panel["name"] in sizes]
    boxes = [in_fractions(box, sizes[panel["name"]]) for panel in panels[:1] for box in panel["boxes"]]
    return ShownItem(name, title, tuple(pictures), verdict(saved or {}), photo, tuple(boxes))


def verdict(saved: Mapping[str, Any]) -> str:
    """Whether the network's best class is the true one, or the one that a computed image should show."""
    prediction = prediction_of(saved.get("prediction"))
    if prediction is None or not saved.get("depicts") or saved["depicts"] != prediction.label:  # of the photo
        return prediction.verdict if prediction else ""
    return (
        f"right: recognised as {prediction.label_name}"
        if prediction.right
        else f"wrong: should show {prediction.label_name}"
    )


def in_fractions(box: Sequence[float], size: tuple[int, int]) -> Box:
    """A box in pixels of a picture in fractions of its `size`, width and height."""
    return box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]


def panels(folder: Path, named: set[str]) -> dict[tuple[str, str], Path]:
    """The paths of the panels of the items `named`, in the technique's order if it is known."""
    found: dict[tuple[str, str], Path] = {}
    base = folder / "panels"
    for place, _, names in os.walk(base):
        panel = Path(place).relative_to(base).as_posix()
        for name in names:
            item = name.removesuffix(".png")
            if item != name and item in named:
                found[item, panel] = Path(place, name)
    order = written_order(folder)
    last = len(order)
    keys = sorted(found, key=lambda key: (order.get(key, last), key[0], key[1] not in PHOTOS, natural(key[1])))
    return {key: found[key] for key in keys[:MOST_PANELS]}


def written_order(folder: Path) -> dict[tuple[str, str], int]:
    """The position of every item and panel in the run's arrays, in the technique's order; empty without arrays."""
    try:
        with zipfile.ZipFile(folder / "arrays.npz") as arrays:
            names = [name.removesuffix(".npy").partition("/") for name in arrays.namelist()]
    except (OSError, zipfile.BadZipFile):
        return {}
    return {(item, panel): place for place, (item, _, panel) in enumerate(names)}


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that orders numbers by value, so that conv10 comes after conv9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in LAYERS.split(name)]


def readable(name: str) -> str:
    return name.replace("_", " ")


def fingerprint(path: Path, root: Path) -> str:
    stat = path.stat()
    words = f"{path.relative_to(root).as_posix()} {stat.st_size} {stat.st_mtime_ns}"
    return sha256(words.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def tiles(items: Sequence[ShownItem]) -> list[list[Picture | None]]:
    """The pictures of a run's thumbnail as rows: items across and panels down, or the reverse; many are subsampled.

    The layout follows the papers: pairs of photo and map, classes side by side, or four columns of one photo.
    """
    rows: list[list[Picture | None]] = [list(item.pictures) for item in items if item.pictures]
    if not rows:
        return []
    width = max(map(len, rows))
    if width < COLUMNS and len(rows) >= width:
        rows = [[row[column] if column < len(row) else None for row in rows] for column in range(width)]
    if len(rows) == 1 and len(rows[0]) > COLUMNS:
        eight = subsampled(rows[0], COLUMNS * ROWS)
        rows = [eight[:COLUMNS], eight[COLUMNS:]]
    cut = [subsampled(row, COLUMNS) for row in subsampled(rows, ROWS)]
    width = max(map(len, cut))
    return [[*row, *[None] * (width - len(row))] for row in cut]


def subsampled(values: Sequence[Value], most: int) -> list[Value]:
    """At most `most` of the values, evenly spaced, starting with the first."""
    if len(values) <= most:
        return list(values)
    return [values[i * len(values) // most] for i in range(most)]


def fitted(image: "Image") -> "Image":
    """The central square of the picture as a tile; small pictures are enlarged without interpolation."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    method = Image.Resampling.NEAREST if side <= TILE // 2 else Image.Resampling.LANCZOS
    return square.resize((TILE, TILE), method)


def read_levels(image: "Image", maps: Sequence[str]) -> "tuple[Image, str] | None":
    """The (H, W) positions 0–255 of a picture's colours in the first fitting one of `maps`, and that map's name."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image.convert("RGB")).astype(np.uint32)
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    for name in filter(None, maps):
        colours, levels = lookup(name)
        if not np.isin(codes.flat[:: max(1, codes.size // 64)], colours).all():
            continue
        place = np.searchsorted(colours, codes).clip(max=len(colours) - 1)
        if (colours[place] == codes).all():
            return Image.fromarray(levels[place]), name
    return None


@cache
def lookup(name: str) -> "tuple[np.ndarray, np.ndarray]":
    """The colours of a map, sorted by their codes, and the position of each from 0 to 255; none of an unknown map."""
    import numpy as np

    from deepinside.figures.pictures import colours

    try:
        table = colours(name).astype(np.uint32)
    except KeyError:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint8)
    codes, places = np.unique((table[:, 0] << 16) | (table[:, 1] << 8) | table[:, 2], return_index=True)
    return codes, (places * 255 // (len(table) - 1)).astype(np.uint8)
