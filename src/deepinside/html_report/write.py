"""Writes the report. Unchanged pages are kept, and every file is written atomically."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from deepinside.errors import DeepInsideError
from deepinside.html_report import charts, views
from deepinside.html_report.claim_table import claim_table
from deepinside.html_report.colour_filters import CHOICES, filters
from deepinside.html_report.commands import repeat_command
from deepinside.html_report.files import address, write_atomically
from deepinside.html_report.layout import (
    HERE,
    OVERVIEWS,
    REPORT,
    data_file,
    environment,
    experiment_page,
    pictures_of,
    report_version,
    run_page,
    sweep_page,
)
from deepinside.html_report.papers import OTHERS
from deepinside.html_report.pictures import PictureWriter, ShownItem
from deepinside.html_report.runs import Found, Run, Sweep, read_json, read_run, read_yaml, scan_results

STATE = f"{REPORT}/state.json"
WAIT = 60.0
"""Seconds to wait for another process that writes the same report."""


def write_report(root: Path, url: str | None = None) -> Path:
    """Write `root/index.html` and `root/report/` from the results under `root`; returns the path of the first.

    `url` is the web address of `root`, where the report will be published: pages then have a preview picture, which
    needs a complete address (the Open Graph protocol). None means the address of the last time.
    Unchanged pages are kept, so it can be called after every run. Several processes may call it at once: they take
    turns. Raises DeepInsideError if the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        (root / REPORT).mkdir(parents=True, exist_ok=True)
        with FileLock(root / REPORT / ".lock", timeout=WAIT):
            Writer(root, None if url is None else url.rstrip("/")).write()
    except (OSError, Timeout) as error:
        raise DeepInsideError(
            f"report: {root} could not be written ({error}); free space or choose another results folder."
        ) from error
    return root / "index.html"


def refresh(root: Path) -> None:
    """Like `write_report`, but only print errors, because the results themselves are complete."""
    try:
        write_report(root)
    except DeepInsideError as error:
        print(f"deepinside: {error}", file=sys.stderr)


