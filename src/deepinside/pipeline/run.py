"""A run, top to bottom: configuration, network, images, technique, metrics, figures, results."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from deepinside import claims, figures, progress
from deepinside.errors import DeepInsideError, UnsuitableSettingError
from deepinside.experiment.schema import Experiment, FigureSettings, read_experiment
from deepinside.figures import redraw
from deepinside.images.batches import Loaded, Reading, batches, check_some_are_readable, start_reading
from deepinside.images.settings import loaded_size
from deepinside.images.sources import Listing, Source, listed
from deepinside.metrics.aggregation import blank_note, intervals_by_group, means, means_by_group, numbers
from deepinside.metrics.intervals import Values
from deepinside.metrics.recognition import with_recognition
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.precision import pixels_to_device, to_device
from deepinside.networks.spec import NetworkSpec
from deepinside.optimisation.callbacks import using_callback
from deepinside.pipeline import finished
from deepinside.pipeline.allocator import disable_malloc_trim
from deepinside.pipeline.background_writer import BackgroundWriter
from deepinside.pipeline.checkpoints import POLL_INTERVAL, Chunk, ChunkResult, RunCheckpoint, make_chunks, remove_stale
from deepinside.results import folder as results
from deepinside.results.items import ArrayFile, ItemRow, ItemTable
from deepinside.results.provenance import provenance, sources_digest, versions
from deepinside.results.shown import write_shown
from deepinside.types import Claim, ImageBatch, Item, Seeds, TechniqueOutput

NETWORK_CACHE: dict[str, Network] = {}
"""The networks last loaded and verified in this process, by their YAML. Networks are immutable, so runs share them."""


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Run:
    """One experiment with its network, its photos and its result folder."""

    experiment: Experiment
    network: Network
    photos: Listing
    config: Mapping[str, Any]
    folder: Path
    judge: Network | None = None
    early: Reading | None = None
    """The first photos, which are read before the network."""
    started: str = field(default_factory=utc_now)

    @property
    def chunks(self) -> list[Chunk]:
        return make_chunks(len(self.photos), self.experiment.images.batch)

    @property
    def seeds(self) -> Seeds:
        return Seeds(self.experiment.seed)


def run(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Execute one composed configuration and write its result to `folder`; returns the contents of `metrics.json`.

    An existing complete result is returned with the mark `skipped_as_done`, unless the photos have changed, some could
    not be read, or `runtime.overwrite` is set. An interrupted run resumes. Raises DeepInsideError if the configuration
    is invalid or the run fails. A failed run writes its reason to `folder`, with status `failed`.
    """
    experiment, photos = read(config)
    if (known := already_done(experiment, photos, config, folder)) is not None:
        return known
    with record_failure(folder, config):
        prepare(experiment)
        early = read_early(experiment, photos)
        network, judge = load_network(experiment), load_judge(experiment)
    check(experiment, network, config)
    with record_failure(folder, config):
        return execute(Run(experiment, network, photos, config, folder, judge, early))


def read(config: Mapping[str, Any]) -> tuple[Experiment, Listing]:
    """The experiment and its photos. Raises DeepInsideError for errors that can be found without loading anything."""
    experiment = read_experiment(config)
    claims.check_known(experiment.claims)
    loaded_size(experiment.images, experiment.network.input)
    photos, order = listed(experiment.images, experiment.network), experiment.figure.order
    if order is not None and not photos:
        raise DeepInsideError(f"figure.order: expected null for a run without photos, found {order!r}.")
    return experiment, photos


@contextmanager
def record_failure(folder: Path, config: Mapping[str, Any]) -> Iterator[None]:
    """Write the reason of any exception in the block to `folder`, with status `failed`."""
    try:
        yield
    except DeepInsideError as error:
        results.write_failure(folder, config, str(error))
        raise
    except Exception as error:
        results.write_failure(folder, config, f"{type(error).__name__}: {error}")
        raise


def already_done(
    experiment: Experiment, photos: Sequence[Source], config: Mapping[str, Any], folder: Path
) -> dict[str, Any] | None:
    """The complete result in `folder`, if it is up to date for this run."""
    known = results.finished_result(folder, config, input_fingerprint(experiment, photos))
    if known is None or experiment.runtime.overwrite or not redraw.bring_up_to_date(folder, config):
        return None
    remove_stale(folder)
    return {**known, "skipped_as_done": True}


