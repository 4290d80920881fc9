"""Download a file of a network or a data set once into the cache folder: resumable, from several mirrors, hash-checked.

A download stays in `<file>.<start of its hash>.incoming/` until it is complete and verified. A killed program
leaves a part to resume from or a finished file, never half a file under the final name.
"""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock, Timeout
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from deepinside.errors import DeepInsideError
from deepinside.networks.cache import cache_folder

PASSING_FAULTS = (408, 429, 500, 502, 503, 504)
CHUNK = 1 << 16
LONGEST_WAIT = 30.0
CONNECT = 5
"""Seconds for a mirror to take the call."""
LOG = logging.getLogger(__name__)


class Fetchable(Protocol):
    """The attributes of a `NetworkSpec` or a `DataFile` that a download needs; `md5` only where no SHA-256 is known."""

    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def urls(self) -> tuple[str, ...]: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def md5(self) -> str | None: ...
    @property
    def bytes(self) -> int | None: ...


class Hash(NamedTuple):
    """A file's declared hash; `algorithm` is sha256 or md5."""

    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{HASHES[self.algorithm]} {self.digest}"


HASHES = {"sha256": "SHA-256", "md5": "MD5"}


def declared_hash(spec: Fetchable) -> Hash | None:
    """The SHA-256 if it is declared, else the MD5, else None."""
    known = {"sha256": spec.sha256, "md5": spec.md5}
    return next((Hash(algorithm, digest) for algorithm, digest in known.items() if digest), None)


class _MirrorError(Exception):
    """A mirror cannot serve the file; the message holds its answer. `offline`: no connection could be made."""

    def __init__(self, said: str, *, offline: bool = False) -> None:
        super().__init__(said)
        self.offline = offline


class _CutError(Exception):
    """The connection ended before the file did."""


def fetch(spec: Fetchable, *, cache: Path | None = None, attempts: int = 5, backoff: float = 1.0) -> Path:
    """Return the verified file of `spec`, from the cache or from the first of `spec.urls` that serves it.

    A mirror gets `attempts` consecutive tries without progress, with exponential backoff from `backoff` seconds, where
    waiting may help (cut connections, status 408, 429 and 5xx). A later run resumes a cut download. Raises
    DeepInsideError if the cached file has the wrong hash, no mirror has the file, or it cannot be written.
    """
    path = (cache or cache_folder()) / Path(spec.file).name
    try:
        if path.exists():
            return verify(path, spec)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.with_name(f"{path.name}.lock")):
            return verify(path, spec) if path.exists() else _from_mirrors(spec, path, attempts, backoff)
    except OSError as error:
        raise DeepInsideError(
            f"{spec.name}: {path} cannot be read or written: {error}; {_by_hand(spec, path)}"
        ) from error


def verify(path: Path, spec: Fetchable) -> Path:
    """Return `path` if its hash is the declared one. Raises DeepInsideError otherwise and leaves the file alone."""
    declared = declared_hash(spec)
    if declared is None:
        return path
    found = pooch.file_hash(str(path), alg=declared.algorithm)
    if found != declared.digest:
        raise DeepInsideError(
            f"{spec.name}: {path} should have {declared}{_size_note(spec)}, found {found} "
            f"({path.stat().st_size} bytes); move it away to have it fetched, or put the right file there."
        )
    return path


@contextmanager
def _alone(lock_file: Path) -> Iterator[None]:
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.info("another process is fetching %s; waiting for it", lock_file.stem)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _from_mirrors(spec: Fetchable, path: Path, attempts: int, backoff: float) -> Path:
    declared = declared_hash(spec)
    incoming = path.with_name(f"{path.name}.{(declared.digest if declared else 'unverified')[:12]}.incoming")
    if declared is None:  # the part may belong to another file
        shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(exist_ok=True)
    download = _Download(incoming / "part", spec.name, spec.bytes, attempts, backoff)
    said, offline = [], []
    for url in spec.urls:
        try:
            _retrieve(url, incoming / path.name, declared, download).replace(path)
        except _MirrorError as error:
            said.append(f"{url}: {error}")
            offline.append(error.offline)
            if not error.offline:  # one sentence at the end says so
                LOG.info("%s: %s said: %s", spec.name, url, error)
        else:
            shutil.rmtree(incoming, ignore_errors=True)
            return path
    _remove_if_empty(incoming)
    if offline and all(offline):
        raise DeepInsideError(_unreachable(spec, path))
    reasons = "; ".join(said) or "no address is known for it"
    raise DeepInsideError(f"{spec.name}: {path.name} could not be fetched ({reasons}); {_by_hand(spec, path)}")


