"""Plots traces against the step."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from deepinside.figures import style
from deepinside.figures.layouts import heading_of
from deepinside.types import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepinside.experiment.schema import FigureSettings

DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKS = 6
"""Markers per curve, which distinguish curves in greyscale."""
COLUMNS = 4
LOGARITHMIC = 100
"""The ratio of the largest to the smallest error from which on the axis is logarithmic."""
IN_LEGEND = 24
"""Items per column of the legend."""


def save_traces(items: Sequence[Item], path: Path, settings: "FigureSettings | None" = None) -> None:
    """Plot every trace by step, with one axis per name and one line per item; do nothing without traces.

    The files are `path` with the suffix of each of the settings' formats.
    """
    if any(item.trace for item in items):
        with style.styled(settings.style if settings else "screen"):
            style.save(draw_traces(items), path, settings.formats if settings else ("png",))


def draw_traces(items: Sequence[Item]) -> "Figure":
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for item in items for name in item.trace))
    columns = widest(names)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(2.4 * columns + 1.2 * (len(items) > 1), 1.8 * rows), layout="constrained")
    for number, name in enumerate(names):
        axis = figure.add_subplot(rows, columns, number + 1)
        draw_trace(axis, name, {i: item.trace[name] for i, item in enumerate(items) if name in item.trace}, len(items))
        if number + columns >= len(names):
            axis.set_xlabel("step")
    if len(items) > 1:
        add_legend(figure, [item.title for item in items if item.trace])
    return figure


def widest(names: Sequence[str]) -> int:
    """Columns of axes: one row per variant if all variants have the same traces, else four columns."""
    parts = [name.rpartition("/")[2] for name in names]
    count = len(set(parts))
    same_parts = 1 < count <= 6 and all(parts[i : i + count] == parts[:count] for i in range(0, len(parts), count))
    return count if same_parts else min(COLUMNS, len(names))


def draw_trace(axis: Any, name: str, lines: Mapping[int, Any], total: int) -> None:
    """Draw one axis; `lines` maps an item's number (out of `total`), which sets colour and dash, to its values."""
    colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    every = max(1, max(len(values) for values in lines.values()) // MARKS)
    for i, values in lines.items():
        axis.plot(
            values.cpu().numpy(), color=colours[i % len(colours)], linestyle=DASHES[i // len(colours) % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)] if total > 1 else None, markevery=(i * every // max(total, 1), every),
            markeredgewidth=0, label=str(i),
        )  # fmt: skip
    axis.set_title(heading_of(name), parse_math=False)
    axis.grid(alpha=0.25, linewidth=0.4)
    if name.rpartition("/")[2].endswith("error") and spans_decades(lines):
        axis.set_yscale("log")


def spans_decades(lines: Mapping[int, Any]) -> bool:
    low = min(float(values.min()) for values in lines.values())
    return low > 0 and max(float(values.max()) for values in lines.values()) >= LOGARITHMIC * low


def add_legend(figure: "Figure", titles: Sequence[str]) -> None:
    """Add a legend with the items' titles to the right, one line each."""
    known: dict[int, Any] = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        known |= {int(label): handle for handle, label in zip(handles, labels, strict=True)}
    from deepinside.figures import text_metrics

    kind = text_metrics.font("legend.fontsize")
    words = [text_metrics.cut(title, 1.4, kind) for title in titles]
    columns = math.ceil(len(words) / IN_LEGEND)
    shown: Any = [known[i] for i in sorted(known)]
    legend = figure.legend(shown, words, loc="outside right upper", prop=kind, frameon=False, ncols=columns)
    for text in legend.get_texts():
        text.set_parse_math(False)