def input_fingerprint(experiment: Experiment, photos: Sequence[Source]) -> dict[str, Any]:
    """A quick fingerprint of the run's inputs, apart from its configuration."""
    return finished.inputs(experiment.network.sha256, photos)


def prepare(experiment: Experiment) -> None:
    """Fix the number of threads and the algorithms, so that the same run gives the same bytes."""
    disable_malloc_trim()  # changes the run time only
    torch.set_num_threads(experiment.runtime.threads)
    # torch.use_deterministic_algorithms would import the compiler, which takes three seconds
    torch.set_deterministic_debug_mode("error" if experiment.runtime.device == "cpu" else "warn")
    # no uninitialised memory is read
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def read_early(experiment: Experiment, photos: Listing) -> Reading:
    """Start to decode the first batch, which other threads can do while the network is loaded."""
    first = make_chunks(len(photos), experiment.images.batch)[0].batches[0]
    return start_reading(photos, first, experiment.images, experiment.network.input)


def load_network(experiment: Experiment) -> Network:
    """The experiment's network on its device and in its precision; consecutive runs share it."""
    return loaded(experiment.network, experiment, others=(experiment.judge,))


def load_judge(experiment: Experiment) -> Network | None:
    """The network that judges computed images, if the experiment names one."""
    if experiment.judge is None:
        return None
    return loaded(experiment.judge, experiment, others=(experiment.network,))


def loaded(spec: NetworkSpec, experiment: Experiment, others: Sequence[NetworkSpec | None]) -> Network:
    """A network on the experiment's device; earlier networks are freed, except `others`."""
    cache, key = experiment.runtime.model_cache, repr(spec)
    if key not in NETWORK_CACHE:
        for old in set(NETWORK_CACHE) - {repr(other) for other in others}:
            del NETWORK_CACHE[old]  # a large network takes half a gigabyte
        NETWORK_CACHE[key] = load(spec, cache=Path(cache) if cache else None)
    runtime = experiment.runtime
    return to_device(NETWORK_CACHE[key], runtime.device, runtime.precision, runtime.winograd)


def check(experiment: Experiment, network: Network, config: Mapping[str, Any]) -> None:
    """Raise DeepInsideError if a variant's settings do not suit the network, with the overrides that correct them."""
    refused: dict[str, UnsuitableSettingError] = {}
    for name, technique in experiment.techniques.items():
        try:
            technique.check(network)
        except UnsuitableSettingError as error:
            refused[name] = error
    if refused:
        first = next(iter(refused.values()))
        words = corrections(refused, config.get("variants") or {})
        raise DeepInsideError(f"{first.problem}; add to the command: {words}")
    claims.check_measurable(experiment.claims, network, experiment.techniques)


def corrections(refused: Mapping[str, UnsuitableSettingError], variants: Mapping[str, Any]) -> str:
    """Command-line overrides that drop the variants with an unsuitable setting, or change the setting."""
    own = [name for name, error in refused.items() if error.key in (variants.get(name) or {})]
    others = dict.fromkeys(f"technique.{error.words}" for name, error in refused.items() if name not in own)
    if own and len(own) == len(variants):
        return f"'~variants' technique.{refused[own[0]].words}"
    return " ".join([*(f"'~variants.{name}'" for name in own), *others])


def execute(run: Run) -> dict[str, Any]:
    """Compute the missing chunks, then assemble the result; other processes may share the run."""
    checkpoint = RunCheckpoint(run.folder, checkpoint_origin(run))
    with results.writable(run.folder):
        results.remove_stale(run.folder)
        checkpoint.open()
        try:
            known = already_done(
                run.experiment, run.photos, run.config, run.folder
            )  # another process may just have done it
            if known is None:
                with progress.show_progress(
                    run.experiment, run.network, run.folder, checkpoint.folder, len(run.photos)
                ):
                    compute(run, checkpoint)
            return known or assemble(run, checkpoint)
        finally:
            checkpoint.close()


def checkpoint_origin(run: Run) -> dict[str, Any]:
    """Everything that a chunk's bytes depend on; checkpoints of another origin are not resumed."""
    return {
        "identity": results.digest([results.identity(run.config), run.config.get("figure")]),  # panels are drawn
        "inputs": input_fingerprint(run.experiment, run.photos),
        "network": run.network.sha256,
        "code": sources_digest(),
        "versions": versions(),
    }


