"""The corridor: configuration, network, images, technique, metrics and figures, results. Read it top to bottom."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from deepinside import claims, figures, results
from deepinside.errors import DeepInsideError
from deepinside.experiment import Experiment, read_experiment
from deepinside.images.inputs import Skipped, batches, sources
from deepinside.metrics.summary import agreement, fidelity, means, means_by_group
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.provenance import provenance
from deepinside.values import Claim, ImageBatch, Item, Seeds, Visual

LOADED: dict[str, Network] = {}
"""The last network loaded and verified in this process, by its declaration. Networks never change, so it is shared."""


@dataclass(frozen=True)
class Moment:
    """When a run started."""

    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    clock: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        return time.perf_counter() - self.clock


@dataclass
class Record:
    """What a run has found so far; panels and arrays are on disk already, so it stays small."""

    names: list[str] = field(default_factory=list)
    numbers: dict[str, dict[str, float]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    shown: list[Item] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    departures: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    first: ImageBatch | None = None


def run(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Execute one composed configuration and leave its result in `folder`; returns what `metrics.json` holds.

    Raises DeepInsideError where the configuration is refused or the work cannot be done; `folder` then holds the
    reason, with status `failed`, unless it was refused before any work.
    """
    started = Moment()
    experiment = read_experiment(config)
    claims.check_known(experiment.claims)
    if experiment.images.root is not None:
        sources(experiment.images)  # refuses a folder without photos before any work
    with recorded(folder, config):
        prepare(experiment)
        network = load_network(experiment)
    for technique in experiment.techniques.values():
        technique.check(network)
    with recorded(folder, config), results.writing(folder) as aside:
        return execute(experiment, network, config, aside, started)


