"""The photographs of a run's items as they were taken: scaled for the screen, with the part that the network sees.

Photos are read again from where the run found them and checked by their SHA-256. All runs of a report share the copies.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.html_report.files import write_atomically
from deepinside.html_report.runs import read_json, read_yaml
from deepinside.images import archives
from deepinside.images.datasets import dataset_folder
from deepinside.images.load import ENOUGH, decode
from deepinside.images.settings import ImageSettings, as_declared, crop_side, loaded_size, view
from deepinside.images.sources import Source, listed
from deepinside.networks.spec import InputConvention

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "report/photographs"
SIDE = 1024
"""Larger photographs are scaled down to this many pixels on the longer side."""
CLOSE = 24.0
"""The largest median difference, in intensities, of the part cut out here and the picture that the run saved of it."""


@dataclass(frozen=True)
class Photograph:
    """A photograph's copy, `path` relative to the root, and the part of it that the network sees: left, top, right and
    bottom in fractions of its width and height."""

    path: str
    width: int
    height: int
    view: tuple[float, float, float, float]


def photographs(root: Path, folder: str, views: Mapping[str, Path]) -> dict[str, Photograph]:
    """The photographs of the run in `root/folder` by name; `views` has the picture that the run saved of each.

    A photograph that is not there any more, that has changed or that needs a download is left out.
    """
    config = read_yaml(root / folder / "config.yaml")
    hashes = (read_json(root / folder / "provenance.json") or {}).get("images")
    wanted = {name: str(hashes[name]) for name in views if name in hashes} if isinstance(hashes, Mapping) else {}
    if not wanted or not config.get("images"):
        return {}
    try:
        settings = construct(ImageSettings, config["images"], "images")
        convention = construct(InputConvention, (config.get("network") or {}).get("input") or {}, "network.input")
        copies = copied(root, settings, wanted)

        def found(name: str) -> Photograph | None:
            return located(root, copies[name], settings, convention, views[name])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return {name: one for name, one in zip(copies, pool.map(found, copies), strict=True) if one}
    except DeepInsideError:  # settings of another version, a moved folder or archive
        return {}


def copied(root: Path, settings: ImageSettings, wanted: Mapping[str, str]) -> dict[str, Path]:
    """The copies of the photographs with these hashes, by name; missing ones are made."""
    paths = {name: root / FOLDER / f"{digest[:16]}.jpg" for name, digest in wanted.items()}
    missing = {name for name, path in paths.items() if not path.is_file()}
    sources = listed(settings) if missing and is_local(settings) else ()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source in (source for source in sources if source.stem in missing):
            pool.submit(copy_photograph, source, wanted[source.stem], paths[source.stem])
    return {name: path for name, path in paths.items() if path.is_file()}


def is_local(settings: ImageSettings) -> bool:
    """Whether the photos can be listed without a download."""
    data = settings.dataset
    fetched = data is None or all((dataset_folder() / file.name).is_file() for file in data.files.values())
    return fetched and not any(
        map(archives.is_url, filter(None, (settings.root, settings.labels, settings.annotations)))
    )


def copy_photograph(source: Source, digest: str, path: Path) -> None:
    """Write a photograph as a JPEG for the screen, if it is still the one that the run read."""
    try:
        data = source.read()
        if sha256(data).hexdigest() != digest:
            return
        image, _ = decode(data, source.path, needed=SIDE // ENOUGH)
    except DeepInsideError:
        return
    image.thumbnail((SIDE, SIDE))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=82, optimize=True)
    write_atomically(path, buffer.getvalue())


def located(
    root: Path, path: Path, settings: ImageSettings, convention: InputConvention, saved: Path
) -> Photograph | None:
    """The photograph with the part that the network sees; None if the run saved a picture of another part."""
    from PIL import Image

    size, settings = loaded_size(settings, convention), as_declared(settings, convention)
    with Image.open(path) as photo, Image.open(saved) as picture:
        box = view(photo.size, size, short_side=crop_side(settings, size))
        if not shows_the_same(photo, box, picture):
            return None
        width, height = photo.size
    found = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return Photograph(path.relative_to(root).as_posix(), width, height, found)


def shows_the_same(photo: "Image", box: tuple[float, float, float, float], picture: "Image") -> bool:
    """Whether this part of a photo looks like the picture; boxes drawn on it do not matter."""
    import numpy as np

    mode = "L" if picture.mode == "L" else "RGB"
    part: Any = photo.convert(mode).resize(picture.size, box=box)
    difference = np.abs(np.asarray(part, np.float32) - np.asarray(picture.convert(mode), np.float32))
    by_pixel = difference.reshape(*difference.shape[:2], -1).max(axis=2)
    return float(np.median(by_pixel)) <= CLOSE
