"""Pictures of panels: single PNG files, the figure of a run, and the curves of its traces."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepinside.figures.layouts import chosen, heading, heading_of, is_called, panel_names, rows_of, words_of
from deepinside.figures.maps import colour_map
from deepinside.figures.pictures import PERCENTILE, picture, save_panel, scale_sentence
from deepinside.figures.style import plain, save, styled
from deepinside.figures.traces import save_traces
from deepinside.types import Item

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepinside.experiment.schema import FigureSettings

__all__ = [
    "PERCENTILE", "chosen", "colour_map", "draw", "draw_rows", "heading", "heading_of", "image_grid", "picture",
    "plain", "prepare", "save", "save_figure", "save_panel", "save_traces", "scale_sentence", "styled",
    "unknown_panel_notes", "words_of",
]  # fmt: skip


def prepare() -> None:
    """Import matplotlib ahead of time; it takes half a second, and a background thread can do it."""
    import deepinside.figures.canvas
    import deepinside.figures.grid  # noqa: F401


def save_figure(items: Sequence[Item], total: int, title: str, settings: "FigureSettings", path: Path) -> None:
    """Save the run's figure of `items`, those of `total` that it shows, as `path` with the suffix of each of
    `settings.formats`.

    Does nothing without pictures. If none of the selected panels exists, all are drawn; see `unknown_panel_notes`.
    """
    items = items[: settings.limit]
    if not any(item.panels for item in items):
        return
    with styled(settings.style):
        figure = draw(items, title + which_items(items, total, settings.order), settings)
        save(figure, path, settings.formats)


def which_items(items: Sequence[Item], total: int, order: str | None) -> str:
    """What the title says about a choice of items; empty if all are shown."""
    if total <= len(items):
        return ""
    if order is None or not any(order in item.metrics for item in items):
        return f" (first {len(items)} of {total})"
    return f" ({len(items)} of {total}: largest and smallest {heading_of(order)} in turn)"


def draw(items: Sequence[Item], title: str, settings: "FigureSettings") -> "Figure":
    """The figure in the current style; `deepinside.figures.layouts` arranges the panels."""
    from deepinside.figures.grid import FigureGrid

    return FigureGrid(rows_of(items, with_existing_panels(items, settings)), title, settings).draw()


def draw_rows(items: Sequence[Item], settings: "FigureSettings") -> "Figure":
    """A figure with one item per row and no title."""
    with styled(settings.style):
        return draw(items, "", replace(settings, layout="rows", title=False))


def with_existing_panels(items: Sequence[Item], settings: "FigureSettings") -> "FigureSettings":
    """The settings, with all panels selected if none of the selected ones exists."""
    if any(chosen(item, settings.panels) for item in items):
        return settings
    return replace(settings, panels=())


def unknown_panel_notes(items: Sequence[Item], settings: "FigureSettings") -> list[str]:
    """A sentence for every selected panel that no item has, with the names of the existing panels."""
    known = [panel for item in items for panel in item.panels]
    there = ", ".join(panel_names(items))
    return [
        f"figure.panels: expected some of {there}; found {name!r}, which is left out of the figure."
        for name in settings.panels
        if known and not any(is_called(panel, name) for panel in known)
    ]


def image_grid(rows: int, columns: int, inches: float) -> "tuple[Figure, np.ndarray]":
    """A figure with a grid of axes without ticks or frames, each `inches` wide."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * inches, rows * inches * 1.25), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure, axes
