"""The record of a sweep in `results/sweeps/NAME/`: its runs and their outcomes."""

import csv
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from deepinside.metrics.intervals import t_interval
from deepinside.results import folder as results
from deepinside.sweeps import figure
from deepinside.sweeps.runs import SEED, Run, Sweep, repetitions
from deepinside.types import safe_name

SCHEMA = 1
COLUMNS = ("experiment", "network", "status", "reason", "seconds", "folder")


def sweep_name(experiment: str, changes: Mapping[str, Sequence[Any]]) -> str:
    """A folder name such as `fig1_class_models,technique.l2=0.001+0.01`; a long name is cut and gets a digest.

    `changes` holds the values of every key of the command. Keys that change no result are left out.
    """
    counted = {key: list(values) for key, values in changes.items() if results.decides(key)}
    words = [experiment, *(f"{key}={'+'.join(map(results.value_text, values))}" for key, values in counted.items())]
    name = ",".join(safe_name(word) for word in words)
    if len(name) <= results.LONGEST:
        return name
    return f"{name[: results.LONGEST - 9]}~{results.digest([experiment, counted])}"


def as_found(overrides: Mapping[str, Any], folder: Path | None, root: Path, names: tuple[str, str]) -> Run:
    """The outcome of a run without a report, read from its folder."""
    place = None if folder is None else folder.relative_to(root).as_posix()
    for where in [] if folder is None else [folder, results.failure_folder(folder)]:
        found = results.read_metrics(where) or {}
        if found.get("status") == "done":
            return Run(overrides, place, *names, "done", None, found.get("seconds"), found.get("metrics", {}))
        if found.get("status") == "failed":
            return Run(overrides, place, *names, "failed", found.get("reason"))
    return Run(overrides, place, *names, "missing", "no result and no reason were left")


def write(root: Path, sweep: Sweep) -> Path:
    """Write `sweep.json`, `sweep.csv`, `figure.png` and, if there are metrics and axes, `metrics.png`.

    If the seed is an axis, also `seeds.csv`, means over seeds.
    """
    folder = root / "sweeps" / sweep.name
    with replacing(folder) as temporary:
        results.write_json(temporary / "sweep.json", as_json(sweep))
        (temporary / "sweep.csv").write_text(as_csv(sweep), encoding="utf-8", newline="")
        if SEED in sweep.axes:
            (temporary / "seeds.csv").write_text(means_csv(sweep), encoding="utf-8", newline="")
        figure.save_grid(sweep.runs, sweep.axes, root, sweep.name, temporary / "figure.png")
        figure.save_metrics(sweep.runs, sweep.axes, sweep.name, temporary / "metrics.png")
    return folder


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` when the block ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as scratch:
        temporary = Path(scratch, "new")
        temporary.mkdir()
        yield temporary
        if folder.exists():
            folder.rename(Path(scratch, "old"))
        temporary.rename(folder)


def as_json(sweep: Sweep) -> dict[str, Any]:
    """The contents of `sweep.json`."""
    runs = [asdict(run) for run in sweep.runs]
    return {"schema": SCHEMA, "name": sweep.name, "command": sweep.command, "axes": sweep.axes, "runs": runs}


def as_csv(sweep: Sweep) -> str:
    """One row per run: overrides, outcome, metrics. A missing number is an empty cell."""
    overrides = list(dict.fromkeys(key for run in sweep.runs for key in run.overrides if key not in COLUMNS))
    metrics = list(dict.fromkeys(name for run in sweep.runs for name in run.metrics))
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([*overrides, *COLUMNS, *metrics])
    for run in sweep.runs:
        told = [cell(run.overrides.get(key)) for key in overrides]
        table.writerow([*told, *(cell(getattr(run, name)) for name in COLUMNS), *(run.metrics.get(m) for m in metrics)])
    return buffer.getvalue()


def means_csv(sweep: Sweep) -> str:
    """One row per combination of all keys but the seed: n, and of every metric the mean and its 95 % interval.

    The interval is Student's, over seeds; it is empty for a single seed.
    """
    keys = [key for key in sweep.axes if key != SEED]
    metrics = list(dict.fromkeys(name for run in sweep.runs for name in run.metrics))
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    ends = [f"{name}{end}" for name in metrics for end in ("", "/low", "/high")]
    table.writerow([*keys, "experiment", "network", "n", *ends])
    for group in repetitions(sweep.runs):
        told = [cell(group[0].overrides.get(key)) for key in keys]
        found = [mean_cells([run.metrics[m] for run in group if m in run.metrics]) for m in metrics]
        table.writerow([*told, group[0].experiment, group[0].network, len(group), *chain.from_iterable(found)])
    return buffer.getvalue()


def mean_cells(values: Sequence[float]) -> tuple[Any, Any, Any]:
    """Mean and interval, None for what is not defined."""
    if not values:
        return None, None, None
    return (float(np.mean(values)), *(t_interval(np.array(values)) or (None, None)))


def cell(value: Any) -> str:
    return "" if value is None else results.value_text(value)