@contextmanager
def recorded(folder: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Whatever goes wrong in the block leaves its reason in `folder`, with status `failed`."""
    try:
        yield
    except DeepInsideError as error:
        results.write_failure(folder, config, str(error))
        raise
    except Exception as error:
        results.write_failure(folder, config, f"{type(error).__name__}: {error}")
        raise


def execute(
    experiment: Experiment, network: Network, config: Mapping[str, Any], folder: Path, started: Moment
) -> dict[str, Any]:
    record = look(experiment, network, folder)
    found = conclude(experiment, network, record, config, started.seconds())
    title = f"{experiment.title}: {network.name}" if experiment.title else network.name
    figures.save_figure(record.shown, len(record.names), title, experiment.figure, folder / "figure.png")
    figures.save_traces(record.shown, folder / "trace.png")
    results.write_config(folder / "config.yaml", config)
    origin = provenance(
        network={"name": network.name, "sha256": network.sha256, "checks": dict(network.checks)},
        images=record.hashes, runtime=asdict(experiment.runtime), seed=experiment.seed, started=started.date,
    )  # fmt: skip
    results.write_json(folder / "provenance.json", {**origin, "seconds": found["seconds"]})
    results.write_json(folder / "metrics.json", found)
    return found


def prepare(experiment: Experiment) -> None:
    """The same threads and the same algorithms every time, so that the same run gives the same bytes."""
    torch.set_num_threads(experiment.runtime.threads)
    # not torch.use_deterministic_algorithms, which imports the compiler for it: three seconds
    torch.set_deterministic_debug_mode("error" if experiment.runtime.device == "cpu" else "warn")
    # nothing here reads memory it has not written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def load_network(experiment: Experiment) -> Network:
    """The experiment's network where and as precise as its runtime says; loaded once by runs that follow each other."""
    cache, key = experiment.runtime.model_cache, repr(experiment.network)
    if key not in LOADED:
        LOADED.clear()  # one at a time: a large network takes half a gigabyte
        LOADED[key] = load(experiment.network, cache=Path(cache) if cache else None)
    return LOADED[key].to(device=experiment.runtime.device, dtype=getattr(torch, experiment.runtime.precision))


def look(experiment: Experiment, network: Network, folder: Path) -> Record:
    """Every batch of photos through every variant of the technique; what comes out is written as it comes."""
    record = Record()
    seeds = Seeds(experiment.seed)
    with results.ArrayFile(folder / "arrays.npz") as arrays:
        for batch in batches(experiment.images, network.input, skipped=record.skipped, progress=True):
            batch = moved(batch, network)
            visual = combine({n: t(network, batch, seeds) for n, t in experiment.techniques.items()})
            for item in visual.items:
                arrays.add(item)
                for panel in item.panels:
                    path = folder / "panels" / panel.name / f"{item.name}.png"
                    figures.save_panel(panel, path, experiment.figure.magnitude_map)
            remember(record, batch, visual, experiment.figure.limit)
    return record


def moved(batch: ImageBatch, network: Network) -> ImageBatch:
    return replace(batch, pixels=batch.pixels.to(network.mean))


def combine(visuals: Mapping[str, Visual]) -> Visual:
    """One Visual of several variants: items of one name become one item, its panels and numbers named `variant/…`."""
    items: dict[str, Item] = {}
    for variant, visual in visuals.items():
        for item in visual.items:
            named = labelled(item, variant)
            items[item.name] = joined(items[item.name], named) if item.name in items else named
    said = [f"{variant}: {s}" if variant else s for variant, visual in visuals.items() for s in visual.departures]
    return Visual(tuple(items.values()), tuple(said))


def labelled(item: Item, variant: str) -> Item:
    """`item` with the variant's name before those of its panels, metrics and traces; photos are not repeated."""
    if not variant:
        return item
    panels = [p if p.name == "photo" else replace(p, name=f"{variant}/{p.name}") for p in item.panels]
    metrics = {f"{variant}/{name}": value for name, value in item.metrics.items()}
    trace = {f"{variant}/{name}": values for name, values in item.trace.items()}
    return replace(item, panels=tuple(panels), metrics=metrics, trace=trace)


def joined(first: Item, second: Item) -> Item:
    known = {panel.name for panel in first.panels}
    panels = (*first.panels, *(panel for panel in second.panels if panel.name not in known))
    return replace(
        first,
        panels=panels,
        metrics={**first.metrics, **second.metrics},
        trace={**first.trace, **second.trace},
        notes=(*first.notes, *second.notes),
    )


def remember(record: Record, batch: ImageBatch, visual: Visual, limit: int) -> None:
    """Keep the numbers of every item, and the pictures of the first `limit`."""
    for item in visual.items:
        record.names.append(item.name)
        record.numbers[item.name] = {**item.metrics, **agreement(item), **fidelity(item)}
        record.notes.update(dict.fromkeys(item.notes))
        if item.group is not None:
            record.groups[item.name] = item.group
    record.shown += visual.items[: max(0, limit - len(record.shown))]
    record.hashes.update({photo.stem: photo.sha256 for photo in batch.photos})
    record.departures.update(dict.fromkeys(visual.departures))
    record.first = record.first or batch


def conclude(
    experiment: Experiment, network: Network, record: Record, config: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    """The run's metrics and claims, as `metrics.json` holds them."""
    metrics, by_group = means(record.numbers), means_by_group(record.numbers, record.groups)
    return results.summary(
        config=config,
        seconds=seconds,
        metrics=metrics,
        by_group=by_group,
        items=record.numbers,
        claims=list(verdicts(experiment, network, record, metrics, by_group)),
        departures=[*experiment.departures, *network.departures, *record.departures],
        skipped=[asdict(skipped) for skipped in record.skipped],
        notes=list(record.notes),
    )


def verdicts(
    experiment: Experiment,
    network: Network,
    record: Record,
    metrics: Mapping[str, float],
    by_group: Mapping[str, Mapping[str, float]],
) -> Iterator[Claim]:
    """Every claim's verdict; one that these photos cannot tell is left out, and the run's notes say why."""
    if record.first is None:
        return
    evidence = claims.Evidence(
        network, record.first, Seeds(experiment.seed), experiment.techniques, record.numbers, metrics, by_group
    )
    for name in experiment.claims:
        try:
            yield claims.CLAIMS[name](evidence)
        except claims.NotMeasuredError as reason:
            record.notes[f"The claim {name} is not measured: {reason}."] = None