@dataclass
class Writer:
    """Writes the report in `root` once."""

    root: Path
    url: str | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    """A digest of each page's sources, by the page's path."""

    def write(self) -> None:
        found = scan_results(self.root)
        state = read_json(self.root / STATE) or {}
        if self.url is None:
            self.url = str(state.get("url") or "")
        known = self.previous_runs(state)
        before = dict(self.pages)
        self.copy_assets()
        for folder, stamp in found.runs.items():
            run = known.get(folder)
            if run is None or run.stamp != stamp or not self.has(run):
                run = self.run(folder, stamp)
            if run is not None:
                self.runs[folder] = run
        self.overviews(found)
        self.drop_missing(found)
        if self.pages != before:
            self.save_state()
        if self.pages.keys() != before.keys():
            self.clean()

    # The state of the previous report

    def previous_runs(self, state: Mapping[str, Any]) -> dict[str, Run]:
        """The runs of the previous report; none if another version of this program wrote it, or for another address."""
        if state.get("form") != report_version() or state.get("url") != self.url:
            return {}
        try:
            found = {folder: Run.from_plain(values) for folder, values in state["runs"].items()}
            self.pages = dict(state["pages"])
        except (KeyError, TypeError, ValueError):
            return {}
        return found

    def drop_missing(self, found: Found) -> None:
        """Drop the pages of results that no longer exist."""
        runs = self.runs.values()
        current = {run_page(run) for run in runs} | {experiment_page(run.folder) for run in runs}
        current |= {sweep_page(sweep) for sweep in found.sweeps} | OVERVIEWS
        self.pages = {path: key for path, key in self.pages.items() if path in current}

    def save_state(self) -> None:
        runs = {folder: run.plain() for folder, run in self.runs.items()}
        state = {"form": report_version(), "url": self.url, "runs": runs, "pages": self.pages}
        write_atomically(self.root / STATE, json.dumps(state).encode())

    def has(self, run: Run) -> bool:
        return all((self.root / path).is_file() for path in (run_page(run), data_file(run)))

    def clean(self) -> None:
        """Remove the pages and pictures of results that no longer exist."""
        current = {self.root / path for path in self.pages}
        current |= {self.root / path for run in self.runs.values() for path in (data_file(run), pictures_of(run))}
        current |= {self.root / path for run in self.runs.values() for path in run.photographs}
        for name in ("runs", "experiments", "sweeps", "data", "pictures", "photographs"):
            for left in set((self.root / REPORT / name).glob("*")) - current:
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)

    def copy_assets(self) -> None:
        for source in (HERE / "assets").iterdir():
            target = self.root / REPORT / "assets" / source.name
            if not target.is_file() or target.stat().st_size != source.stat().st_size or self.pages == {}:
                write_atomically(target, source.read_bytes())

    # Pages

    def page(self, path: str, template: str, made_from: Any, context: Callable[[], Mapping[str, Any]]) -> None:
        """Write one page if its sources have changed."""
        key = sha256(json.dumps(made_from, default=str).encode()).hexdigest()[:16]
        if self.pages.get(path) == key and (self.root / path).is_file():
            return
        link = partial(address, page=path)
        base = "../" * path.count("/")
        always = {"link": link, "base": base, "path": path, "url": self.url}
        words = environment().get_template(template).render(**always, **context())
        write_atomically(self.root / path, words.encode("utf-8", "replace"))
        self.pages[path] = key

    def run(self, folder: str, stamp: str) -> Run | None:
        """Read one run, write its pictures, its page and its data."""
        run = read_run(self.root, folder, stamp)
        if run is None:
            return None
        numbers: dict[str, Any] = (read_json(self.root / folder / "metrics.json") or {}).get("items") or {}
        run, items = self.with_pictures(run, list(numbers))
        data = views.script(views.run_data(run, items, numbers))
        write_atomically(self.root / data_file(run), f"deepinside.data[{json.dumps(run.slug)}]={data};\n".encode())
        self.pages.pop(run_page(run), None)
        self.page(run_page(run), "run.html", stamp, lambda: run_context(self.root, run, items))
        return run

    def with_pictures(self, run: Run, named: Sequence[str]) -> tuple[Run, list[ShownItem]]:
        """The run with its mosaic and the names of its panels, and its items with pictures."""
        place = self.root / run.folder
        figure = read_yaml(place / "config.yaml").get("figure") or {}
        maps = tuple(str(figure.get(name) or "") for name in ("magnitude_map", "signed_map"))
        writer = PictureWriter(self.root, run.folder, self.root / pictures_of(run), maps)
        items = writer.items(named, titles(place)) if run.done else []
        panels = list(dict.fromkeys(picture.panel for item in items for picture in item.pictures))
        photos = list(dict.fromkeys(item.photograph.path for item in items if item.photograph))
        run = replace(run, mosaic=writer.mosaic(items), panels=panels, photographs=photos)
        writer.clean(used(run, items))
        return run, items

    def overviews(self, found: Found) -> None:
        runs = list(self.runs.values())
        experiments = views.experiments(runs)
        for one in experiments:
            self.experiment(one)
        for sweep in found.sweeps:
            self.sweep(sweep)
        everything = [(run.folder, run.stamp) for run in runs]
        swept = [(sweep.folder, sweep.stamp) for sweep in found.sweeps]
        models = views.class_models(run for one in experiments for run in one.runs)
        self.page(f"{REPORT}/runs.html", "runs.html", everything, lambda: {"experiments": experiments})
        compared = {"runs": models, "at_first": views.side_by_side(models)}
        self.page(f"{REPORT}/class-models.html", "class_models.html", everything, lambda: compared)
        made_from = [everything, swept, found.unfinished]
        self.page("index.html", "index.html", made_from, lambda: overview(runs, experiments, found))

    def experiment(self, one: views.Experiment) -> None:
        at_first = views.side_by_side([run for run in one.runs if run.done and run.panels])
        stamps = [(run.folder, run.stamp) for run in one.runs]
        self.page(
            one.page,
            "experiment.html",
            stamps,
            lambda: {"experiment": one, "at_first": at_first, "claims": claim_table(one.runs)},
        )

    def sweep(self, sweep: Sweep) -> None:
        rows = views.sweep_rows(sweep.runs, self.runs)
        stamps = [sweep.stamp, sweep.pictures, [row["run"] and row["run"].stamp for row in rows]]
        self.page(sweep_page(sweep), "sweep.html", stamps, lambda: sweep_context(sweep, rows))


