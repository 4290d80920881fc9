"""Unfinished work: chunks that do not depend on who computes them, locks that die with their process, snapshots."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deepinside.errors import DeepInsideError
from deepinside.images.batches import Skipped
from deepinside.optimisation.callbacks import Callback, using_callback
from deepinside.optimisation.optimisers import Momentum
from deepinside.pipeline.checkpoints import (
    BATCHES_PER_CHUNK,
    Checkpointer,
    Chunk,
    ChunkResult,
    RunCheckpoint,
    make_chunks,
    remove_stale,
)
from deepinside.results.items import ItemRow
from deepinside.types import Item, Panel


def opened(folder: Path, **origin: Any) -> RunCheckpoint:
    work = RunCheckpoint(folder / "out", {"identity": "a", **origin})
    work.open()
    return work


def record(name: str) -> ChunkResult:
    return ChunkResult(rows=[ItemRow(name, name, {"score": 1.0})])


# ---- the plan ----


@pytest.mark.parametrize(("photos", "batch"), [(0, 16), (1, 16), (64, 16), (65, 16), (7, 1), (1000, 3)])
def test_every_photo_is_in_one_batch_of_one_chunk(photos: int, batch: int) -> None:
    chunks = make_chunks(photos, batch)
    assert [n for chunk in chunks for part in chunk.batches for n in part] == list(range(photos))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert all(1 <= len(chunk.batches) <= BATCHES_PER_CHUNK for chunk in chunks)
    assert len(chunks) >= 1


# ---- what is done stays done ----


def test_a_finished_chunk_is_found_by_the_next_process(tmp_path: Path) -> None:
    first = opened(tmp_path)
    chunks = make_chunks(200, 16)
    one, two = list(first.claimed(chunks))[:2]
    first.finish(one, record("a"))
    first.close()
    second = opened(tmp_path)
    assert second.missing(chunks) == chunks[1:]
    assert second.record(one) == record("a")
    assert two in list(second.claimed(chunks))
    second.close()


def test_work_of_another_origin_is_thrown_away(tmp_path: Path) -> None:
    first = opened(tmp_path)
    (chunk,) = first.claimed(make_chunks(1, 1))
    first.finish(chunk, record("a"))
    first.close()
    same, other = opened(tmp_path), opened(tmp_path, photos="changed")
    assert other.missing([chunk]) == [chunk]
    assert same.superseded  # it must not go on with another's chunks
    assert not same.acquire("result")


def test_a_folder_without_work_goes_and_one_with_work_stays(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert not list(tmp_path.iterdir())
    work = opened(tmp_path)
    (chunk,) = work.claimed(make_chunks(1, 1))
    work.finish(chunk, record("a"))
    work.close()
    assert (tmp_path / "out.part").is_dir()


def test_what_is_left_of_a_whole_result_goes(tmp_path: Path) -> None:
    work = opened(tmp_path)
    remove_stale(tmp_path / "out")
    assert work.folder.is_dir()  # somebody may be at it
    work.result.rename(tmp_path / "out")
    work.close()
    remove_stale(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_whoever_comes_after_the_whole_result_takes_nothing(tmp_path: Path) -> None:
    late, first = opened(tmp_path), opened(tmp_path)
    first.remove()
    assert late.superseded
    assert list(late.claimed(make_chunks(100, 1))) == []


# ---- locks ----

OTHER = """
import sys, time
from pathlib import Path
from deepinside.pipeline.checkpoints import RunCheckpoint, make_chunks
work = RunCheckpoint(Path(sys.argv[1]) / "out", {"identity": "a"})
work.open()
taken = list(work.claimed(make_chunks(2, 1)[:1]))
print(len(taken), flush=True)
time.sleep(60)
"""


def test_no_two_processes_are_at_one_chunk_and_a_killed_ones_is_free(tmp_path: Path) -> None:
    chunks = make_chunks(8, 1)
    with subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        work = opened(tmp_path)
        assert [chunk.number for chunk in work.claimed(chunks)] == [1]
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert [chunk.number for chunk in work.claimed(chunks[:1])] == [0]
        work.close()


# ---- snapshots ----


def bowl(x: torch.Tensor, step: int, items: range) -> Any:
    objective = -(x - 3).square().flatten(1).sum(1)
    return objective, {"score": objective}


class Stop(Callback):
    def step(self, now: Any) -> None:
        if now.number == 6:
            raise KeyboardInterrupt


def test_a_keeper_goes_on_with_each_optimisation_where_it_was(tmp_path: Path) -> None:
    start, rule = torch.zeros(2, 3, 4, 4), Momentum(steps=10, rate=0.01)
    whole = [rule.maximise(start, bowl), rule.maximise(start + 1, bowl)]
    with using_callback(Checkpointer(tmp_path, "one", every=0)):
        rule.maximise(start, bowl)
    with pytest.raises(KeyboardInterrupt), using_callback(keeper := Checkpointer(tmp_path, "one", every=0), Stop()):
        assert torch.equal(rule.maximise(start, bowl).images, whole[0].images)  # known already
        rule.maximise(start + 1, bowl)
    assert keeper.count == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one-0000.snapshot", "one-0001.snapshot"]
    with using_callback(Checkpointer(tmp_path, "one", every=0)):
        again = [rule.maximise(start, bowl), rule.maximise(start + 1, bowl)]
    for one, other in zip(again, whole, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.trace["objective"], other.trace["objective"])


def test_short_optimisations_are_not_kept(tmp_path: Path) -> None:
    with using_callback(Checkpointer(tmp_path, "one", every=3600)):
        Momentum(steps=10, rate=0.01).maximise(torch.zeros(1, 3, 4, 4), bowl)
    assert not list(tmp_path.iterdir())


def test_snapshots_go_with_their_chunk(tmp_path: Path) -> None:
    work = opened(tmp_path)
    chunk, other = make_chunks(8, 1)
    list(work.claimed([chunk, other]))
    for number in (0, 3, 4):
        (work.folder / "snapshots" / f"{number:09}-technique-0000.snapshot").touch()
    work.finish(chunk, record("a"))
    assert [path.name for path in (work.folder / "snapshots").iterdir()] == ["000000004-technique-0000.snapshot"]
    work.close()


def test_a_chunk_has_a_name_that_sorts() -> None:
    assert [Chunk(number, ()).name for number in (2, 10)] == ["000002", "000010"]


# ---- files from others ----


def planted(path: Path) -> Path:
    """A file that makes a folder when it is unpickled; the folder's place."""
    place = path.with_name("was here")
    path.write_bytes(f"cos\nmkdir\n(V{place}\ntR.".encode())
    return place


