"""Work that is not finished: chunks that are done, optimisations in the middle, and who is at what.

It lies beside the result's folder, in `NAME.part`, until the result is whole. What has its final name there is whole:
everything is written aside and renamed. A process that is killed loses the chunk it was at, of an optimisation what
came after its last snapshot; whoever runs the same configuration again goes on, and comes to the same bytes. Several
processes may work on one result: each takes chunks that no other is at, and waits at the end for those of others.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from deepinside.errors import DeepInsideError
from deepinside.images.batches import Skipped
from deepinside.optimisation.callbacks import Callback, Snapshot, Step
from deepinside.pipeline import datafile
from deepinside.results.items import ItemRow
from deepinside.types import Item, Panel, safe_name

BATCHES_PER_CHUNK = 4
"""Batches of photos a chunk: what is lost at most when a process is killed, photos by photos."""
SNAPSHOT_INTERVAL = 5.0
"""Seconds between two snapshots of an optimisation: what is lost of it at most."""
POLL_INTERVAL = 0.2


@dataclass(frozen=True)
class Chunk:
    """Some batches of a run: the ranges of their photos' numbers, in order."""

    number: int
    batches: tuple[range, ...]

    @property
    def name(self) -> str:
        return f"{self.number:06}"


def make_chunks(photos: int, batch: int) -> list[Chunk]:
    """All photos in chunks that never depend on who computes them; without photos one chunk of one empty batch."""
    batches = [range(start, min(start + batch, photos)) for start in range(0, photos, batch)] or [range(0)]
    parts = [tuple(batches[i : i + BATCHES_PER_CHUNK]) for i in range(0, len(batches), BATCHES_PER_CHUNK)]
    return [Chunk(number, part) for number, part in enumerate(parts)]


@dataclass
class ChunkResult:
    """What one chunk has found; of its pictures, those the run's figure may show."""

    rows: list[ItemRow] = field(default_factory=list)
    shown: list[Item] = field(default_factory=list)
    deviations: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0


class RunCheckpoint:
    """The unfinished work towards one result.

    `origin` is all that its numbers depend on; work of another origin (photos changed, another version) is thrown
    away. `result` is the folder that the whole result will have.
    """

    def __init__(self, result: Path, origin: Mapping[str, Any]) -> None:
        self.folder = result.with_name(f"{result.name}.part")
        self.whole = self.folder / "whole"
        self.origin = json.loads(json.dumps(origin, sort_keys=True, default=str))
        self.held: dict[str, BaseFileLock] = {}

    def open(self) -> None:
        """Make the folder, or find it as it was left."""
        self.make()
        if self.known_origin() != self.origin:
            self.remove()
            self.make()
            write_atomically(self.folder / "origin.json", json.dumps(self.origin).encode())

    def make(self) -> None:
        for name in ("chunks", "snapshots", "locks", "whole"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def known_origin(self) -> Any:
        try:
            return json.loads((self.folder / "origin.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @property
    def has_progress(self) -> bool:
        """Whether there is anything that would be lost."""
        return any(any(self.folder.glob(kept)) for kept in ("chunks/*.record", "snapshots/*.snapshot"))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def has(self, chunk: Chunk) -> bool:
        return self.result_path(chunk).is_file()

    def result_path(self, chunk: Chunk) -> Path:
        return self.folder / "chunks" / f"{chunk.name}.record"

    def arrays_path(self, chunk: Chunk) -> Path:
        return self.folder / "chunks" / f"{chunk.name}.npz"

    @property
    def superseded(self) -> bool:
        """Whether another process has made the whole result of it meanwhile."""
        return self.known_origin() != self.origin

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        return [chunk for chunk in chunks if not self.has(chunk)]

    def claimed(self, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        """Those of `chunks` that are not done and that no other process is at; each is this one's until `finish`."""
        for chunk in chunks:
            if self.acquire(chunk.name):
                if self.has(chunk):
                    self.release(chunk.name)
                else:
                    yield chunk

    def acquire(self, name: str) -> bool:
        """Take a lock, which the system takes back when this process ends, however it ends; false if another has it."""
        lock = FileLock(self.folder / "locks" / name, thread_local=False)  # whoever writes last gives it back
        try:
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):
            return False
        if self.superseded:
            lock.release()
            return False
        self.held[name] = lock
        return True

    def release(self, name: str) -> None:
        self.held.pop(name).release()

    def finish(self, chunk: Chunk, record: ChunkResult) -> None:
        """The chunk is done: what is remembered of its optimisations is needed no more."""
        write_atomically(self.result_path(chunk), datafile.dump(record))
        for batch in chunk.batches:
            for left in (self.folder / "snapshots").glob(f"{batch.start:09}-*"):
                left.unlink()
        self.release(chunk.name)

    def close(self) -> None:
        """Give everything back; a folder without any work in it goes."""
        for name in list(self.held):
            self.release(name)
        if not self.has_progress and not self.superseded:
            self.remove()

    def record(self, chunk: Chunk) -> ChunkResult:
        return stored(self.result_path(chunk), ChunkResult)

    def checkpointer(self, batch: range, variant: str) -> "Checkpointer":
        """What remembers the optimisations of one batch and variant of the technique."""
        return Checkpointer(self.folder / "snapshots", f"{batch.start:09}-{safe_name(variant or 'technique')}")


def remove_stale(result: Path) -> None:
    """Remove what a process left that was killed after it had made the whole result."""
    folder = result.with_name(f"{result.name}.part")
    if folder.is_dir() and not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)


class Checkpointer(Callback):
    """Remembers optimisations in files, one each in the order they are asked for, every few seconds."""

    def __init__(self, folder: Path, name: str, *, every: float | None = None) -> None:
        self.folder, self.name = folder, name
        self.every = SNAPSHOT_INTERVAL if every is None else every
        self.count = -1
        self.saved = time.monotonic()

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}-{self.count:04}.snapshot"

    def restore(self) -> Snapshot | None:
        self.count += 1
        self.saved = time.monotonic()
        if not self.path.is_file():
            return None
        return stored(self.path, dict)

    def step(self, now: Step) -> None:
        """Save where it stands, unless that was done a moment ago; what took a moment as a whole is not worth it."""
        if self.due() or (now.number == now.total and self.due(self.every / 5)):
            self.save(now.snapshot())

    def due(self, seconds: float | None = None) -> bool:
        return time.monotonic() - self.saved >= (self.every if seconds is None else seconds)

    def save(self, snapshot: Snapshot) -> None:
        write_atomically(self.path, datafile.dump(snapshot))
        self.saved = time.monotonic()


def stored(path: Path, kind: type) -> Any:
    """What a file of unfinished work holds. Results may come from others: no file here can run code when it is read."""
    found = datafile.read(path, (ChunkResult, ItemRow, Item, Panel, Skipped))
    if not isinstance(found, kind):
        raise DeepInsideError(f"{path}: expected unfinished work of another kind; remove it and try again.")
    return found


def write_atomically(path: Path, data: bytes) -> None:
    """The file, whole or not at all, whenever the process is killed."""
    aside = path.with_suffix(f".{os.getpid()}")
    with suppress(FileNotFoundError):  # another process has finished the whole, and this is needed no more
        aside.write_bytes(data)
        aside.replace(path)