def overview(runs: Sequence[Run], experiments: Sequence[views.Experiment], found: Found) -> dict[str, Any]:
    claims = claim_table(run for one in experiments for run in one.runs)
    return {
        "runs": runs,
        "experiments": experiments,
        "papers": views.papers(experiments),
        "claims": claims,
        "leading": views.leading(experiments),
        "others": OTHERS,
        "measured": [verdict for row in claims for verdict in row.verdicts],
        "deviations": views.deviations(run for one in experiments for run in one.runs),
        "networks": sorted({run.network for run in runs}),
        "sweeps": found.sweeps,
        "covers": {sweep.folder: cover(sweep, {run.folder: run for run in runs}) for sweep in found.sweeps},
        "problems": views.problems(runs, found),
        "latest": max((run.started for run in runs), default=""),
    }


def cover(sweep: Sweep, runs: Mapping[str, Run]) -> str:
    """The thumbnail of a sweep: that of its first run with pictures."""
    rows = views.sweep_rows(sweep.runs, runs)
    return next((row["run"].mosaic for row in rows if row["run"] and row["run"].mosaic), "")


def sweep_context(sweep: Sweep, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    grid = charts.grid(sweep.axes, rows)
    names = list(dict.fromkeys(name for row in rows for name in charts.numbers(row)))
    return {"sweep": sweep, "rows": rows, "grid": grid, "charts": charts.charts(grid), "names": names}


def run_context(root: Path, run: Run, items: Sequence[ShownItem]) -> dict[str, Any]:
    place = root / run.folder
    names = sorted(entry.name for entry in place.iterdir() if entry.is_file() and not entry.name.startswith("."))
    try:
        config = (place / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        config = ""
    return {
        "run": run,
        "claims": claim_table([run]),
        "filters": filters(picture.colour_map for item in items for picture in item.pictures if picture.levels),
        "choices": CHOICES,
        "tables": views.metric_tables(run.metrics),
        "items": items,
        "experiment_page": experiment_page(run.folder),
        "repeat": repeat_command(display_path(place)),
        "files": names,
        "yaml": config,
        "provenance": read_json(place / "provenance.json") or {},
    }


def titles(place: Path) -> dict[str, str]:
    """The items' captions by name, from the run's table of items if there is one."""
    path = place / "items.parquet"
    if not path.is_file():
        return {}
    try:
        from pyarrow import ArrowException, parquet

        first = next(parquet.ParquetFile(path).iter_batches(256, columns=["name", "title", "caption"]), None)
    except (ImportError, OSError, ArrowException):
        return {}
    rows = first.to_pylist() if first is not None else []
    captions = {row["name"]: row.get("caption") or row["title"] for row in rows}
    return {name: words for name, words in captions.items() if words}


def used(run: Run, items: Sequence[ShownItem]) -> Iterator[str]:
    yield run.mosaic
    for item in items:
        for picture in item.pictures:
            yield from (picture.shown, picture.levels)


def display_path(place: Path) -> str:
    """The folder's path, relative to the working directory if it is inside it."""
    full, here = place.resolve(), Path.cwd().resolve()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)