def compute(run: Run, checkpoint: RunCheckpoint) -> None:
    """Compute the missing chunks; at the end wait for the chunks of other processes."""
    Thread(target=import_ahead).start()
    while (missing := checkpoint.missing(run.chunks)) and not checkpoint.superseded:
        before = len(missing)
        progress.set_position(len(run.photos) - sum(len(part) for chunk in missing for part in chunk.batches))
        run_chunks(run, checkpoint, missing)
        if len(checkpoint.missing(run.chunks)) == before:
            time.sleep(POLL_INTERVAL)


def import_ahead() -> None:
    """Import what the end of a run needs, together half a second; a background thread does it during computation."""
    import pyarrow.parquet  # noqa: F401 - the table of items
    import scipy.special  # noqa: F401 - intervals

    figures.prepare()


def run_chunks(run: Run, checkpoint: RunCheckpoint, missing: Sequence[Chunk]) -> None:
    """Claim chunks and apply every variant of the technique to them, batch by batch."""
    claimed: dict[range, Chunk] = {}

    def numbers() -> Iterator[range]:  # read ahead: photos are decoded during computation
        for chunk in checkpoint.claimed(missing):
            claimed.update(dict.fromkeys(chunk.batches, chunk))
            yield from chunk.batches

    settings, convention = run.experiment.images, run.network.input
    loaded = batches(run.photos, numbers(), settings, convention, run.early)
    with BackgroundWriter() as writer:
        for first in loaded:
            chunk = claimed[first.numbers]
            parts = chain([first], (next(loaded) for _ in chunk.batches[1:]))
            run_chunk(run, checkpoint, chunk, parts, writer)


def run_chunk(
    run: Run, checkpoint: RunCheckpoint, chunk: Chunk, parts: Iterator[Loaded], writer: BackgroundWriter
) -> None:
    """Compute one chunk; each batch is written while the next one, of any chunk, is computed."""
    started, record = time.perf_counter(), ChunkResult()
    arrays = ArrayFile(checkpoint.arrays_path(chunk), compressed=False)
    for part in parts:
        record.skipped += part.skipped
        if part.batch is not None:
            output = apply_technique(run, checkpoint, batch_to_device(part.batch, run.network), part.numbers)
            writer.wait()  # for the previous batch, so that at most two are in memory
            writer.do(save_items, run, checkpoint, arrays, part.numbers.start, output)
            collect(record, part.batch, output, kept_at_once(run.experiment.figure) - part.numbers.start)
        progress.advance(len(part.numbers))
    record.seconds = time.perf_counter() - started
    writer.do(finish_chunk, checkpoint, chunk, record, arrays)


def apply_technique(run: Run, checkpoint: RunCheckpoint, batch: ImageBatch, numbers: range) -> TechniqueOutput:
    """Every variant of the technique on one batch."""
    found = {}
    for name, variant in run.experiment.techniques.items():
        progress.set_variant(name)
        with using_callback(checkpoint.checkpointer(numbers, name)):
            found[name] = with_recognition(variant(run.network, batch, run.seeds), run.network, batch, run.judge)
    return combine_variants(found)


def batch_to_device(batch: ImageBatch, network: Network) -> ImageBatch:
    return replace(batch, pixels=pixels_to_device(batch.pixels, network))


def combine_variants(outputs: Mapping[str, TechniqueOutput]) -> TechniqueOutput:
    """Merge the outputs of several variants: items of one name become one item with names `variant/…`."""
    items: dict[str, Item] = {}
    for variant, output in outputs.items():
        for item in output.items:
            named = prefix_variant(item, variant)
            items[item.name] = merge_items(items[item.name], named) if item.name in items else named
    said = [f"{variant}: {s}" if variant else s for variant, output in outputs.items() for s in output.deviations]
    return TechniqueOutput(tuple(items.values()), tuple(said))


def prefix_variant(item: Item, variant: str) -> Item:
    """`item` with the variant's name as prefix of its panels, metrics and traces; the photo keeps its name."""
    if not variant:
        return item
    panels = [p if p.name == "photo" else replace(p, name=f"{variant}/{p.name}") for p in item.panels]
    metrics = {f"{variant}/{name}": value for name, value in item.metrics.items()}
    trace = {f"{variant}/{name}": values for name, values in item.trace.items()}
    return replace(item, panels=tuple(panels), metrics=metrics, trace=trace)


