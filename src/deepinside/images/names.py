"""Unique names for photos that are valid on every file system."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from errno import ENAMETOOLONG
from pathlib import Path, PurePath

from deepinside.errors import DeepInsideError

UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff\u2028\u2029]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # reserved by Windows
MAX_BYTES = 120


def unique_stems(paths: Sequence[PurePath]) -> list[str]:
    """A name for each path, valid as a file name on any system and unique even if case is ignored.

    A name is the file's stem if that is unique; otherwise the folders' names are prepended (`left-cat`), then the
    suffix is appended (`cat-png`), then a number.
    """
    spellings: tuple[Callable[[PurePath], str], ...] = (
        lambda path: "-".join([*_folders(path), path.stem]),
        lambda path: "-".join(filter(None, [*_folders(path), path.stem, path.suffix[1:]])),
    )
    names = [file_stem(path.stem) for path in paths]
    for spell in spellings:
        twins = _repeated(name.casefold() for name in names)
        names = [
            file_stem(spell(path)) if name.casefold() in twins else name
            for path, name in zip(paths, names, strict=True)
        ]
    return _numbered(names)


def file_stem(name: str) -> str:
    """`name` with characters that file systems refuse or hide replaced by `_`; a long name ends in a hash."""
    safe = UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    safe = re.sub(r"^[.\s]|[.\s]$", "_", safe) or "_"
    if RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if len(safe.encode()) <= MAX_BYTES:
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{safe.encode()[: MAX_BYTES - 9].decode(errors='ignore')}-{digest}"


def user_path(text: str, where: str) -> Path:
    """A path as the user writes it; `~` is the home folder. Raises DeepInsideError, beginning with `where`, for an
    invalid file name and for a URL."""
    if "://" in text:
        raise DeepInsideError(f"{where}: expected a path, found the URL {text[:200]}; download it and name the file.")
    try:
        path = Path(text).expanduser()
        path.stat()
    except (RuntimeError, ValueError) as error:  # no home folder; a zero byte or a lone surrogate
        raise DeepInsideError(f"{where}: expected a path, found {text[:200]!r} ({error}).") from error
    except OSError as error:
        if error.errno == ENAMETOOLONG or not text.isprintable():
            raise DeepInsideError(f"{where}: expected a path, found {text[:200]!r} ({error.strerror}).") from error
    return path


def shown(path: PurePath) -> str:
    """The path for a log: letters of any script, but no line breaks and no undecodable bytes."""
    text = path.as_posix()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _folders(path: PurePath) -> list[str]:
    return [part for part in path.parent.parts if part not in {path.anchor, ".."}]


def _repeated(keys: Iterable[Hashable]) -> set[Hashable]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _numbered(names: Sequence[str]) -> list[str]:
    """`names` with -2, -3, … after the second, third, … of equal ones."""
    taken: set[str] = set()
    last: Counter[str] = Counter()  # the last number of each name, so that a thousand equal names are fast too
    out = []
    for name in names:
        free, key = name, name.casefold()
        while free.casefold() in taken:
            last[key] += 1
            free = f"{name}-{last[key] + 1}"
        taken.add(free.casefold())
        out.append(free)
    return out
