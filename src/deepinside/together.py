"""Batches the optimisations of a sweep's runs that differ only in numbers.

The results go to the folder where each run looks for its interrupted optimisations (`deepinside.work`). The run then
executes as usual and finds them done. Results do not depend on whether this happened.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from deepinside import pipeline, progress
from deepinside.errors import DeepInsideError
from deepinside.images.batches import batches
from deepinside.maths.optimisers import Climbs, Optimised, Request, Stepwise
from deepinside.maths.watching import Snapshot, Step, Watcher, watching
from deepinside.pipeline import Run
from deepinside.values import ImageBatch, Visual
from deepinside.work import Chunk, Keeper, Work

LOG = logging.getLogger(__name__)


def climb_together(configs: Sequence[tuple[Mapping[str, Any], Path]]) -> int:
    """Perform the optimisations of these runs in common batches where possible.

    `configs` pairs each configuration with its result folder. Returns the number of runs that shared a batch. Finished
    or refused runs are left out; they report themselves.
    """
    groups: dict[str, list[Run]] = {}
    for config, folder in configs:
        with suppress(DeepInsideError):
            if (run := to_be_done(config, folder)) is not None:
                groups.setdefault(shared(run), []).append(run)
    several = [runs for runs in groups.values() if len(runs) > 1]
    for runs in several:
        try:
            share(runs)
        except DeepInsideError as error:  # the affected run reports it; the others run separately
            LOG.info("not batched: %s", error)
    return sum(map(len, several))


def to_be_done(config: Mapping[str, Any], folder: Path) -> Run | None:
    """The run, unless it is done or has no optimisations to batch."""
    experiment, photos = pipeline.read(config)
    if not any(hasattr(technique, "climbs") for technique in experiment.techniques.values()):
        return None
    if pipeline.already_done(experiment, photos, config, folder) is not None:
        return None
    pipeline.prepare(experiment)
    network = pipeline.load_network(experiment)
    pipeline.check(experiment, network, config)
    return Run(experiment, network, photos, config, folder)


def shared(run: Run) -> str:
    """Runs with equal keys use the same photos, network and device."""
    runtime = run.experiment.runtime
    return repr((run.network.sha256, run.experiment.network, run.experiment.images, runtime.device, runtime.precision))


def share(runs: Sequence[Run]) -> None:
    """Optimise all runs together, one batch of photos after another."""
    network = runs[0].network
    with ExitStack() as stack:
        works = {run.folder: opened(run, stack) for run in runs}
        stack.enter_context(progress.shown(runs[0].experiment, network, runs[0].folder, works[runs[0].folder].folder))
        for chunk in runs[0].chunks:
            mine = [run for run in runs if claim(works[run.folder], chunk)]
            for part in batches(runs[0].photos, chunk.batches, runs[0].experiment.images, network.input):
                if part.batch is not None:
                    batch = pipeline.moved(part.batch, network)
                    answer([c for run in mine for c in begin(run, works[run.folder], batch, part.numbers)])
            for run in mine:
                works[run.folder].release(chunk.name)


def opened(run: Run, stack: ExitStack) -> Work:
    work = Work(run.folder, pipeline.origin(run))
    work.open()
    stack.callback(work.close)
    return work


def claim(work: Work, chunk: Chunk) -> bool:
    return not work.has(chunk) and work.acquire(chunk.name)


@dataclass
class Climbing:
    """A run's technique, suspended at an optimisation request (None when finished)."""

    climbs: Climbs[Visual]
    keeper: Keeper
    request: Request | None = None
    known: Snapshot | None = field(default=None, repr=False)

    def go_on(self, found: Optimised | None) -> None:
        """Send it the last outcome and receive its next request."""
        try:
            self.request = next(self.climbs) if found is None else self.climbs.send(found)
            self.known = self.keeper.recall()
        except StopIteration:
            self.request = None


def begin(run: Run, work: Work, batch: ImageBatch, numbers: range) -> Iterator[Climbing]:
    """Every variant that supports batching, at its first request."""
    for name, technique in run.experiment.techniques.items():
        if hasattr(technique, "climbs"):
            climbing = Climbing(technique.climbs(run.network, batch, run.seeds), work.keeper(numbers, name))
            climbing.go_on(None)
            yield climbing


def answer(all_of_them: Sequence[Climbing]) -> None:
    """Answer requests until none is left, equal kinds in one batch."""
    while asking := [climbing for climbing in all_of_them if climbing.request is not None]:
        kinds: dict[Any, list[Climbing]] = {}
        for climbing in asking:
            kinds.setdefault(kind(climbing), []).append(climbing)
        for alike in kinds.values():
            for climbing, own in zip(alike, jointly(alike), strict=True):
                climbing.go_on(own)


def kind(climbing: Climbing) -> Any:
    """The key for batching a request: its kind and the step of its checkpoint."""
    request = climbing.request
    assert request is not None
    step = 0 if climbing.known is None else climbing.known["step"]
    # L-BFGS works image by image, so batching gains nothing
    return (request.kind, step) if isinstance(request.optimiser, Stepwise) else id(climbing)


def jointly(alike: Sequence[Climbing]) -> list[Optimised]:
    """One optimisation for all requests; each run checkpoints its own part."""
    requests = [climbing.request for climbing in alike if climbing.request is not None]
    ends = list(accumulate(len(request.start) for request in requests))
    parts = [range(end - len(request.start), end) for end, request in zip(ends, requests, strict=True)]
    with watching(Keepers(alike, parts)):
        found = requests[0].join(requests[1:]).answer()
    return [found.part(part) for part in parts]


class Keepers(Watcher):
    """Splits the snapshots of a batched optimisation among the runs' checkpoints."""

    def __init__(self, alike: Sequence[Climbing], parts: Sequence[range]) -> None:
        self.alike, self.parts = alike, parts

    def recall(self) -> Snapshot | None:
        known = [climbing.known for climbing in self.alike if climbing.known is not None]
        return joined(known) if known else None

    def step(self, now: Step) -> None:
        if now.number == now.total or self.alike[0].keeper.due():
            snapshot = now.snapshot()
            for climbing, part in zip(self.alike, self.parts, strict=True):
                alone = len(self.alike) == 1
                climbing.keeper.save(snapshot if alone else cut(snapshot, part))


def cut(snapshot: Snapshot, part: range) -> Snapshot:
    """The part of a snapshot for some of the images."""
    some = slice(part.start, part.stop)
    return {
        "step": snapshot["step"],
        "images": snapshot["images"][some].clone(),
        "memory": {name: values[some].clone() for name, values in snapshot["memory"].items()},
        "trace": {name: values[:, some].clone() for name, values in snapshot["trace"].items()},
    }


def joined(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Concatenate snapshots that are at the same step."""
    if len(snapshots) == 1:
        return snapshots[0]
    first = snapshots[0]
    return {
        "step": first["step"],
        "images": torch.cat([one["images"] for one in snapshots]),
        "memory": {name: torch.cat([one["memory"][name] for one in snapshots]) for name in first["memory"]},
        "trace": {name: torch.cat([one["trace"][name] for one in snapshots], 1) for name in first["trace"]},
    }