def _retrieve(url: str, path: Path, declared: Hash | None, download: "_Download", *, overwrite: bool = True) -> Path:
    """Pooch checks the hash and moves the file into place. A resumed download with a wrong hash restarts once."""
    pooch.get_logger().setLevel(logging.WARNING)
    download.continued = False
    try:
        known = declared and ":".join(declared)
        return Path(pooch.retrieve(url, known, fname=path.name, path=path.parent, downloader=download))
    except ValueError as error:  # the wrong hash; pooch has removed the file
        if download.continued and overwrite:
            return _retrieve(url, path, declared, download, overwrite=False)
        raise _MirrorError(_wrong_bytes(str(error), declared)) from None


def _wrong_bytes(message: str, declared: Hash | None) -> str:
    found = re.search(r"but got (?:\w+:)?(\w+)", message)
    if found is None or declared is None:
        return message
    return f"its file has {HASHES[declared.algorithm]} {found[1]}, not the declared one"


def _unreachable(spec: Fetchable, path: Path) -> str:
    hosts = " and ".join(dict.fromkeys(urlsplit(url).netloc for url in spec.urls))
    return (
        f"{path}: expected the file of {spec.name} here{_hash_note(spec)}, found none, and {hosts} cannot be reached; "
        f"fetch {spec.urls[0]} where there is a connection{_size_note(spec)} and place it as that path."
    )


def _by_hand(spec: Fetchable, path: Path) -> str:
    return f"without a connection, get the file elsewhere and place it as {path}{_hash_note(spec)}{_size_note(spec)}."


def _hash_note(spec: Fetchable) -> str:
    declared = declared_hash(spec)
    return f" with {declared}" if declared else ""


def _size_note(spec: Fetchable) -> str:
    return f" ({spec.bytes} bytes)" if spec.bytes is not None else ""


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


@dataclass
class _Download:
    """A pooch downloader that resumes `part` and moves it into place when complete.

    `continued` says afterwards whether the file came from more than one response.
    """

    part: Path
    title: str
    total: int | None
    attempts: int
    backoff: float
    continued: bool = False

    @property
    def size(self) -> int:
        """Bytes downloaded so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=self._retry()))
            self._complete(session, url)
        self.part.replace(output_file)

    def _retry(self) -> Retry:
        """Retries for requests that fail before the first byte arrives; none without a connection."""
        return Retry(
            total=self.attempts - 1,
            connect=0,
            status_forcelist=PASSING_FAULTS,
            backoff_factor=self.backoff,
            backoff_max=LONGEST_WAIT,
            retry_after_max=int(LONGEST_WAIT * min(self.backoff, 1.0)),
            raise_on_status=False,
        )

    def _complete(self, session: requests.Session, url: str) -> None:
        """Stream again after every cut, until complete or until `attempts` consecutive tries made no progress."""
        best, failures = self.size, 0
        complete = best > 0 and best == self.total
        self.continued = complete
        while not complete:
            try:
                self._stream(session, url)
                complete = True
            except requests.exceptions.RequestException as error:  # the session has already retried
                offline = isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ConnectTimeout)
                raise _MirrorError(_cause(error), offline=offline) from None
            except _CutError as error:
                failures = failures + 1 if self.size <= best else 0
                best = max(best, self.size)
                if failures >= self.attempts:
                    raise _MirrorError(f"{error} ({best} bytes are kept, to be continued)") from None
                time.sleep(min(self.backoff * 2**failures, LONGEST_WAIT))

    def _stream(self, session: requests.Session, url: str) -> None:
        wanted = self.size
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={wanted}-"} if wanted else {})
        with session.get(url, headers=headers, stream=True, timeout=(CONNECT, 60)) as response:
            if response.status_code == 416 and wanted:  # the part is longer than the file: it belongs to another
                self.part.unlink()
                raise _CutError("the server has no more bytes")
            if response.status_code not in (200, 206):
                raise _MirrorError(f"{response.status_code} {response.reason}")
            start = _offset(response)
            if start not in (0, wanted):
                raise _MirrorError(f"it was asked to continue at byte {wanted} and continued at {start}")
            self._write(response, start)

    def _write(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if total is not None and self.total is not None and total != self.total:
            raise _MirrorError(f"it offers {total} bytes, not the {self.total} declared")
        self.continued = start > 0
        with (
            self.part.open("ab" if start else "wb") as out,
            tqdm(total=total, initial=start, desc=self.title, unit="B", unit_scale=True, disable=None) as bar,
        ):
            try:
                for chunk in response.iter_content(CHUNK):
                    bar.update(out.write(chunk))
            except requests.exceptions.RequestException as error:
                raise _CutError(f"the connection was cut: {_cause(error)}") from None


def _offset(response: requests.Response) -> int:
    """The offset of this response's first byte. A server that ignores Range answers 200 and starts at zero."""
    span = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(span.group(1)) if response.status_code == 206 and span else 0


def _cause(error: BaseException) -> str:
    """The innermost message of an error that libraries have wrapped."""
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    return " ".join(str(error).split()) or type(error).__name__
