"""Lists the photos that the settings name, in order, with their names, labels and objects."""

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path, PurePath
from typing import NamedTuple

from deepinside.errors import DeepInsideError
from deepinside.images import archives
from deepinside.images.annotations import Annotation
from deepinside.images.labels import Classes, annotate, labeller
from deepinside.images.load import file_bytes
from deepinside.images.names import shown, unique_stems, user_path
from deepinside.images.settings import DEPICTED, PHOTOGRAPHS, ImageSettings, in_place
from deepinside.networks.spec import NetworkSpec
from deepinside.networks.text import read_text

# HEIC cannot be decoded, but such photos should be reported as unreadable, not ignored
SUFFIX = re.compile(r"\.(jpe?g|jpe|jfif|a?png|gif|webp|avif|bmp|tiff?|p[bgnp]m|jp2|j2k|jpx|qoi|hei[cf])", re.IGNORECASE)
"""The suffixes of photos in a folder; other files are ignored."""


@dataclass(frozen=True, slots=True)
class Source:
    """One photo to read: its file, a unique `stem` that is valid as a file name, and its class and that class's boxes
    if known.

    `name` is for messages: the path relative to `root`. For a photo in an archive, `member` is its entry, and `path` is
    where it would be if the archive were unpacked next to itself. `depicts` is the class of a photo that ships with the
    project.
    """

    path: Path
    stem: str
    name: str
    label: str | None = None
    objects: Annotation | None = None
    member: archives.Member | None = None
    depicts: str | None = None

    def read(self) -> bytes:
        """The file's bytes; raises UnreadableImage if they cannot be read."""
        return file_bytes(self.path) if self.member is None else self.member.read()


class Found(NamedTuple):
    """A photo's file; `below` is its path relative to `root`."""

    path: Path
    below: PurePath
    member: archives.Member | None = None
    depicts: str | None = None


class Listing(list[Source]):
    """Photos in order. `notes` say which were left out."""

    notes: tuple[str, ...] = ()


def listed(settings: ImageSettings, network: NetworkSpec | None = None) -> Listing:
    """Every photo that the settings name, in order: by name for a folder, an archive or a glob, as written for a list.

    The same photos in a folder, a zip and a tar of that folder's name have the same names, order and labels. `limit`
    changes no stem. `network` is needed for `unknown_classes=skip`. Raises DeepInsideError if there is
    nothing to read; without `root`, `dataset` and `names` the list is empty.
    """
    translated = settings.dataset.classes if settings.dataset is not None else {}
    settings = in_place(settings)
    found = [] if settings.root is None else _find(settings)
    label_of = labeller(settings.labels, [(each.path, each.below) for each in found])
    rows = [
        *((Found(_shipped(name), PurePath(name), depicts=DEPICTED.get(name)), None) for name in settings.names),
        *((each, label_of(each.path, each.below)) for each in found),
    ]
    stems = unique_stems([each.below for each, _ in rows])
    objects = annotate(settings.annotations, [(each.path, label) for each, label in rows])
    sources = [
        Source(
            each.path, stem, shown(each.below), translated.get(label or "", label), marked, each.member, each.depicts
        )
        for (each, _), stem, (label, marked) in zip(rows, stems, objects, strict=True)
    ]
    known = None if network is None or settings.unknown_classes == "keep" else Classes(network)
    return _of_known_classes(sources, known, settings.limit)


def _of_known_classes(sources: Sequence[Source], classes: Classes | None, limit: int | None) -> Listing:
    """The first `limit` photos without a label or with one of `classes`; None leaves none out."""
    kept = [each for each in sources if classes is None or each.label is None or each.label in classes]
    found = Listing(kept[:limit])
    if len(kept) < len(sources):
        others = sorted({each.label or "" for each in sources} - {each.label or "" for each in kept})
        found.notes = (
            f"{len(sources) - len(kept)} of {len(sources)} photos are left out: they show {len(others)} classes that "
            f"{classes} does not have, such as {', '.join(others[:3])}.",
        )
        if not kept:
            raise DeepInsideError(
                f"images: expected photos of classes of {classes}, found none among {len(sources)}; their classes are "
                f"{', '.join(others[:3])} and the like: choose another network, or images.unknown_classes=keep."
            )
    return found


def fingerprint(sources: Sequence[Source]) -> str:
    """SHA-256 of the photos' names, sizes in bytes, checksums in a zip, labels and boxes.

    No photo is read: a photo that changed without changing its size keeps the fingerprint. 50 000 photos take less than
    a second.
    """
    digest = hashlib.sha256()
    for source in sources:
        mark = _size(source.path) if source.member is None else (source.member.size, source.member.crc)
        digest.update(repr((source.stem, source.name, mark, source.label, source.objects)).encode())
    return digest.hexdigest()


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - several times as quick
    except OSError:
        return -1


def _shipped(name: str) -> Path:
    package, file = PHOTOGRAPHS[name]
    found = find_spec(package)
    if found is None or found.origin is None:
        raise DeepInsideError(f"The photograph {name!r} comes with {package}, which is not installed.")
    return Path(found.origin).parent / file


def _find(settings: ImageSettings) -> list[Found]:
    """The files below `root`."""
    if archives.is_url(settings.root or ""):
        return _behind_url(settings.root or "", recursive=settings.recursive)
    root = user_path(settings.root or "", "images.root")
    if root.is_dir():
        return _in_folder(root, recursive=settings.recursive)
    if root.is_file() and archives.suffix(root.name):
        return _in_archive(root, recursive=settings.recursive)
    if inside := archives.split(root):
        return _inside_archive(*inside, recursive=settings.recursive)
    if root.is_file():
        return _in_list(root) if root.suffix.lower() == ".txt" else [Found(root, PurePath(root.name))]
    if glob.has_magic(str(root)):
        return _in_glob(root)
    raise DeepInsideError(f"images.root is {shown(root)}, which is neither a folder nor a file nor a glob.")


