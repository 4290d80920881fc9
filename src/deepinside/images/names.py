"""Names for photos that no file system minds, no two of a set alike."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from errno import ENAMETOOLONG
from pathlib import Path, PurePath

from deepinside.errors import DeepInsideError

UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff\u2028\u2029]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names Windows keeps for itself
MAX_BYTES = 120


def unique_stems(paths: Sequence[PurePath]) -> list[str]:
    """A name for each path, safe as a file's name on any system and unlike every other even where case is ignored.

    Names are the files' own stems where these are unique; otherwise the folders' names stand before them (`left-cat`),
    then the suffix after them (`cat-png`), then a number.
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
    """`name` with what file systems refuse or hide replaced by `_`; a long one is cut and ends in part of a hash."""
    safe = UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    safe = re.sub(r"^[.\s]|[.\s]$", "_", safe) or "_"
    if RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    if len(safe.encode()) <= MAX_BYTES:
        return safe
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:8]
    return f"{safe.encode()[: MAX_BYTES - 9].decode(errors='ignore')}-{digest}"


def user_path(text: str, where: str) -> Path:
    """A path as a person writes it, `~` being the home folder. Raises DeepInsideError, which begins with `where`, for
    what no file can be called."""
    try:
        path = Path(text).expanduser()
        path.stat()
    except (RuntimeError, ValueError) as error:  # no home folder; a zero byte, half a letter
        raise DeepInsideError(f"{where}: expected a path, found {text[:200]!r} ({error}).") from error
    except OSError as error:
        if error.errno == ENAMETOOLONG or not text.isprintable():
            raise DeepInsideError(f"{where}: expected a path, found {text[:200]!r} ({error.strerror}).") from error
    return path


def shown(path: PurePath) -> str:
    """The path as it may stand in a log: letters of any script, but no line breaks and no undecodable bytes."""
    text = path.as_posix()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _folders(path: PurePath) -> list[str]:
    return [part for part in path.parent.parts if part not in {path.anchor, ".."}]


def _repeated(keys: Iterable[Hashable]) -> set[Hashable]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _numbered(names: Sequence[str]) -> list[str]:
    """`names` with -2, -3, … after the second, third, … of the same."""
    taken: set[str] = set()
    last: Counter[str] = Counter()  # the number a name was given last, so that a thousand of the same are quick too
    out = []
    for name in names:
        free, key = name, name.casefold()
        while free.casefold() in taken:
            last[key] += 1
            free = f"{name}-{last[key] + 1}"
        taken.add(free.casefold())
        out.append(free)
    return out
