"""The runs of a sweep and their outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deepinside.results import folder as results


@dataclass(frozen=True)
class Run:
    """One run of a sweep: its overrides and its outcome.

    `folder` holds its result, relative to the results root; None if the configuration was refused. A `missing` run left
    neither a result nor a reason: its worker died, or it never started.
    """

    overrides: Mapping[str, Any]
    folder: str | None
    experiment: str
    network: str
    status: Literal["done", "failed", "missing"]
    reason: str | None = None
    seconds: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """All runs of one command."""

    name: str
    command: str
    runs: Sequence[Run]

    @property
    def axes(self) -> dict[str, list[Any]]:
        """The keys in which the runs differ, each with its values in the given order."""
        keys = dict.fromkeys(key for run in self.runs for key in run.overrides)
        values = {key: distinct([run.overrides[key] for run in self.runs if key in run.overrides]) for key in keys}
        everywhere = {key: all(key in run.overrides for run in self.runs) for key in keys}
        return {key: found for key, found in values.items() if len(found) > 1 or not everywhere[key]}


SEED = "seed"


def repetitions(runs: Sequence[Run]) -> list[list[Run]]:
    """The finished runs that differ in their seed alone, in groups."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        others = [f"{key}={results.value_text(value)}" for key, value in run.overrides.items() if key != SEED]
        if run.status == "done":
            groups.setdefault((run.experiment, run.network, *others), []).append(run)
    return list(groups.values())


def distinct(values: Sequence[Any]) -> list[Any]:
    """The distinct values in order; also works for lists and mappings, which cannot be hashed."""
    return list({results.value_text(value): value for value in values}.values())
