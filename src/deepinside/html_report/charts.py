"""Small multiples of a sweep: its runs along its axes, and a small chart for every metric, with values on hover."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from deepinside.html_report.runs import is_numeric, plain

WIDTH, HEIGHT = 240.0, 120.0
LEFT, RIGHT, TOP, BOTTOM = 8.0, 8.0, 10.0, 10.0
WIDE = 20.0
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""


@dataclass(frozen=True)
class Grid:
    """Runs along the axes: `across` are the longest numeric axis, each row one combination of the others."""

    axis: str
    across: list[str]
    rows: list[tuple[str, list[Mapping[str, Any] | None]]]
    places: list[float]
    """Where each value of the axis is, from 0 to 1: by size if the values are numbers."""


@dataclass(frozen=True)
class Line:
    """One row of the grid as a curve in the chart's coordinates; runs without the number are left out."""

    label: str
    points: list[tuple[float, float]]
    words: list[str]
    """The value of each point, shown on hover."""

    @property
    def path(self) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Chart:
    """One metric along the longest axis; `low` and `high` are the ends of its scale."""

    name: str
    low: float
    high: float
    lines: list[Line]

    @property
    def sentence(self) -> str:
        return f"{self.name}, from {self.low:.4g} to {self.high:.4g}, a line for each of {len(self.lines)} rows."


def grid(axes: Mapping[str, Sequence[Any]], runs: Sequence[Mapping[str, Any]]) -> Grid:
    """The runs of a sweep in rows and columns; a single row without axes."""
    if not axes:
        return Grid("", [str(n) for n in range(1, len(runs) + 1)], [("", list(runs))], spread(range(len(runs))))
    axis = max(axes, key=lambda name: (is_numeric(axes[name]), len(axes[name])))
    across = [plain(value) for value in axes[axis]]
    others = [[f"{key}={plain(value)}" for value in values] for key, values in axes.items() if key != axis]
    rows: dict[str, list[Mapping[str, Any] | None]] = {}
    for words in product(*others):
        rows[", ".join(words)] = [None] * len(across)
    for run in runs:
        values = run.get("overrides") or {}
        label = ", ".join(f"{key}={plain(values.get(key))}" for key in axes if key != axis)
        row = rows.setdefault(label, [None] * len(across))
        if plain(values.get(axis)) in across:
            row[across.index(plain(values.get(axis)))] = run
    return Grid(axis, across, list(rows.items()), spread(axes[axis]))


def spread(values: Sequence[Any]) -> list[float]:
    """The places of an axis's values from 0 to 1: by size, or by logarithm over a wide range; evenly for words."""
    numbers = list(values) if is_numeric(values) else list(range(len(values)))
    if numbers and min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE:
        numbers = list(map(math.log, numbers))
    low, high = min(numbers, default=0), max(numbers, default=0)
    return [(number - low) / (high - low) if high > low else 0.5 for number in numbers]


def charts(found: Grid) -> list[Chart]:
    """A chart for every metric of the grid; none if the longest axis has a single value."""
    if len(found.across) < 2:
        return []
    cells = [run for _, row in found.rows for run in row if run]
    names = dict.fromkeys(name for run in cells for name in numbers(run))
    return [chart(name, found) for name in names]


def numbers(run: Mapping[str, Any]) -> dict[str, float]:
    found = (run.get("metrics") or {}).items()
    return {str(name): float(value) for name, value in found if finite(value)}


def finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def chart(name: str, found: Grid) -> Chart:
    rows = [(label, [numbers(run).get(name) if run else None for run in row]) for label, row in found.rows]
    values = [value for _, row in rows for value in row if value is not None]
    low, high = min(values), max(values)
    return Chart(name, low, high, [line(label, row, found, low, high) for label, row in rows])


def line(label: str, row: Sequence[float | None], found: Grid, low: float, high: float) -> Line:
    known = [(i, value) for i, value in enumerate(row) if value is not None]
    points = [point(found.places[i], value, low, high) for i, value in known]
    return Line(
        label, points, [f"{found.across[i]}: {value:.4g}{f' ({label})' if label else ''}" for i, value in known]
    )


def point(across: float, value: float, low: float, high: float) -> tuple[float, float]:
    up = (value - low) / (high - low) if high > low else 0.5
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
