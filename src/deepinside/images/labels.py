"""What the photos show, as far as people said: classes from folders, names or files, and marked objects."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath

from deepinside.errors import DeepInsideError
from deepinside.images.annotations import Annotation, find, read_annotations
from deepinside.images.names import user_path
from deepinside.networks.text import read_text

WNID = re.compile(r"n\d{8}(?!\d)")

Marked = tuple[str | None, Annotation | None]
"""A photo's label, and the boxes of that label."""


def labeller(labels: str | None, photos: Sequence[tuple[Path, PurePath]]) -> Callable[[Path, PurePath], str | None]:
    """What gives a photo, told as its path and its path below the root, its label; see `ImageSettings.labels`.

    Raises DeepInsideError for a label file that cannot be read, or has none of `photos`.
    """
    if labels is None:
        return lambda path, below: None
    if labels == "folder":
        return lambda path, below: _folder(str(path.parent))
    if labels == "stem":
        return lambda path, below: _wnid(path)
    table = _label_file(user_path(labels, "images.labels"))
    if photos and not any(_look_up(table, *photo) for photo in photos):
        raise DeepInsideError(
            f"The label file {labels} names none of the photos, the first of which is {photos[0][0]}."
        )
    return lambda path, below: _look_up(table, path, below)


def annotate(annotations: str | None, photos: Sequence[tuple[Path, str | None]]) -> list[Marked]:
    """Label and objects of every photo, told as its path and its label so far; one without a label gets its objects'.

    Raises DeepInsideError for annotations that cannot be read, or have none of the photos.
    """
    if annotations is None:
        return [(label, None) for _, label in photos]
    known = read_annotations(user_path(annotations, "images.annotations"))
    found = [find(known, path) for path, _ in photos]
    if not any(found):
        raise DeepInsideError(
            f"images.annotations={annotations} has none of the photos, the first of which is "
            f"{photos[0][0] if photos else 'missing'}; a photo is found by its name without the suffix."
        )
    return [_with_objects(label, objects) for (_, label), objects in zip(photos, found, strict=True)]


def _with_objects(label: str | None, objects: Annotation | None) -> Marked:
    """The boxes of the photo's own label, or where none is called so, those of the largest box's label."""
    if objects is None:
        return label, None
    main = label if label in objects.labels else objects.label
    if main is None:
        return label, None
    boxes = objects.of(main)
    return label or main, replace(objects, boxes=boxes, labels=(main,) * len(boxes))


@lru_cache(maxsize=1024)
def _folder(folder: str) -> str:
    return os.path.basename(os.path.abspath(folder))  # noqa: PTH100, PTH119 - a link's own folder, not its target's


def _wnid(path: PurePath) -> str | None:
    match = WNID.match(path.stem)
    return match.group() if match else None


def _look_up(table: dict[str, str], path: PurePath, below: PurePath) -> str | None:
    keys = (below.as_posix(), path.name, path.stem)
    return next((table[key] for key in keys if key in table), None)


def _label_file(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in read_text(path).splitlines())
    return dict(_label_line(path, line) for line in lines if line and not line.startswith("#"))


def _label_line(path: Path, line: str) -> tuple[str, str]:
    """Name and label: two columns of a tab-separated table, or what stands around the first comma or space."""
    separator = next((mark for mark in ("\t", ",", " ") if mark in line), None)
    if separator is None:
        raise DeepInsideError(f"The label file {path} has the line {line!r}; expected a name and a label.")
    name, label = line.split(separator)[:2] if separator == "\t" else line.split(separator, 1)
    return name.strip(), label.strip()
