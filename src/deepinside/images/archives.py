"""Photos in a zip or tar, or at a URL. Nothing is unpacked, so names in an archive can do no harm.

fsspec opens compressed and remote files (http, https, s3, gs and its other protocols). The standard library reads zips
by their directory and tars by their headers' offsets. fsspec's own zip and tar identify a file by name, so of two files
with the same name one is lost, and its tar takes 1500 times as long to read one of 50 000 files. A compressed or remote
archive is copied once to an unnamed temporary file, which is deleted with the process.
"""

import fnmatch
import glob
import lzma
import re
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import unquote
from weakref import finalize

from deepinside.errors import DeepInsideError
from deepinside.images.load import MAX_BYTES, UnreadableImage
from deepinside.networks.text import decoded

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

COMPRESSED = {".tar.gz": "gzip", ".tgz": "gzip", ".tar.bz2": "bz2", ".tbz2": "bz2", ".tar.xz": "xz", ".txz": "xz"}
"""fsspec's name of each compression."""
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
"""The extra that installs a protocol's dependencies."""
SUFFIXES = (".zip", ".tar", *COMPRESSED)
BLOCK = 512
DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
"""The standard library's errors for a damaged archive."""


class Archive(Protocol):
    """An open archive: its regular files in stored order, and their bytes. Reading is thread-safe."""

    members: "list[Member]"

    def read(self, member: "Member") -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive. `name` is its stored name, never used as a path; `size` is in bytes; `place` is its
    offset in a tar or its index in a zip's directory; `crc` is its checksum if the archive has one."""

    archive: Archive
    name: str
    size: int
    place: int
    crc: int | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders and file name, without parts that lead out of the archive."""
        return tuple(part for part in self.name.split("/") if part not in {"", ".", ".."})

    def read(self) -> bytes:
        """The file's bytes; raises UnreadableImage if it is too large, empty or damaged."""
        if self.size > MAX_BYTES:
            reason = f"it has {self.size} bytes, more than the limit of {MAX_BYTES}"
            raise UnreadableImage(Path(self.name), reason)
        try:
            data = self.archive.read(self)
        except (*DAMAGE, RuntimeError) as error:  # zipfile raises RuntimeError, and NotImplementedError which is one
            reason = f"the archive is damaged there ({' '.join(str(error).split()) or type(error).__name__})"
            raise UnreadableImage(Path(self.name), reason) from None
        if not data:
            raise UnreadableImage(Path(self.name), "it is empty (0 bytes)")
        return data


def is_url(root: str) -> bool:
    """Whether it has a protocol, as in `https://` and `s3://`."""
    return "://" in root


def suffix(root: str) -> str | None:
    """The archive suffix of the name; None if it is no archive."""
    name = root.partition("?")[0] if is_url(root) else root
    return next((end for end in SUFFIXES if name.lower().endswith(end)), None)


def split(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """An archive and the parts of a path inside it, as in `photos.zip/val/images`; None for any other path."""
    for parent in path.parents:
        if suffix(parent.name) and parent.is_file():
            return parent, path.relative_to(parent).parts
    return None


def matching(found: Sequence[Member], pattern: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Member]]:
    """The members in the folders that `pattern` names, or that it names themselves; each with its parts below the
    pattern's last folder without a wildcard."""
    tests = [re.compile(fnmatch.translate(part)).match for part in pattern]
    fixed = next((place for place, part in enumerate(pattern) if glob.has_magic(part)), len(pattern))
    for member in found:
        parts = member.parts
        if len(parts) >= len(tests) and all(test(part) for test, part in zip(tests, parts, strict=False)):
            yield parts[min(fixed, len(parts) - 1) :], member


def members(path: Path) -> list[Member]:
    """The regular files in an archive, without links that leave it, folders and devices.

    Raises DeepInsideError for an archive that is encrypted, damaged or of another kind than its name says.
    """
    try:
        stat = path.stat()
        return _opened(str(path.absolute()), f"{stat.st_size} {stat.st_mtime_ns}").members
    except DAMAGE as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DeepInsideError(f"The archive {path} cannot be read: {reason}; make it again.") from error


def remote_members(url: str, *, single: bool, recursive: bool) -> list[Member]:
    """The files at a URL: those of an archive, a folder or a glob, or the `single` file it names.

    Raises DeepInsideError if it cannot be reached, or is an archive that `members` refuses.
    """
    with _reaching(url):
        from fsspec.core import url_to_fs

        files, path = url_to_fs(url)
        if suffix(path):
            return _opened(url, str(files.ukey(path))).members
        return Remote(files, path, single=single, recursive=recursive).members


