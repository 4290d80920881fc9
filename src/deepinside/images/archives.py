"""Photos inside a zip or tar, read where they lie: nothing is unpacked, so names in an archive can do no harm.

A zip is read through its directory, a tar at the places its headers tell; a compressed tar, which cannot be read at a
place, is decompressed once into an unnamed temporary file that goes with the process.
"""

import bz2
import gzip
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, Any, Protocol
from weakref import finalize

from deepinside.errors import DeepInsideError
from deepinside.images.load import MAX_BYTES, UnreadableImage

COMPRESSED: dict[str, Callable[[Path], Any]] = {
    ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.bz2": bz2.open, ".tbz2": bz2.open, ".tar.xz": lzma.open,
    ".txz": lzma.open,
}  # fmt: skip
SUFFIXES = (".zip", ".tar", *COMPRESSED)
BLOCK = 512
DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
"""What the standard library raises for an archive that is not whole."""


class Archive(Protocol):
    """An open archive: its regular files in its own order, and their bytes. Threads may read at the same time."""

    members: "list[Member]"

    def read(self, member: "Member") -> bytes: ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive. `name` is what the archive calls it and is only ever a name; `size` in bytes; `place`
    is where a tar has it, or its place in a zip's directory; `crc` is its checksum where the archive has one."""

    archive: Archive
    name: str
    size: int
    place: int
    crc: int | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders and file name, without what would lead out of the archive."""
        return tuple(part for part in self.name.split("/") if part not in {"", ".", ".."})

    def read(self) -> bytes:
        """Raises UnreadableImage where it is too large, empty or damaged."""
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


def is_archive(path: Path) -> bool:
    """Whether the name is one of an archive that can be read."""
    return suffix(path) is not None


def suffix(path: Path) -> str | None:
    """The end of the name that says what kind of archive it is."""
    return next((end for end in SUFFIXES if path.name.lower().endswith(end)), None)


def members(path: Path) -> list[Member]:
    """The regular files in an archive; links to places outside it, folders and devices are none.

    Raises DeepInsideError for one that is encrypted, damaged or not what its name says.
    """
    try:
        stat = path.stat()
        return _opened(path.absolute(), stat.st_size, stat.st_mtime_ns).members
    except DAMAGE as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DeepInsideError(f"The archive {path} cannot be read: {reason}; make it anew.") from error


@lru_cache(maxsize=2)  # the runs of a sweep look at the same photos; a compressed tar is decompressed for all of them
def _opened(path: Path, size: int, changed: int) -> Archive:
    kind = suffix(path)
    if kind == ".zip":
        return Zip(path)
    return Tar(path.open("rb") if kind == ".tar" else _decompressed(path, COMPRESSED[kind or ""]))


class Zip:
    """A zip, whose members are decompressed one by one as they are asked for."""

    def __init__(self, path: Path) -> None:
        self.file = zipfile.ZipFile(path)
        finalize(self, self.file.close)
        self.lock = Lock()
        self.infos = self.file.infolist()
        if any(info.flag_bits & 1 for info in self.infos):
            raise DeepInsideError(f"The archive {path} is encrypted, which is not read here; unpack it yourself.")
        self.members = [
            Member(self, info.filename, info.file_size, place, info.CRC)
            for place, info in enumerate(self.infos)
            if not info.is_dir() and not _is_link(info)
        ]

    def read(self, member: Member) -> bytes:
        with self.lock:  # zipfile counts its readers, which is not safe in threads; reading itself is
            stream = self.file.open(self.infos[member.place])
        try:
            return stream.read()
        finally:
            with self.lock:
                stream.close()


class Tar:
    """A tar without compression, read at the places its headers tell."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        finalize(self, file.close)
        self.lock = Lock()
        self.members = list(self._regular())

    def _regular(self) -> Iterator[Member]:
        """Files, and hard links to them, which are the same file under another name."""
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
        """A header that is none ends a tar for tarfile; a whole one ends in zeros or where the file does."""
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
    """Whether a zip made on Unix says so in the file's mode."""
    return (info.external_attr >> 16) & 0o170000 == 0o120000


def _decompressed(path: Path, opener: Callable[[Path], Any]) -> IO[bytes]:
    """The tar inside, in a file without a name. Raises DeepInsideError where it would fill the disk."""
    room = shutil.disk_usage(tempfile.gettempdir()).free // 2
    with ExitStack() as broken, opener(path) as stream:
        whole = broken.enter_context(tempfile.TemporaryFile())
        while block := stream.read(1 << 20):
            whole.write(block)
            if whole.tell() > room:
                raise DeepInsideError(
                    f"The archive {path} decompressed takes more than {room >> 20} MiB, half of what is free in "
                    f"{tempfile.gettempdir()}; unpack it yourself, or set TMPDIR to a place with more room."
                )
        whole.seek(0)
        broken.pop_all()  # it stays open as long as the archive
    return whole
