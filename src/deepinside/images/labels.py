"""Labels of photos: classes from folders, file names or label files, and box annotations."""

import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath

from deepinside.errors import DeepInsideError
from deepinside.images.annotations import Annotation, find, read_annotations
from deepinside.images.archives import is_url, remote_text
from deepinside.images.names import user_path
from deepinside.networks.spec import NetworkSpec, read_groups, read_labels
from deepinside.networks.text import read_text

WNID = re.compile(r"n\d{8}(?!\d)")

Marked = tuple[str | None, Annotation | None]
"""A photo's label and the boxes of that label."""


class Classes:
    """The names of a network's classes: WordNet ids, names, each of their synonyms, and groups of classes."""

    def __init__(self, spec: NetworkSpec) -> None:
        labels = read_labels(spec)
        names = {name.strip().casefold() for label in labels for name in (label.name, *label.name.split(","))}
        self.network = spec.name
        self.names = names | {label.wnid for label in labels} | set(read_groups(spec, labels))

    def __contains__(self, label: str) -> bool:
        return label in self.names or label.casefold() in self.names

    def __str__(self) -> str:
        return self.network


def labeller(labels: str | None, photos: Sequence[tuple[Path, PurePath]]) -> Callable[[Path, PurePath], str | None]:
    """A function from a photo's path and its path relative to the root to its label; see `ImageSettings.labels`.

    Raises DeepInsideError for a label file that cannot be read, or that has none of `photos`.
    """
    if labels is None:
        return lambda path, below: None
    if labels == "folder":
        return lambda path, below: _folder(str(path.parent))
    if labels == "stem":
        return lambda path, below: _wnid(path)
    table = _label_file(labels)
    if photos and not any(_look_up(table, *photo) for photo in photos):
        raise DeepInsideError(
            f"The label file {labels} names none of the photos, the first of which is {photos[0][0]}."
        )
    return lambda path, below: _look_up(table, path, below)


def annotate(annotations: str | None, photos: Sequence[tuple[Path, str | None]]) -> list[Marked]:
    """Label and objects of every photo (path, label); a photo without a label takes that of its objects.

    Raises DeepInsideError for annotations that cannot be read, or that have none of the photos.
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
    """The boxes of the photo's label, or if there are none, those of the largest box's label."""
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


def _label_file(path: str) -> dict[str, str]:
    """Labels by photo, from a file or a URL."""
    text = remote_text(path) if is_url(path) else read_text(user_path(path, "images.labels"))
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return dict(_label_line(f"{path}, line {number}", line) for number, line in lines if line and line[0] != "#")


def _label_line(place: str, line: str) -> tuple[str, str]:
    """Name and label: two columns of a table, quoted or not, or the text before and after the first space.

    A label may contain commas; a tab-separated table may have further columns.
    """
    mark = next((mark for mark in "\t;, " if mark in line), None)
    if mark is None:
        raise DeepInsideError(f"{place}: expected the name of a photo and a label, found {line!r}.")
    if mark == " ":
        name, label = line.split(" ", 1)
    else:
        try:
            name, *rest = next(csv.reader([line], delimiter=mark, skipinitialspace=True))
        except csv.Error as error:
            raise DeepInsideError(f"{place}: expected the name of a photo and a label ({error}).") from error
        label = rest[0] if mark == "\t" else ", ".join(part.strip() for part in rest)
    return name.strip(), label.strip()
