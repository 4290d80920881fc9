"""Two pictures of a sweep: its results along the swept axes, and its metrics against them."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from deepinside import figures
from deepinside.metrics.intervals import t_interval
from deepinside.results import folder as results
from deepinside.sweeps.runs import SEED, Run

Axes = Mapping[str, Sequence[Any]]

WRAP = 6
"""Runs per row if one key is swept."""
MOST_RUNS = 400
MOST_CURVES = 48
MOST_NAMED = 6
"""At most this many lines get a legend; `sweep.csv` identifies the others."""
PICTURES = 4
"""Panels shown per run."""
DECADES = 2
"""Values that span at least this many powers of ten get a logarithmic axis."""


# ---- the grid of results ----


def save_grid(runs: Sequence[Run], axes: Axes, root: Path, title: str, path: Path) -> None:
    """Small multiples of the runs' panels: one axis wraps after six, two make rows and columns, more make nested rows.

    Draws at most 400 runs and says so in the title.
    """
    shown = runs[:MOST_RUNS]
    rows, columns = lines(shown, axes)
    inches = min(2.0, max(0.7, 24 / columns))
    figure, places = figures.image_grid(len(rows), columns, inches)
    for row, places_of_row in zip(rows, places, strict=True):
        for run, place in zip(row, places_of_row, strict=False):
            if run is not None:
                draw_run(place, run, root, label(run, axes))
    more = f" (first {len(shown)} of {len(runs)} runs)" if len(shown) < len(runs) else ""
    told = what_is_shown(shown, root)
    figure.suptitle(figures.plain("\n".join(filter(None, [cut(title, 100) + more, told]))), fontsize=8)
    figures.save(figure, path, bbox_inches="tight")


def lines(runs: Sequence[Run], axes: Axes) -> tuple[list[list[Run | None]], int]:
    """The runs in rows, and the number of columns; None for combinations that were not run.

    The axis with the most values (the last of several) gives the columns; each combination of the others is a row.
    """
    if len(axes) < 2:
        columns = min(WRAP, len(runs))
        return [list(islice(runs, i, i + columns)) for i in range(0, len(runs), columns)], columns
    last = max(reversed(list(axes)), key=lambda key: len(axes[key]))
    others = [key for key in axes if key != last]
    columns_of = [results.value_text(value) for value in axes[last]] + [absent(last)]
    found: dict[tuple[str, ...], dict[str, Run]] = {}
    for run in runs:
        found.setdefault(tuple(value_of(run, key) for key in others), {})[value_of(run, last)] = run
    used = [name for name in columns_of if any(name in line for line in found.values())]
    return [[line.get(name) for name in used] for line in found.values()], len(used)


def value_of(run: Run, key: str) -> str:
    return results.value_text(run.overrides[key]) if key in run.overrides else absent(key)


def absent(key: str) -> str:
    return f"{key} as it is"


def label(run: Run, axes: Axes) -> str:
    """The run's swept values, one line per key: `l2=0.001`."""
    told = [f"{key.rpartition('.')[2]}={value_of(run, key)}" for key in axes if key in run.overrides]
    return "\n".join(cut(line, 34) for line in told)


def cut(words: str, length: int) -> str:
    return words if len(words) <= length else f"{words[: length - 1]}…"


def draw_run(place: Any, run: Run, root: Path, title: str) -> None:
    picture = None if run.status != "done" or run.folder is None else mosaic(root / run.folder)
    if picture is None:
        told = "no picture" if run.status == "done" else f"{run.status}: {run.reason or ''}"
        words = textwrap.fill(cut(told, 120), 24)
        place.text(0.5, 0.5, figures.plain(words), ha="center", va="center", fontsize=5, transform=place.transAxes)
    else:
        place.imshow(picture, interpolation="nearest")
    place.set_title(figures.plain(title), fontsize=6)


