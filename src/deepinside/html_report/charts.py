"""Small multiples of a sweep: its runs along its axes, and a small chart for every metric."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from deepinside.html_report.runs import plain

WIDTH, HEIGHT = 240.0, 120.0
LEFT, RIGHT, TOP, BOTTOM = 8.0, 8.0, 10.0, 10.0
MOST_CHARTS = 24


@dataclass(frozen=True)
class Grid:
    """Runs along the axes: `across` are the values of the longest axis; each row is one combination of the others."""

    axis: str
    across: list[str]
    rows: list[tuple[str, list[Mapping[str, Any] | None]]]


@dataclass(frozen=True)
class Line:
    """One row of the grid as a curve in the chart's coordinates; runs without the number are left out."""

    label: str
    points: list[tuple[float, float]]

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
        return Grid("", [str(n) for n in range(1, len(runs) + 1)], [("", list(runs))])
    axis = max(axes, key=lambda name: len(axes[name]))
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
    return Grid(axis, across, list(rows.items()))


def charts(found: Grid) -> list[Chart]:
    """A chart for every metric of the grid; none if the longest axis has a single value."""
    if len(found.across) < 2:
        return []
    cells = [run for _, row in found.rows for run in row if run]
    names = dict.fromkeys(name for run in cells for name in numbers(run))
    return [chart(name, found) for name in list(names)[:MOST_CHARTS]]


def numbers(run: Mapping[str, Any]) -> dict[str, float]:
    found = (run.get("metrics") or {}).items()
    return {str(name): float(value) for name, value in found if finite(value)}


def finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def chart(name: str, found: Grid) -> Chart:
    rows = [(label, [numbers(run).get(name) if run else None for run in row]) for label, row in found.rows]
    values = [value for _, row in rows for value in row if value is not None]
    low, high = min(values), max(values)
    lines = [
        Line(label, [point(i, value, len(row), low, high) for i, value in enumerate(row) if value is not None])
        for label, row in rows
    ]
    return Chart(name, low, high, lines)


def point(place: int, value: float, places: int, low: float, high: float) -> tuple[float, float]:
    across = place / (places - 1)
    up = (value - low) / (high - low) if high > low else 0.5
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
