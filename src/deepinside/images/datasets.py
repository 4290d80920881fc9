"""Data sets that are declared like networks: files to fetch once, their splits and annotations.

A data set is the `dataset` block of a YAML in `configs/images/`. Its archives are fetched into the cache folder,
checked by their hash and read without being unpacked.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.networks.cache import cache_folder

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DataFile:
    """A file of a data set: its `name` in the cache, the addresses that serve it, and its hash.

    `md5` is for files whose publisher gives no SHA-256. Without `urls` the file is placed by hand. Without a hash, that
    of the first file found is recorded and required from then on.
    """

    name: str = Field(pattern=r"^[^/\\]+$")
    urls: tuple[str, ...] = ()
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    bytes: int | None = Field(default=None, gt=0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Split:
    """Where the photos of a split are, and its boxes and labels: as `root`, `annotations` and `labels` of
    `deepinside.images.settings.ImageSettings`, with the key of a file in front (`archive/val/images`)."""

    root: str
    annotations: str | None = None
    labels: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Dataset:
    """A data set: its `files` and `splits` by name, source and licence.

    `classes` translates its labels into those of networks, such as VOC's `cat` into the group `cats`.
    """

    title: str
    source: str
    licence: str
    files: Mapping[str, DataFile]
    splits: Mapping[str, Split]
    classes: Mapping[str, str] = Field(default_factory=dict)

    def place(self, written: str) -> str:
        """The path of something in a file of this data set, which is fetched if it is missing."""
        key, slash, inner = written.partition("/")
        if key not in self.files:
            raise DeepInsideError(
                f"images.dataset: expected a path that begins with one of {', '.join(self.files)}, found {written!r}."
            )
        return f"{local(self.files[key], self.title, self.source)}{slash}{inner}"


@plain_dataclass(frozen=True)
class _Download:
    """What `fetch` needs to know about a file."""

    name: str
    file: str
    urls: tuple[str, ...]
    sha256: str | None
    md5: str | None
    bytes: int | None


def dataset_folder() -> Path:
    """The folder of fetched data sets, in the cache folder."""
    return cache_folder() / "datasets"


def local(file: DataFile, title: str, source: str) -> Path:
    """The verified file in the cache folder, fetched if it is missing.

    A file is hashed once and again when its size or time has changed. Raises DeepInsideError, with what to place where,
    if the file cannot be fetched, and if its hash is not the declared or the recorded one.
    """
    path = dataset_folder() / file.name
    known = _read_record(path)
    if path.is_file() and known.get("stamp") == _stamp(path) and _declared(file).items() <= known.items():
        return path
    if not file.urls and not path.is_file():
        raise DeepInsideError(_by_hand(file, path, title, source))
    from deepinside.networks.fetch import fetch  # imports the libraries for downloads

    sha256 = file.sha256 or (None if file.md5 or "sha256" not in known else str(known["sha256"]))
    download = _Download(title, file.name, file.urls, sha256, file.md5, file.bytes)
    _record(fetch(download, cache=path.parent), file, title)
    return path


def _declared(file: DataFile) -> dict[str, str]:
    hashes = {"sha256": file.sha256, "md5": file.md5}
    return {name: digest for name, digest in hashes.items() if digest}


def _by_hand(file: DataFile, path: Path, title: str, source: str) -> str:
    hashes = "".join(f" with {name.upper()} {digest}" for name, digest in _declared(file).items())
    return (
        f"{path}: expected {file.name} of {title} here{hashes}, found none; its licence does not allow fetching it for "
        f"you: get it from {source} and place it as that path."
    )


# ---- the record of a checked file ------------------------------------------------------------------------------------


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.checked.json")


def _stamp(path: Path) -> list[int] | None:
    """Size and modification time; None without a file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _read_record(path: Path) -> dict[str, object]:
    try:
        found = json.loads(_record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _record(path: Path, file: DataFile, title: str) -> None:
    """Note that the file has been checked, with its SHA-256."""
    import hashlib

    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if not _declared(file):
        LOG.warning("%s: no hash of %s is published; its SHA-256 %s is required from now on", title, path.name, sha256)
    text = json.dumps({**_declared(file), "sha256": sha256, "stamp": _stamp(path)})
    _record_path(path).write_text(text, encoding="utf-8")