def merge_items(first: Item, second: Item) -> Item:
    known = {panel.name for panel in first.panels}
    panels = (*first.panels, *(panel for panel in second.panels if panel.name not in known))
    return replace(
        first,
        panels=panels,
        metrics={**first.metrics, **second.metrics},
        trace={**first.trace, **second.trace},
        notes=(*first.notes, *second.notes),
    )


def save_items(run: Run, checkpoint: RunCheckpoint, arrays: ArrayFile, first: int, output: TechniqueOutput) -> None:
    """Write the pictures and arrays selected by `save`; `first` is the index of the first item in the run."""
    save, limit = run.experiment.save, kept_at_once(run.experiment.figure)
    for place, item in enumerate(output.items, first):
        if save.wants(save.maps, place < limit):
            arrays.add(item)
        if save.wants(save.panels, place < limit):
            save_panels(run, checkpoint, item)


def kept_at_once(figure: FigureSettings) -> int:
    """How many of the first items a run keeps for its figure; none if their numbers decide, see `items_of_figure`."""
    return figure.limit if figure.order is None else 0


def save_panels(run: Run, checkpoint: RunCheckpoint, item: Item) -> None:
    figure = run.experiment.figure
    for panel in item.panels:
        path = checkpoint.result / "panels" / panel.name / f"{item.name}.png"
        figures.save_panel(panel, path, figure.magnitude_map, figure.signed_map, figure.percentile)


def finish_chunk(checkpoint: RunCheckpoint, chunk: Chunk, record: ChunkResult, arrays: ArrayFile) -> None:
    """Write the last files of a chunk, which marks it as done."""
    arrays.close()
    checkpoint.finish(chunk, record)


def collect(record: ChunkResult, batch: ImageBatch, output: TechniqueOutput, limit: int) -> None:
    """Keep the numbers of every item, and the pictures of the first `limit`."""
    hashes = {photo.stem: photo.sha256 for photo in batch.photos}
    for item in output.items:
        row = ItemRow.of(item, numbers(item), hashes.get(item.name))
        row.refuse_nan()
        record.rows.append(row)
        record.notes.update(dict.fromkeys(item.notes))
    record.shown += output.items[: max(0, limit)]
    record.deviations.update(dict.fromkeys(output.deviations))


def assemble(run: Run, checkpoint: RunCheckpoint) -> dict[str, Any]:
    """Write the result of all chunks in one of the processes; the others wait for it."""
    while not checkpoint.superseded:
        if checkpoint.acquire("result"):
            found = finalise(run, checkpoint)
            results.replace_folder(run.folder, checkpoint.result)
            checkpoint.remove()
            return found
        time.sleep(POLL_INTERVAL)
    return results.read_metrics(run.folder) or {}


def finalise(run: Run, checkpoint: RunCheckpoint) -> dict[str, Any]:
    """Write all files of the result except the panels, which are already there.

    The figure is drawn in the background: the claims, which are measured meanwhile, keep another core busy.
    """
    table, found = gather_chunks(run, checkpoint)
    check_some_are_readable(len(run.photos), found.skipped)
    figure, folder = run.experiment.figure, checkpoint.result
    with BackgroundWriter() as writer:
        writer.do(redraw.save_pictures, found.shown, len(table), run.config, figure, folder)
        writer.do(write_shown, folder, found.shown)
        writer.do(table.write, folder / "items.parquet")
        writer.do(results.write_config, folder / "config.yaml", run.config)
        found.notes.update(dict.fromkeys(figures.unknown_panel_notes(found.shown, figure)))
        ended = {"ended": utc_now(), "seconds": round(found.seconds, 3)}
        results.write_json(folder / "provenance.json", {**provenance_of(run, table), **ended})
        metrics = summarise(run, table, found)
    results.write_json(folder / "metrics.json", metrics)
    return metrics


def gather_chunks(run: Run, checkpoint: RunCheckpoint) -> tuple[ItemTable, ChunkResult]:
    """Merge the chunks: all items in one table, all arrays in one file, and the rest in one ChunkResult."""
    table, found = ItemTable(), ChunkResult()
    with ArrayFile(checkpoint.result / "arrays.npz") as arrays:
        for chunk in run.chunks:
            arrays.take(checkpoint.arrays_path(chunk))
            record = checkpoint.record(chunk)
            table.add(record.rows)
            found.shown += record.shown
            found.skipped += record.skipped
            found.seconds += record.seconds
            found.deviations.update(record.deviations)
            found.notes.update(record.notes)
        if run.experiment.figure.order is not None:
            found.shown += items_of_figure(run, checkpoint, table)
            save_shown(run, checkpoint, arrays, found.shown)
    return table, found