def mosaic(folder: Path) -> Image.Image | None:
    """Some of a run's panels as one picture, two per row; else its figure; None without either."""
    paths = [path for path in chosen(folder) if path.is_file()] or list(folder.glob("figure.png"))
    if not paths:
        return None
    pictures = [open_picture(path) for path in paths]
    width, height = (max(size) for size in zip(*(picture.size for picture in pictures), strict=True))
    columns = 1 if len(pictures) == 1 else 2
    gap = max(1, width // 32)
    size = (columns * (width + gap) - gap, math.ceil(len(pictures) / columns) * (height + gap) - gap)
    canvas = Image.new("RGB", size, "white")
    for place, picture in enumerate(pictures):
        # nearest-neighbour keeps the values of a map
        enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
        canvas.paste(enlarged, (place % columns * (width + gap), place // columns * (height + gap)))
    return canvas


def open_picture(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def chosen(folder: Path) -> list[Path]:
    """The panels in a run's cell: four items, two items with two panels, or four panels of one item; no photos."""
    panels, items = names(folder)
    panels, items = panels[:PICTURES], items[: max(1, PICTURES // max(1, len(panels)))]
    return [folder / "panels" / panel / f"{item}.png" for item in items for panel in panels]


def names(folder: Path) -> tuple[list[str], list[str]]:
    """The names of a run's panels and of its items."""
    root = folder / "panels"
    panels = sorted({path.parent.relative_to(root).as_posix() for path in root.rglob("*.png")} - {"photo"})
    return panels, list((results.read_metrics(folder) or {}).get("items", {}))


def what_is_shown(runs: Sequence[Run], root: Path) -> str:
    """The panels and items that all cells show; empty if the runs differ."""
    told = {
        tuple(path.relative_to(root / run.folder / "panels").with_suffix("").as_posix() for path in found)
        for run in runs
        if run.folder is not None and run.status == "done" and (found := chosen(root / run.folder))
    }
    return ", ".join(told.pop()) if len(told) == 1 else ""


# ---- the metrics ----


def save_metrics(runs: Sequence[Run], axes: Axes, title: str, path: Path) -> None:
    """Plot every metric against every axis, one line per combination of the other axes. No axes or metrics, no file.

    Seeds are averaged if there is another axis; bars show the mean's 95 % interval over seeds.

    Numeric values are joined by lines, on a logarithmic axis if they span two powers of ten; other values get dots.
    """
    done = [run for run in runs if run.status == "done"]
    axes = {key: values for key, values in axes.items() if key != SEED or len(axes) == 1}
    metrics = list(dict.fromkeys(name for run in done for name in run.metrics))
    cells = [(metric, axis) for metric in metrics for axis in axes if drawn(done, metric, axis)]
    if not cells:
        return
    more = f" (first {MOST_CURVES} of {len(cells)} curves)" if len(cells) > MOST_CURVES else ""
    cells = cells[:MOST_CURVES]
    columns = min(len(cells), len(axes) if 1 < len(axes) <= 4 else 4)
    height = math.ceil(len(cells) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * height), layout="constrained")
    for number, (metric, axis) in enumerate(cells, 1):
        draw_metric(figure.add_subplot(height, columns, number), done, metric, axis, axes)
    figure.suptitle(figures.plain(cut(title, 100) + more), fontsize=8)
    figures.save(figure, path)


def drawn(runs: Sequence[Run], metric: str, axis: str) -> bool:
    return any(metric in run.metrics and axis in run.overrides for run in runs)


def draw_metric(place: Any, runs: Sequence[Run], metric: str, axis: str, axes: Axes) -> None:
    values = axes[axis]
    numeric = all(is_number(value) for value in values)
    positions = {results.value_text(value): float(value) if numeric else i for i, value in enumerate(values)}
    curves = by_others(runs, metric, axis, axes)
    for name, points in curves.items():
        pairs = sorted((positions[x], np.array(found)) for x, found in points.items())
        style = "o-" if numeric else "o"
        means = [found.mean() for _, found in pairs]
        where = [x for x, _ in pairs]
        (line,) = place.plot(where, means, style, markersize=3, linewidth=0.8, label=figures.plain(name))
        for x, (low, high) in ((x, t_interval(found) or (math.nan, math.nan)) for x, found in pairs):
            place.vlines(x, low, high, colors=line.get_color(), linewidth=0.8)
    if numeric:
        name, options = scale([float(value) for value in values])
        place.set_xscale(name, **options)
    else:
        place.set_xticks(list(positions.values()), [figures.plain(word) for word in positions], rotation=30, ha="right")
        place.set_xlim(-0.5, len(positions) - 0.5)
    place.set_title(figures.heading_of(metric), fontsize=8)
    place.set_xlabel(figures.plain(axis), fontsize=7)
    place.tick_params(labelsize=6)
    if 1 < len(curves) <= MOST_NAMED:
        place.legend(fontsize=5, framealpha=0.5)


def by_others(runs: Sequence[Run], metric: str, axis: str, axes: Axes) -> dict[str, dict[str, list[float]]]:
    """The metric against the axis: `{label of the other axes: {value on this axis: metric of every seed}}`."""
    curves: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if metric in run.metrics and axis in run.overrides:
            name = label(run, {key: values for key, values in axes.items() if key != axis}).replace("\n", ", ")
            curves.setdefault(name, {}).setdefault(value_of(run, axis), []).append(run.metrics[metric])
    return curves


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def scale(values: Sequence[float]) -> tuple[str, dict[str, float]]:
    """The axis scale for these numbers and its options: logarithmic for wide ranges, symlog if they include zero."""
    sizes = [abs(value) for value in values if value]
    if len(sizes) < 2 or max(sizes) / min(sizes) < 10**DECADES:
        return "linear", {}
    return ("log", {}) if min(values) > 0 else ("symlog", {"linthresh": min(sizes)})
