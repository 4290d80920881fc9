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
    "PERCENTILE",
    "chosen",
    "colour_map",
    "complaints",
    "draw",
    "draw_rows",
    "heading",
    "heading_of",
    "image_grid",
    "picture",
    "plain",
    "prepare",
    "save",
    "save_figure",
    "save_panel",
    "save_traces",
    "scale_sentence",
    "styled",
    "words_of",
]  # fmt: skip


def prepare() -> None:
    """Import what draws figures: half a second, which passes unseen in a thread beside other work."""
    import deepinside.figures.canvas
    import deepinside.figures.grid  # noqa: F401


def save_figure(items: Sequence[Item], total: int, title: str, settings: "FigureSettings", path: Path) -> None:
    """The run's figure of `items`, the first of `total`, as `path` with the ending of each of `settings.formats`.

    Nothing where there are no pictures. Where none of the panels wanted is there, all are drawn; `complaints` says so.
    """
    items = items[: settings.limit]
    if not any(item.panels for item in items):
        return
    shown = "" if total <= len(items) else f" (first {len(items)} of {total})"
    with styled(settings.style):
        figure = draw(items, title + shown, settings)
        save(figure, path, settings.formats)


def draw(items: Sequence[Item], title: str, settings: "FigureSettings") -> "Figure":
    """The figure in the style that is set; see `deepinside.figures.layouts` for what stands where."""
    from deepinside.figures.grid import Sheet

    return Sheet(rows_of(items, known_panels(items, settings)), title, settings).draw()


def draw_rows(items: Sequence[Item], settings: "FigureSettings") -> "Figure":
    """One item a row, without a title."""
    with styled(settings.style):
        return draw(items, "", replace(settings, layout="rows", title=False))


def known_panels(items: Sequence[Item], settings: "FigureSettings") -> "FigureSettings":
    """The settings with all panels wanted where they want only such as there are none of."""
    if any(chosen(item, settings.panels) for item in items):
        return settings
    return replace(settings, panels=())


def complaints(items: Sequence[Item], settings: "FigureSettings") -> list[str]:
    """A sentence for every panel that the figure was to show and that no item has, naming those there are."""
    known = [panel for item in items for panel in item.panels]
    there = ", ".join(panel_names(items))
    return [
        f"figure.panels: expected some of {there}; found {name!r}, which is left out of the figure."
        for name in settings.panels
        if known and not any(is_called(panel, name) for panel in known)
    ]


def image_grid(rows: int, columns: int, inches: float) -> "tuple[Figure, np.ndarray]":
    """A figure of axes without ticks or frames, `inches` wide each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * inches, rows * inches * 1.25), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure, axes
