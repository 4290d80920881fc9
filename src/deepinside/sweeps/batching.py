"""Batches the optimisations of a sweep's runs that differ only in numbers.

The results go to the folder where each run looks for its interrupted optimisations
(`deepinside.pipeline.checkpoints`). The run then executes as usual and finds them done. Results do not depend on
whether this happened.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from deepinside import progress
from deepinside.errors import DeepInsideError
from deepinside.images.batches import batches
from deepinside.optimisation.callbacks import Callback, Snapshot, Step, using_callback
from deepinside.optimisation.optimisers import OptimisationRequest, OptimisationRequests, Optimised, Stepwise
from deepinside.pipeline import run as pipeline
from deepinside.pipeline.checkpoints import Checkpointer, Chunk, RunCheckpoint
from deepinside.pipeline.run import Run
from deepinside.types import ImageBatch, TechniqueOutput

LOG = logging.getLogger(__name__)


def optimise_in_batches(configs: Sequence[tuple[Mapping[str, Any], Path]]) -> int:
    """Perform the optimisations of these runs in common batches where possible.

    `configs` pairs each configuration with its result folder. Returns the number of runs that shared a batch. Finished
    or refused runs are left out; they report themselves.
    """
    groups: dict[str, list[Run]] = {}
    for config, folder in configs:
        with suppress(DeepInsideError):
            if (run := pending_run(config, folder)) is not None:
                groups.setdefault(batch_key(run), []).append(run)
    several = [runs for runs in groups.values() if len(runs) > 1]
    for runs in several:
        try:
            optimise_batch(runs)
        except DeepInsideError as error:  # the affected run reports it; the others run separately
            LOG.info("not batched: %s", error)
    return sum(map(len, several))


def pending_run(config: Mapping[str, Any], folder: Path) -> Run | None:
    """The run, unless it is done or has no optimisations to batch."""
    experiment, photos = pipeline.read(config)
    if not any(hasattr(technique, "optimisation_requests") for technique in experiment.techniques.values()):
        return None
    if pipeline.already_done(experiment, photos, config, folder) is not None:
        return None
    pipeline.prepare(experiment)
    network = pipeline.load_network(experiment)
    pipeline.check(experiment, network, config)
    return Run(experiment, network, photos, config, folder)


def batch_key(run: Run) -> str:
    """Runs with equal keys use the same photos, network and device."""
    runtime = run.experiment.runtime
    where = (runtime.device, runtime.precision, runtime.winograd)
    return repr((run.network.sha256, run.experiment.network, run.experiment.images, where))


def optimise_batch(runs: Sequence[Run]) -> None:
    """Optimise all runs together, one batch of photos after another."""
    network = runs[0].network
    with ExitStack() as stack:
        checkpoints = {run.folder: open_checkpoint(run, stack) for run in runs}
        stack.enter_context(
            progress.show_progress(runs[0].experiment, network, runs[0].folder, checkpoints[runs[0].folder].folder)
        )
        for chunk in runs[0].chunks:
            mine = [run for run in runs if claim_chunk(checkpoints[run.folder], chunk)]
            for part in batches(runs[0].photos, chunk.batches, runs[0].experiment.images, network.input):
                if part.batch is not None:
                    batch = pipeline.batch_to_device(part.batch, network)
                    answer_requests(
                        [c for run in mine for c in start_requests(run, checkpoints[run.folder], batch, part.numbers)]
                    )
            for run in mine:
                checkpoints[run.folder].release(chunk.name)


def open_checkpoint(run: Run, stack: ExitStack) -> RunCheckpoint:
    checkpoint = RunCheckpoint(run.folder, pipeline.checkpoint_origin(run))
    checkpoint.open()
    stack.callback(checkpoint.close)
    return checkpoint


def claim_chunk(checkpoint: RunCheckpoint, chunk: Chunk) -> bool:
    return not checkpoint.has(chunk) and checkpoint.acquire(chunk.name)


@dataclass
class PendingRequests:
    """A run's technique, suspended at an optimisation request (None when finished)."""

    optimisation_requests: OptimisationRequests[TechniqueOutput]
    checkpointer: Checkpointer
    request: OptimisationRequest | None = None
    known: Snapshot | None = field(default=None, repr=False)

    def resume(self, found: Optimised | None) -> None:
        """Send it the last outcome and receive its next request."""
        try:
            self.request = next(self.optimisation_requests) if found is None else self.optimisation_requests.send(found)
            self.known = self.checkpointer.restore()
        except StopIteration:
            self.request = None