def _in_folder(root: Path, *, recursive: bool) -> list[Found]:
    found = sorted(_walk(str(root), (), recursive=recursive))
    if not found:
        raise DeepInsideError(_none_in(f"The folder {root}", recursive=recursive))
    return [Found(Path(root, *parts), PurePath(*parts)) for parts in found]


def _walk(folder: str, above: tuple[str, ...], *, recursive: bool) -> Iterator[tuple[str, ...]]:
    """The photos below a folder, each as the parts of its path; hidden files and linked folders are left out."""
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise DeepInsideError(f"The folder {folder} cannot be read: {error.strerror}; name another.") from error
    for entry in entries:
        if _is_photo(entry.name) and entry.is_file():
            yield *above, entry.name
        elif recursive and entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, (*above, entry.name), recursive=True)


def _in_archive(root: Path, *, recursive: bool) -> list[Found]:
    folder = root.with_name(root.name[: -len(archives.suffix(root.name) or "")])
    return _members(f"The archive {root}", archives.members(root), folder, recursive=recursive)


def _inside_archive(archive: Path, pattern: tuple[str, ...], *, recursive: bool) -> list[Found]:
    """The photos in the folders of an archive that `pattern` names; it may have wildcards."""
    fixed = tuple(takewhile(lambda part: not glob.has_magic(part), pattern))
    depth = len(pattern) - len(fixed)
    found = [
        (parts, member)
        for parts, member in archives.matching(archives.members(archive), pattern)
        if recursive or len(parts) <= depth + 1
    ]
    return _photos_of(f"{archive}/{'/'.join(pattern)}", found, archive.joinpath(*fixed), recursive=recursive)


def _behind_url(url: str, *, recursive: bool) -> list[Found]:
    """The photos of a remote archive, folder or glob, or the one photo at the URL."""
    place = url.partition("://")[2].partition("?")[0].rstrip("/")
    if place.lower().endswith(".txt"):
        return _list_behind(url)
    folder = Path(place[: -len(archives.suffix(place) or "")] if archives.suffix(place) else place)
    glob_ = "*" in url
    single = _is_photo(folder.name) and not glob_
    found = archives.remote_members(url, single=single, recursive=recursive)
    return _members(url, found, folder.parent if single or glob_ else folder, recursive=recursive or glob_)


def _members(place: str, members: Sequence[archives.Member], folder: Path, *, recursive: bool) -> list[Found]:
    listed = [(member.parts, member) for member in members if recursive or len(member.parts) == 1]
    return _photos_of(place, listed, folder, recursive=recursive)


def _photos_of(
    place: str, members: Sequence[tuple[tuple[str, ...], archives.Member]], folder: Path, *, recursive: bool
) -> list[Found]:
    photos = [
        (parts, member)
        for parts, member in members
        if parts and _is_photo(parts[-1]) and not any(part.startswith(".") for part in parts)
    ]
    if not photos:
        raise DeepInsideError(_none_in(place, recursive=recursive))
    return [
        Found(folder.joinpath(*parts), PurePath(*parts), member)
        for parts, member in sorted(photos, key=lambda row: row[0])
    ]


def _none_in(place: str, *, recursive: bool) -> str:
    deeper = "" if recursive else "; images.recursive=true looks into its sub-folders too"
    return f"{place} has no photos (.jpg, .png, .webp, …){deeper}."


def _in_glob(pattern: Path) -> list[Found]:
    matches = [Path(match) for match in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - Path.glob takes no absolute one
    found = sorted(path for path in matches if _is_photo(path.name) and path.is_file())
    if not found:
        raise DeepInsideError(f"No photo matches images.root={pattern}.")
    return _below(found, Path(os.path.commonpath([path.parent for path in found])))


def _in_list(path: Path) -> list[Found]:
    lines = _list_lines(read_text(path), str(path))
    return _below([path.parent / user_path(line, where) for line, where in lines], path.parent)


def _list_behind(url: str) -> list[Found]:
    """The photos of a list at a URL; their paths are relative to it. Each is fetched on demand."""
    base = url.partition("?")[0].rpartition("/")[0]
    found = []
    for line, where in _list_lines(archives.remote_text(url), url):
        if archives.is_url(line) or line.startswith("/"):
            raise DeepInsideError(f"{where}: expected a path relative to the list, found {line}.")
        (member,) = archives.remote_members(f"{base}/{line}", single=True, recursive=False)
        found.append(Found(Path(base.partition("://")[2], line), PurePath(line), member))
    return found


def _list_lines(text: str, name: str) -> list[tuple[str, str]]:
    """The paths in a list, and the place of each for messages."""
    lines = [(line.strip(), f"{name}, line {number}") for number, line in enumerate(text.splitlines(), 1)]
    found = [(line, where) for line, where in lines if line and not line.startswith("#")]
    if not found:
        raise DeepInsideError(f"The list {name} names no photos; expected one path a line.")
    return found


def _below(paths: Sequence[Path], base: Path) -> list[Found]:
    return [Found(path, path.relative_to(base) if path.is_relative_to(base) else path) for path in paths]


def _is_photo(name: str) -> bool:
    return not name.startswith(".") and SUFFIX.fullmatch(os.path.splitext(name)[1]) is not None  # noqa: PTH122 - quick
