"""SIGKILL at random moments, then the same command: nothing half-written is read, nothing finished is repeated,
and in the end there are the bytes of a run that was left in peace."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from corridor import content
from PIL import Image

from deepinside.cli import run as cli
from deepinside.pipeline import checkpoints
from deepinside.pipeline import run as pipeline
from deepinside.pipeline.checkpoints import make_chunks
from deepinside.results import folder as results

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # on a slow machine, too
# a child is a copy of this process, so that what is killed is work and not the import of torch
FORK = multiprocessing.get_context("fork")
KILLS = 10


def command(words: Sequence[str], every: float) -> None:
    """One `deepinside` in a process of its own; snapshots of optimisations every `every` seconds."""
    os.setpgrp()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - the process ends with it
    checkpoints.SNAPSHOT_INTERVAL = every
    sys.argv = ["deepinside", *words]
    cli.main()


def child(words: Sequence[str], every: float) -> "multiprocessing.process.BaseProcess":
    process = FORK.Process(target=command, args=(words, every))
    process.start()
    return process


def whole(words: Sequence[str], every: float = 0.1) -> int | None:
    process = child(words, every)
    process.join()
    return process.exitcode


def killed(words: Sequence[str], seconds: float, every: float = 0.1) -> bool:
    """Run the command and kill it after so long; whether it was still at work."""
    process = child(words, every)
    process.join(seconds)
    assert process.pid is not None
    assert process.exitcode in (None, 0)
    at_work = process.exitcode is None
    if at_work:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return at_work


def finished(root: Path) -> dict[Path, int]:
    """When each thing that is done was written: chunks and results."""
    chunks = {path: path.stat().st_mtime_ns for path in root.rglob("chunks/*.record")}
    done = {path: path.stat().st_mtime_ns for path in root.rglob("metrics.json") if results.is_done(path.parent)}
    return {**chunks, **{path: when for path, when in done.items() if "result" not in path.parts}}


def any_chunk(root: Path) -> bool:
    """Whether one is done, in a folder that changes meanwhile, which `rglob` does not bear."""
    return any(name.endswith(".record") for _, _, names in os.walk(root) for name in names)


def contents(root: Path) -> dict[str, dict[str, bytes]]:
    folders = sorted(path.parent for path in root.glob("*/*/*/metrics.json"))
    found = {str(folder.relative_to(root)): content(folder) for folder in folders}
    for files in found.values():
        del files["config.yaml"]  # it names the results folder
    return found


def calm(words: Sequence[str], root: Path) -> float:
    """Run the command in peace; the seconds it takes."""
    started = time.perf_counter()
    assert whole([*words, f"runtime.results={root}"]) == 0
    return time.perf_counter() - started


def storm(words: Sequence[str], root: Path, seconds: float) -> Iterator[bool]:
    """Ten kills at random moments; what was done before each must be untouched after it.

    `seconds` is what the run takes in peace: six kills, each within a seventh of it, always meet it at work.
    """
    moments = random.Random(0)
    for _ in range(KILLS):
        before = finished(root)
        yield killed([*words, f"runtime.results={root}"], seconds * moments.uniform(0.01, 0.15))
        after = finished(root)
        assert all(after[path] == when for path, when in before.items() if path in after)
        lost = [path for path in before if path not in after]
        assert all("chunks" in path.parts for path in lost), "a whole result is never taken away"


def test_a_sweep_that_is_killed_ten_times(bench: Path, embedded_loaded: None) -> None:
    words = [
        "-m", "experiment=fig1_class_models", "technique.targets=[goldfish,lion]", "technique.optimiser.steps=60",
        "seed=0,1,2", "technique.l2=1e-7,1e-6", "runtime.threads=1",
    ]  # fmt: skip
    seconds = calm(words, bench / "calm")
    at_work = list(storm(words, bench / "storm", seconds))
    assert sum(at_work) >= 3
    assert whole([*words, f"runtime.results={bench / 'storm'}"]) == 0
    assert contents(bench / "storm") == contents(bench / "calm")
    assert len(contents(bench / "calm")) == 6
    assert not list((bench / "storm").rglob("*.part"))


def test_two_thousand_photos_killed_ten_times(bench: Path, embedded_loaded: None) -> None:
    (bench / "photos").mkdir()
    noise = np.random.default_rng(0)
    for number in range(2000):
        pixels = noise.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(bench / "photos" / f"{number:04}.jpg")
    words = [
        "technique=saliency", "images=none", f"images.root={bench / 'photos'}", "save=shown", "runtime.threads=1",
    ]  # fmt: skip
    seconds = calm(words, bench / "calm")
    at_work = list(storm(words, bench / "storm", seconds))
    assert sum(at_work) >= 3
    assert whole([*words, f"runtime.results={bench / 'storm'}"]) == 0
    assert contents(bench / "storm") == contents(bench / "calm")
    assert not list((bench / "storm").rglob("*.part"))


def test_three_processes_share_one_run_and_one_may_die(bench: Path, embedded_loaded: None) -> None:
    (bench / "photos").mkdir()
    noise = np.random.default_rng(0)
    for number in range(600):
        pixels = noise.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(bench / "photos" / f"{number:04}.jpg")
    words = ["technique=saliency", "images=none", f"images.root={bench / 'photos'}", "runtime.threads=1"]
    assert whole([*words, f"runtime.results={bench / 'calm'}"]) == 0
    workers = [child([*words, f"runtime.results={bench / 'shared'}", f"runtime.worker={n}"], 0.1) for n in range(3)]
    while not any_chunk(bench / "shared"):
        assert any(worker.exitcode is None for worker in workers)
    assert workers[0].pid is not None
    os.killpg(workers[0].pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0, 0]
    assert contents(bench / "shared") == contents(bench / "calm")
    assert not list((bench / "shared").rglob("*.part"))


@pytest.fixture
def embedded_loaded() -> None:
    """The network is loaded before the children are copied from this process."""
    from deepinside.config.composition import compose_dict
    from deepinside.experiment.schema import read_experiment

    pipeline.load_network(read_experiment(compose_dict(["runtime.threads=1"])))
    assert len(make_chunks(2000, 16)) == 32
