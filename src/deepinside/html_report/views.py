"""The contents of each page, computed from the runs; the templates only lay them out."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from deepinside.html_report.files import address
from deepinside.html_report.papers import Source, read_source
from deepinside.html_report.photographs import Photograph
from deepinside.html_report.pictures import Picture, ShownItem
from deepinside.html_report.runs import CLASS_MODEL, Found, Run

COLUMNS = 6
"""Metrics per run in tables of runs."""
COMPARED = 4
"""Runs that are compared initially."""


@dataclass(frozen=True)
class Experiment:
    """All runs of one experiment, default runs first; `best` represents it."""

    name: str
    title: str
    source: Source
    runs: tuple[Run, ...]

    @property
    def best(self) -> Run:
        if self.runs[0].is_default:
            return self.runs[0]
        done = [run for run in self.runs if run.done]  # the middle of swept values is the most typical
        return done[len(done) // 2] if done else self.runs[0]

    @property
    def page(self) -> str:
        return f"report/experiments/{self.name}.html"

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(run.network for run in self.runs))

    @property
    def claims(self) -> list[dict[str, Any]]:
        return [claim for run in self.runs if run.is_default for claim in run.claims]

    @property
    def columns(self) -> list[str]:
        """The metrics in the table of its runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.metrics))[:COLUMNS]


@dataclass(frozen=True)
class Paper:
    name: str
    experiments: tuple[Experiment, ...]


def experiments(runs: Iterable[Run]) -> list[Experiment]:
    """Runs by experiment, in the order of the papers and their figures."""
    by_name: dict[str, list[Run]] = {}
    for run in runs:
        by_name.setdefault(run.folder.partition("/")[0], []).append(run)
    found = []
    for name, those in by_name.items():
        those.sort(key=lambda run: (not run.done, not run.is_default, run.network, natural(run.folder)))
        found.append(Experiment(name, those[0].title or name, read_source(those[0].source), tuple(those)))
    return sorted(found, key=lambda one: (one.source.paper_key, one.source.place_key, one.name))


def natural(name: str) -> list[tuple[str, float]]:
    """A sorting key by which `contrast=6` comes before `contrast=12`."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", name)
    return [(words, float(number or 0)) for words, number in zip_longest(parts[::2], parts[1::2], fillvalue="")]


def papers(found: Sequence[Experiment]) -> list[Paper]:
    by_name: dict[str, list[Experiment]] = {}
    for one in found:
        by_name.setdefault(one.source.paper, []).append(one)
    return [Paper(name, tuple(those)) for name, those in by_name.items()]


def deviations(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Each deviation from the papers with its runs: default runs, or all runs if there is no default run."""
    found: dict[str, list[Run]] = {}
    for run in defaults_or_all(runs):
        for sentence in run.deviations:
            found.setdefault(sentence, []).append(run)
    return found


def defaults_or_all(runs: Iterable[Run]) -> list[Run]:
    """The default run of every experiment on every network, or all its runs if there is no default run."""
    done = [run for run in runs if run.done]
    with_default = {(run.experiment, run.network) for run in done if run.is_default}
    return [run for run in done if run.is_default or (run.experiment, run.network) not in with_default]


@dataclass(frozen=True)
class Problems:
    """Failed, incomplete and unfinished runs, for the top of the overview."""

    failed: list[Run]
    skipped: list[Run]
    unfinished: list[str]

    def __len__(self) -> int:
        return len(self.failed) + len(self.skipped) + len(self.unfinished)


def problems(runs: Sequence[Run], found: Found) -> Problems:
    return Problems([run for run in runs if not run.done], [run for run in runs if run.skipped], found.unfinished)


def class_models(runs: Iterable[Run]) -> list[Run]:
    """The runs with class models."""
    return [run for run in runs if run.technique == CLASS_MODEL and run.done and run.panels]


def side_by_side(runs: Sequence[Run]) -> list[Run]:
    """The runs to compare initially: one per network, then others of the first run's experiment, then any."""
    by_network: dict[str, Run] = {}
    for run in runs:
        by_network.setdefault(run.network, run)
    first = list(by_network.values())
    same = [run for run in runs if run not in first and first and run.experiment == first[0].experiment]
    return [*first, *same, *(run for run in runs if run not in first and run not in same)][:COMPARED]


def sweep_rows(sweep_runs: Sequence[Mapping[str, Any]], runs: Mapping[str, Run]) -> list[dict[str, Any]]:
    """A sweep's runs with their results, if these still exist under the root."""
    return [{**run, "run": runs.get(str(run.get("folder") or "").strip("/"))} for run in sweep_runs]


@dataclass(frozen=True)
class MetricTable:
    """Metrics by row (a layer, a variant or a pair) and column (what was measured)."""

    columns: list[str]
    rows: dict[str, dict[str, float]]


def metric_tables(metrics: Mapping[str, float]) -> list[MetricTable]:
    """Names such as `conv1/error` as a table of rows and columns; rows with the same columns share a table."""
    rows: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        row, _, column = name.rpartition("/")
        if "~" in column:
            row, column = column.replace("~", " and "), row
        rows.setdefault(row, {})[column] = value
    by_columns: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    for row, values in rows.items():
        by_columns.setdefault(tuple(values), {})[row] = values
    return [MetricTable(list(columns), those) for columns, those in by_columns.items()]


def leading(found: Sequence[Experiment]) -> list[Experiment]:
    """The first experiment of each technique that has pictures, at most three."""
    by_technique: dict[str, Experiment] = {}
    for one in found:
        if one.best.done and one.best.mosaic:
            by_technique.setdefault(one.best.technique, one)
    return list(by_technique.values())[:3]


def run_data(run: Run, items: Sequence[ShownItem], numbers: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The data that the browser needs to compare the run's pictures."""
    return {
        "slug": run.slug,
        "label": run.label,
        "network": run.network,
        "title": run.title,
        "photographs": {one.path: address(one.path) for item in items if (one := item.photograph)},
        "items": [
            {
                "name": item.name,
                "title": item.title,
                "verdict": item.verdict,
                "photo": item.photograph and photograph_data(item.photograph),
                "boxes": [[round(edge, 4) for edge in box] for box in item.boxes],
                "numbers": {name: f"{value:.4g}" for name, value in numbers.get(item.name, {}).items()},
                "pictures": [picture_data(picture) for picture in item.pictures],
            }
            for item in items
        ],
    }


def picture_data(picture: Picture) -> dict[str, Any]:
    """One picture with links from the root."""
    links = {key: address(path) if path else "" for key, path in picture.paths.items()}
    size = {"width": picture.width, "height": picture.height}
    return {
        "panel": picture.panel,
        **links,
        **size,
        "map": picture.colour_map,
        "overlay": overlay(picture.colour_map),
        "photo": picture.is_photo,
    }


def overlay(colour_map: str) -> str:
    """The colours of a map over a photo: its own, unless these are shades of grey, which a photo has, too."""
    return "inferno" if colour_map.lower().startswith(("gr", "binary", "bone")) else colour_map


def photograph_data(photo: Photograph) -> dict[str, Any]:
    """An item's photograph; its address is in the run's `photographs`, once for all items that show it."""
    return {"key": photo.path, "width": photo.width, "height": photo.height, "view": [round(v, 5) for v in photo.view]}


def script(value: Any) -> str:
    """JSON that is safe inside a script element."""
    words = json.dumps(value, separators=(",", ":"))  # pure ASCII
    return words.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
