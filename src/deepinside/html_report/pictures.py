"""The pictures of a run: its panels, thumbnails of large panels, greyscale copies of maps, and a mosaic.

Every file is named after the path, size and modification time of its source, so unchanged sources are not processed
again.
"""

import io
import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deepinside.html_report.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Value = TypeVar("Value")
SMALL = 256
"""Larger panels are shown as a thumbnail with this many pixels on the longer side."""
MOST_ITEMS = 48
MOST_PANELS = 400
TILE = 128
GROUND = (127, 127, 127)
COLUMNS, ROWS = 4, 2
PHOTOS = ("photo", "box")
SIGNED = "RdBu_r"
LAYERS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Picture:
    """One panel of one item. Paths are relative to the root, with `/`; `levels` is a map's greyscale copy, or empty."""

    panel: str
    original: str
    shown: str
    levels: str
    width: int
    height: int

    @property
    def paths(self) -> dict[str, str]:
        return {"original": self.original, "shown": self.shown, "levels": self.levels}


@dataclass(frozen=True)
class ShownItem:
    """One item and its pictures, in the technique's order."""

    name: str
    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class PictureWriter:
    """Writes the pictures of the run in `root/folder` to `target`, a folder under `root`."""

    root: Path
    folder: str
    target: Path
    magnitude_map: str

    def items(self, named: Sequence[str], titles: dict[str, str]) -> list[ShownItem]:
        """The items with pictures, at most `MOST_ITEMS`; `named` are the items in `metrics.json`."""
        found = panels(self.root / self.folder, set(named[:MOST_ITEMS]))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pictures = dict(zip(found, pool.map(self.picture, found.values(), found), strict=True))
        items: dict[str, list[Picture]] = {}
        for (item, _), picture in pictures.items():
            if picture is not None:
                items.setdefault(item, []).append(picture)
        return [ShownItem(name, titles.get(name, readable(name)), tuple(those)) for name, those in items.items()]

    def picture(self, path: Path, key: tuple[str, str]) -> Picture | None:
        """One panel; None if the file is not an image."""
        from PIL import Image

        original = path.relative_to(self.root).as_posix()
        try:
            with Image.open(path) as image:
                size, levels = image.size, self.levels(path, image) if key[1] not in PHOTOS else ""
                shown = original if max(size) <= SMALL else self.small(path, image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None
        return Picture(key[1], original, shown, levels, *size)

    def small(self, path: Path, image: "Image") -> str:
        target = self.target / f"{fingerprint(path, self.root)}.jpg"
        if not target.is_file():
            copy = image.convert("RGB")
            copy.thumbnail((SMALL, SMALL))
            self.write(target, copy, "JPEG", quality=85)
        return target.relative_to(self.root).as_posix()

    def levels(self, path: Path, image: "Image") -> str:
        """Write a greyscale copy of a map, with the index of each colour; empty if it is not a map."""
        target = self.target / f"{fingerprint(path, self.root)}.png"
        if not target.is_file():
            found = read_levels(image, (self.magnitude_map, SIGNED))
            if found is None:
                return ""
            self.write(target, found, "PNG")
        return target.relative_to(self.root).as_posix()

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


def read_levels(image: "Image", maps: Sequence[str]) -> "Image | None":
    """The (H, W) indices 0–255 of a picture in one of the colour `maps`; None if it uses no such map."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image.convert("RGB")).astype(np.uint32)
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    for name in maps:
        colours, levels = lookup(name)
        if not len(colours) or not np.isin(codes.flat[:: max(1, codes.size // 64)], colours).all():
            continue
        place = np.searchsorted(colours, codes).clip(max=len(colours) - 1)
        if (colours[place] == codes).all():
            return Image.fromarray(levels[place])
    return None


@cache
def lookup(name: str) -> "tuple[np.ndarray, np.ndarray]":
    """The 256 colours of a map, sorted by their codes, and the index of each."""
    import numpy as np
    from matplotlib import colormaps

    if name not in colormaps:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint8)
    colours = colormaps[name](np.arange(256), bytes=True)[:, :3].astype(np.uint32)
    codes, levels = np.unique((colours[:, 0] << 16) | (colours[:, 1] << 8) | colours[:, 2], return_index=True)
    return codes, levels.astype(np.uint8)
