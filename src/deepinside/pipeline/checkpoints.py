"""Checkpoints of an unfinished run: finished chunks, snapshots of optimisations, and locks.

They are in `NAME.part`, next to the result's folder, until the result is complete. Every file is written under a
temporary name and renamed, so a file with its final name is complete. A killed run loses at most the current chunk, or
the steps since the last snapshot; the same command resumes it, with the same bytes. Several processes may share a run:
each takes chunks that no other process has taken, and at the end waits for the others.
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
from deepinside.types import ClassProbability, Item, Panel, Prediction, safe_name

BATCHES_PER_CHUNK = 4
"""Batches of photos per chunk: a killed process loses at most these."""
SNAPSHOT_INTERVAL = 5.0
"""Seconds between two snapshots of an optimisation: a killed process loses at most these."""
POLL_INTERVAL = 0.2


@dataclass(frozen=True)
class Chunk:
    """Consecutive batches of a run, each as the range of its photos' numbers."""

    number: int
    batches: tuple[range, ...]

    @property
    def name(self) -> str:
        return f"{self.number:06}"


def make_chunks(photos: int, batch: int) -> list[Chunk]:
    """Divide all photos into chunks, the same for every process; without photos one chunk with one empty batch."""
    batches = [range(start, min(start + batch, photos)) for start in range(0, photos, batch)] or [range(0)]
    parts = [tuple(batches[i : i + BATCHES_PER_CHUNK]) for i in range(0, len(batches), BATCHES_PER_CHUNK)]
    return [Chunk(number, part) for number, part in enumerate(parts)]


@dataclass
class ChunkResult:
    """The results of one chunk; `shown` holds the items that the run's figure may show."""

    rows: list[ItemRow] = field(default_factory=list)
    shown: list[Item] = field(default_factory=list)
    deviations: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    seconds: float = 0.0


class RunCheckpoint:
    """The checkpoints of one run.

    `origin` is everything that the numbers depend on; checkpoints of another origin (changed photos, another version)
    are deleted. `result` is the folder of the complete result.
    """

    def __init__(self, result: Path, origin: Mapping[str, Any]) -> None:
        self.folder = result.with_name(f"{result.name}.part")
        self.result = self.folder / "result"
        self.origin = json.loads(json.dumps(origin, sort_keys=True, default=str))
        self.held: dict[str, BaseFileLock] = {}

    def open(self) -> None:
        """Create the folder, or open what an earlier process left."""
        self.make()
        if self.known_origin() != self.origin:
            self.remove()
            self.make()
            write_atomically(self.folder / "origin.json", json.dumps(self.origin).encode())

    def make(self) -> None:
        for name in ("chunks", "snapshots", "locks", "result"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def known_origin(self) -> Any:
        try:
            return json.loads((self.folder / "origin.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @property
    def has_progress(self) -> bool:
        """Whether there is any finished chunk or snapshot."""
        return any(any(self.folder.glob(pattern)) for pattern in ("chunks/*.record", "snapshots/*.snapshot"))

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
        """Whether another process has completed the result in the meantime."""
        return self.known_origin() != self.origin

    def missing(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        return [chunk for chunk in chunks if not self.has(chunk)]

    def claimed(self, chunks: Sequence[Chunk]) -> Iterator[Chunk]:
        """The unfinished `chunks` that no other process has locked; each stays locked until `finish`."""
        for chunk in chunks:
            if self.acquire(chunk.name):
                if self.has(chunk):
                    self.release(chunk.name)
                else:
                    yield chunk

    def acquire(self, name: str) -> bool:
        """Take a lock; false if another process has it. The system releases it when this process ends."""
        lock = FileLock(self.folder / "locks" / name, thread_local=False)  # another thread may release it
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
        """Write the chunk's results, remove the snapshots of its optimisations, and release its lock."""
        write_atomically(self.result_path(chunk), datafile.dump(record))
        for batch in chunk.batches:
            for left in (self.folder / "snapshots").glob(f"{batch.start:09}-*"):
                left.unlink()
        self.release(chunk.name)

    def close(self) -> None:
        """Release all locks; remove the folder if it holds no progress."""
        for name in list(self.held):
            self.release(name)
        if not self.has_progress and not self.superseded:
            self.remove()

    def record(self, chunk: Chunk) -> ChunkResult:
        return load(self.result_path(chunk), ChunkResult)

    def checkpointer(self, batch: range, variant: str) -> "Checkpointer":
        """The checkpointer for the optimisations of one batch and one variant of the technique."""
        return Checkpointer(self.folder / "snapshots", f"{batch.start:09}-{safe_name(variant or 'technique')}")


def remove_stale(result: Path) -> None:
    """Remove the folder of a process that was killed after it had completed the result."""
    folder = result.with_name(f"{result.name}.part")
    if folder.is_dir() and not (folder / "result").exists():
        shutil.rmtree(folder, ignore_errors=True)


class Checkpointer(Callback):
    """Saves snapshots of optimisations every few seconds, one file per optimisation, numbered in order."""

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
        return load(self.path, dict)

    def step(self, now: Step) -> None:
        """Save a snapshot if one is due; a finished optimisation is saved after a fifth of the interval."""
        if self.due() or (now.number == now.total and self.due(self.every / 5)):
            self.save(now.snapshot())

    def due(self, seconds: float | None = None) -> bool:
        return time.monotonic() - self.saved >= (self.every if seconds is None else seconds)

    def save(self, snapshot: Snapshot) -> None:
        write_atomically(self.path, datafile.dump(snapshot))
        self.saved = time.monotonic()


def load(path: Path, kind: type) -> Any:
    """The contents of a checkpoint file. A folder of results may come from others, so reading it runs no code."""
    found = datafile.read(path, (ChunkResult, ItemRow, Item, Panel, Skipped, Prediction, ClassProbability))
    if not isinstance(found, kind):
        raise DeepInsideError(f"{path}: expected another kind of checkpoint; remove it and try again.")
    return found


def write_atomically(path: Path, data: bytes) -> None:
    """Write the file under a temporary name and rename it."""
    temporary = path.with_suffix(f".{os.getpid()}")
    with suppress(FileNotFoundError):  # another process has completed the result and removed the folder
        temporary.write_bytes(data)
        temporary.replace(path)