def items_of_figure(run: Run, checkpoint: RunCheckpoint, table: ItemTable) -> list[Item]:
    """The items that the figure shows, in its order: which ones is known only when all numbers are.

    Their photos are computed again, which gives the same bytes; keeping every item's pictures until then would take
    as much memory as all of them.
    """
    figure, known = run.experiment.figure, {source.stem: place for place, source in enumerate(run.photos)}
    rows = table.shown(figure.limit, figure.order)
    images = [one.image if (one := table.predictions[row]) else str(table.texts["name"][row]) for row in rows]
    places = dict.fromkeys(known[image] for image in images) if known.keys() >= {*images} else range(len(run.photos))
    parts = batches(run.photos, (range(n, n + 1) for n in places), run.experiment.images, run.network.input)
    found = {
        item.name: item
        for part in parts
        if part.batch is not None
        for item in apply_technique(run, checkpoint, batch_to_device(part.batch, run.network), part.numbers).items
    }
    return [found[name] for name in table.numbers_of(rows) if name in found]


def save_shown(run: Run, checkpoint: RunCheckpoint, arrays: ArrayFile, items: Sequence[Item]) -> None:
    """Write the pictures and arrays of the figure's items where those of all items are not written anyway."""
    for item in items:
        if run.experiment.save.maps == "shown":
            arrays.add(item)
        if run.experiment.save.panels == "shown":
            save_panels(run, checkpoint, item)


def hashes_of(network: Network) -> dict[str, str]:
    """The SHA-256 of the network's file, and of its mean image if it has one."""
    mean = network.input.mean_sha256
    return {"sha256": network.sha256, **({"mean_sha256": mean} if mean else {})}


def provenance_of(run: Run, table: ItemTable) -> dict[str, Any]:
    """The provenance of the result."""
    network = run.network
    hashes = zip(table.texts["name"], table.texts["sha256"], strict=True)
    return provenance(
        network={"name": network.name, **hashes_of(network), "checks": dict(network.checks)},
        images={str(name): sha256 for name, sha256 in hashes if sha256},
        inputs=input_fingerprint(run.experiment, run.photos),
        runtime=asdict(run.experiment.runtime), seed=run.experiment.seed, started=run.started,
        display=figures.scale_sentence(run.experiment.figure.percentile),
    )  # fmt: skip


def summarise(run: Run, table: ItemTable, found: ChunkResult) -> dict[str, Any]:
    """The contents of `metrics.json`: metrics, claims, deviations and notes."""
    columns = table.columns()
    groups, figure = table.texts["group"], run.experiment.figure
    shown = table.shown(figure.limit, figure.order)
    found.notes.update(dict.fromkeys(blank_note(table.texts["name"], columns)))
    return results.metrics_summary(
        config=run.config,
        seconds=found.seconds,
        metrics=means(columns),
        by_group=means_by_group(columns, groups),
        intervals=intervals_by_group(columns, groups),
        count=len(table),
        items=table.numbers_of(shown),
        predictions=table.predictions_of(shown),
        right=table.right(),
        claims=list(evaluate_claims(run, found, columns, groups)),
        deviations=[*run.experiment.deviations, *run.network.deviations, *found.deviations],
        skipped=[asdict(skipped) for skipped in found.skipped],
        notes=[*run.network.notes, *run.photos.notes, *found.notes],
    )


def evaluate_claims(
    run: Run, found: ChunkResult, columns: Mapping[str, Values], groups: Sequence[str | None]
) -> Iterator[Claim]:
    """The verdict of every claim. A claim that these photos cannot test is left out, and a note says why."""
    if not run.experiment.claims:
        return
    batch = first_batch(run)
    techniques = run.experiment.techniques
    evidence = claims.Evidence(run.network, batch, run.seeds, techniques, columns, groups, run.judge)
    for name in run.experiment.claims:
        try:
            yield claims.evaluate(name, evidence)
        except claims.NotMeasuredError as reason:
            found.notes[f"The claim {name} is not measured: {reason}."] = None


def first_batch(run: Run) -> ImageBatch:
    """Load the first batch that has a readable photo."""
    numbers = (batch for chunk in run.chunks for batch in chunk.batches)
    loaded = batches(run.photos, numbers, run.experiment.images, run.network.input, run.early)
    return next(batch_to_device(part.batch, run.network) for part in loaded if part.batch is not None)