def remote_text(url: str) -> str:
    """The text of the file at a URL, in any encoding of `read_text`."""
    with _reaching(url):
        import fsspec

        with fsspec.open(url, "rb") as stream:
            data = stream.read()
    return decoded(data, url)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Turn what a protocol raises into one sentence."""
    try:
        yield
    except DeepInsideError:
        raise
    except ImportError as error:
        extra = EXTRAS.get(url.partition("://")[0].lower())
        advice = f"pip install 'deepinside[{extra}]' brings what it needs" if extra else "install what it needs"
        raise DeepInsideError(f"{url} cannot be read: {' '.join(str(error).split())}; {advice}.") from error
    except Exception as error:  # each protocol raises different errors
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DeepInsideError(f"{url} cannot be read: {reason[:300]}; look whether it is there.") from error


@lru_cache(maxsize=2)  # the runs of a sweep read the same photos: one copy serves all of them
def _opened(root: str, changed: str) -> Archive:
    kind = suffix(root) or ""
    compression = COMPRESSED.get(kind)
    file = _copied(root, compression) if compression or is_url(root) else Path(root).open("rb")  # noqa: SIM115 - open as long as the archive
    return Zip(file, root) if kind == ".zip" else Tar(file)


class Remote:
    """Photos in single files at a URL, each fetched on demand."""

    def __init__(self, files: "AbstractFileSystem", path: str, *, single: bool, recursive: bool) -> None:
        self.files = files
        self.base = path.rstrip("/")
        if "*" in path:
            found = files.glob(path, detail=True)
            self.base = path.partition("*")[0].rpartition("/")[0]
        elif single:
            found, self.base = {path: files.info(path)}, path.rpartition("/")[0]
        else:
            found = files.find(path, maxdepth=None if recursive else 1, detail=True)
        self.names = [name for name, info in found.items() if info["type"] == "file"]
        self.members = [
            Member(
                self,
                unquote(name.removeprefix(f"{self.base}/").partition("?")[0]),
                int(found[name].get("size") or 0),
                place,
            )
            for place, name in enumerate(self.names)
        ]

    def read(self, member: Member) -> bytes:
        return bytes(self.files.cat_file(self.names[member.place]))


class Zip:
    """A zip; its members are decompressed one by one, on demand."""

    def __init__(self, file: IO[bytes], root: str) -> None:
        finalize(self, file.close)
        self.file = zipfile.ZipFile(file)
        self.lock = Lock()
        self.infos = self.file.infolist()
        if any(info.flag_bits & 1 for info in self.infos):
            raise DeepInsideError(f"The archive {root} is encrypted, which is not read here; unpack it yourself.")
        self.members = [
            Member(self, info.filename, info.file_size, place, info.CRC)
            for place, info in enumerate(self.infos)
            if not info.is_dir() and not _is_link(info)
        ]

    def read(self, member: Member) -> bytes:
        with self.lock:  # zipfile's count of open readers is not thread-safe; reading is
            stream = self.file.open(self.infos[member.place])
        try:
            return stream.read()
        finally:
            with self.lock:
                stream.close()


class Tar:
    """A tar without compression, read at the offsets in its headers."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        finalize(self, file.close)
        self.lock = Lock()
        self.members = list(self._regular())

    def _regular(self) -> Iterator[Member]:
        """Files and hard links to them; a hard link is the same file with another name."""
        known: dict[str, tuple[int, int]] = {}
        with tarfile.open(fileobj=self.file, mode="r:") as tar:
            for info in tar:
                if info.isreg() and not info.issparse():
                    known[info.name] = (info.size, info.offset_data)
                elif not (info.islnk() and info.linkname in known):
                    continue
                size, place = known[info.linkname if info.islnk() else info.name]
                known[info.name] = (size, place)
                yield Member(self, info.name, size, place)
            self._check_end(tar.offset)

    def _check_end(self, place: int) -> None:
        """Raise ValueError for a damaged header: tarfile ends there, but a complete tar ends in zeros or at the end of
        the file."""
        self.file.seek(place)
        if self.file.read(BLOCK).strip(b"\0"):
            raise ValueError(f"its header at byte {place} is damaged")

    def read(self, member: Member) -> bytes:
        with self.lock:
            self.file.seek(member.place)
            data = self.file.read(member.size)
        if len(data) < member.size:
            raise EOFError("it ends too early")
        return data


def _is_link(info: zipfile.ZipInfo) -> bool:
    """Whether the file mode in a zip made on Unix marks a symbolic link."""
    return (info.external_attr >> 16) & 0o170000 == 0o120000


def _copied(root: str, compression: str | None) -> IO[bytes]:
    """A copy of a remote or compressed zip or tar in an unnamed file. Raises DeepInsideError if it would fill the
    disk."""
    import fsspec

    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    with ExitStack() as broken, fsspec.open(root, "rb", compression=compression) as stream:
        copy = broken.enter_context(tempfile.TemporaryFile())
        while block := stream.read(1 << 20):
            copy.write(block)
            if copy.tell() > room:
                raise DeepInsideError(
                    f"The archive {root} takes more than {room >> 20} MiB, half of what is free in "
                    f"{tempfile.gettempdir()}; unpack it yourself, or set TMPDIR to a place with more room."
                )
        copy.seek(0)
        broken.pop_all()  # it stays open as long as the archive
    return copy