def start_requests(run: Run, checkpoint: RunCheckpoint, batch: ImageBatch, numbers: range) -> Iterator[PendingRequests]:
    """Every variant that supports batching, at its first request."""
    for name, technique in run.experiment.techniques.items():
        if hasattr(technique, "optimisation_requests"):
            pending = PendingRequests(
                technique.optimisation_requests(run.network, batch, run.seeds), checkpoint.checkpointer(numbers, name)
            )
            pending.resume(None)
            yield pending


def answer_requests(requests: Sequence[PendingRequests]) -> None:
    """Answer requests until none is left, equal kinds in one batch."""
    while asking := [pending for pending in requests if pending.request is not None]:
        kinds: dict[Any, list[PendingRequests]] = {}
        for pending in asking:
            kinds.setdefault(request_kind(pending), []).append(pending)
        for same_kind in kinds.values():
            for pending, own in zip(same_kind, optimise_jointly(same_kind), strict=True):
                pending.resume(own)


def request_kind(pending: PendingRequests) -> Any:
    """The key for batching a request: its kind and the step of its checkpoint."""
    request = pending.request
    assert request is not None
    step = 0 if pending.known is None else pending.known["step"]
    # L-BFGS works image by image, so batching gains nothing
    return (request.kind, step) if isinstance(request.optimiser, Stepwise) else id(pending)


def optimise_jointly(same_kind: Sequence[PendingRequests]) -> list[Optimised]:
    """One optimisation for all requests; each run checkpoints its own part."""
    requests = [pending.request for pending in same_kind if pending.request is not None]
    ends = list(accumulate(len(request.start) for request in requests))
    parts = [range(end - len(request.start), end) for end, request in zip(ends, requests, strict=True)]
    with using_callback(BatchCheckpointer(same_kind, parts)):
        found = requests[0].join(requests[1:]).answer()
    return [found.part(part) for part in parts]


class BatchCheckpointer(Callback):
    """Splits the snapshots of a batched optimisation among the runs' checkpoints."""

    def __init__(self, same_kind: Sequence[PendingRequests], parts: Sequence[range]) -> None:
        self.same_kind, self.parts = same_kind, parts

    def restore(self) -> Snapshot | None:
        known = [pending.known for pending in self.same_kind if pending.known is not None]
        return join_snapshots(known) if known else None

    def step(self, now: Step) -> None:
        if now.number == now.total or self.same_kind[0].checkpointer.due():
            snapshot = now.snapshot()
            for pending, part in zip(self.same_kind, self.parts, strict=True):
                alone = len(self.same_kind) == 1
                pending.checkpointer.save(snapshot if alone else slice_snapshot(snapshot, part))


def slice_snapshot(snapshot: Snapshot, part: range) -> Snapshot:
    """The part of a snapshot for some of the images."""
    some = slice(part.start, part.stop)
    return {
        "step": snapshot["step"],
        "images": snapshot["images"][some].clone(),
        "state": {name: values[some].clone() for name, values in snapshot["state"].items()},
        "trace": {name: values[:, some].clone() for name, values in snapshot["trace"].items()},
    }


def join_snapshots(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Concatenate snapshots that are at the same step."""
    if len(snapshots) == 1:
        return snapshots[0]
    first = snapshots[0]
    return {
        "step": first["step"],
        "images": torch.cat([one["images"] for one in snapshots]),
        "state": {name: torch.cat([one["state"][name] for one in snapshots]) for name in first["state"]},
        "trace": {name: torch.cat([one["trace"][name] for one in snapshots], 1) for name in first["trace"]},
    }