def test_unfinished_work_that_came_from_others_runs_no_code(tmp_path: Path) -> None:
    work = opened(tmp_path)
    (chunk,) = work.claimed(make_chunks(1, 1))
    place = planted(work.result_path(chunk))
    with pytest.raises(DeepInsideError, match=r"000000\.record: expected a checkpoint"):
        work.record(chunk)
    keeper = work.checkpointer(range(1), "")
    (work.folder / "snapshots" / f"{keeper.name}-0000.snapshot").write_bytes(work.result_path(chunk).read_bytes())
    with pytest.raises(DeepInsideError, match=r"0000\.snapshot: expected a checkpoint"):
        keeper.restore()
    assert not place.exists()
    pickle.loads(work.result_path(chunk).read_bytes())
    assert place.exists()  # it would have
    work.close()


def test_a_record_comes_back_with_its_pictures(tmp_path: Path) -> None:
    work = opened(tmp_path)
    (chunk,) = work.claimed(make_chunks(1, 1))
    panel = Panel("map", torch.randn(1, 5, 7)[0], "signed", "over", torch.tensor([[0.0, 1, 2, 3]]))
    item = Item("a", "A", (panel,), {"score": 0.1}, {"objective": torch.arange(3.0)}, ("note",), "small")
    made = ChunkResult([ItemRow("a", "A", {"score": 0.1}, "small", None, "ff")], [item], {"d": None}, {"n": None},
                  [Skipped("b.jpg", "empty")], 1.25)  # fmt: skip
    work.finish(chunk, made)
    found = work.record(chunk)
    (shown,) = found.shown
    assert torch.equal(shown.panels[0].values, panel.values)
    assert torch.equal(shown.trace["objective"], item.trace["objective"])
    assert replace(found, shown=[]) == replace(made, shown=[])
    assert replace(shown, panels=(), trace={}) == replace(item, panels=(), trace={})
    work.close()
