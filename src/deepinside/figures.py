"""Pictures of panels: single PNG files, the figure of a run, and the curves of its traces."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from deepinside.values import Item, Panel

if TYPE_CHECKING:
    from deepinside.experiment import FigureSettings

SIGNED_MAP = "RdBu_r"
NO_STAMP = {"Software": None}  # the library's version would change the bytes
DPI = 150


def picture(panel: Panel, magnitude_map: str) -> np.ndarray:
    """The panel as a person sees it: (H, W, 3) uint8. NaN is drawn as zero."""
    values = np.nan_to_num(panel.values.detach().cpu().double().numpy())
    if panel.look == "photo":
        return rgb(values)
    largest = float(np.abs(values).max()) or 1.0
    if panel.look == "colour":
        return rgb(127.5 + 127.5 * values / largest)
    if panel.look == "signed":
        return coloured(values / (2 * largest) + 0.5, SIGNED_MAP)
    return coloured(values / largest, "gray" if panel.look == "mask" else magnitude_map)


def rgb(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of RGB levels 0-255, (3, H, W) or grey (1, H, W) or (H, W); what lies outside is clipped."""
    channels = np.broadcast_to(values, (3, *values.shape[-2:]))
    return np.clip(channels.transpose(1, 2, 0), 0, 255).round().astype(np.uint8)


def coloured(values: np.ndarray, colour_map: str) -> np.ndarray:
    rgba: np.ndarray = matplotlib.colormaps[colour_map](values, bytes=True)
    return rgba[..., :3]


def save_panel(panel: Panel, path: Path, magnitude_map: str) -> None:
    """One PNG, a pixel for every value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(panel, magnitude_map)).save(path)


def save_figure(items: Sequence[Item], total: int, title: str, settings: "FigureSettings", path: Path) -> None:
    """The run's figure.

    `rows` draws one item a row, its panels side by side; `wrapped` breaks each row after `columns` panels; `page`
    draws one block of items a panel.
    """
    items = items[: settings.limit]
    if not any(chosen(item, settings.panels) for item in items):
        return
    draw = draw_page if settings.layout == "page" else draw_rows
    figure = draw(items, settings)
    shown = "" if total <= len(items) else f" (first {len(items)} of {total})"
    figure.suptitle(plain(title + shown), fontsize=10)
    save(figure, path, bbox_inches="tight")


def save(figure: Figure, path: Path, **options: Any) -> None:
    """The figure as a PNG; a letter its font has not got, in a photo's name, is drawn as a box without ado."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        figure.savefig(path, dpi=DPI, metadata=NO_STAMP, **options)


def chosen(item: Item, wanted: Sequence[str]) -> list[Panel]:
    """The item's panels that the figure shows: all, or those named, a variant's or not."""
    return [p for p in item.panels if not wanted or p.name in wanted or p.name.rpartition("/")[2] in wanted]


def draw_rows(items: Sequence[Item], settings: "FigureSettings") -> Figure:
    rows = [(item.title, row) for item in items for row in lines(chosen(item, settings.panels), settings)]
    figure, axes = grid(len(rows), max(len(panels) for _, panels in rows), settings.inches)
    for (title, panels), row in zip(rows, axes, strict=True):
        for panel, axis in zip(panels, row, strict=False):
            draw_panel(axis, panel, settings.magnitude_map, heading(panel))
        row[0].set_ylabel(plain(title), fontsize=7)
    return figure


def lines(panels: list[Panel], settings: "FigureSettings") -> list[list[Panel]]:
    """One item's panels as the rows of a figure: one, or as many as it takes at `columns` a row."""
    if settings.layout != "wrapped":
        return [panels]
    return [panels[i : i + settings.columns] for i in range(0, len(panels), settings.columns)]


def draw_page(items: Sequence[Item], settings: "FigureSettings") -> Figure:
    """A block of items for every panel name, `columns` items wide."""
    names = list(dict.fromkeys(panel.name for item in items for panel in chosen(item, settings.panels)))
    cells: list[tuple[str, Panel] | None] = []
    for name in names:
        block = [(item.title, panel) for item in items for panel in item.panels if panel.name == name]
        cells += [*block, *[None] * (-len(block) % settings.columns)]
    figure, axes = grid(len(cells) // settings.columns, settings.columns, settings.inches)
    for axis, cell in zip(axes.flat, cells, strict=True):
        if cell is not None:
            title, panel = cell
            draw_panel(axis, panel, settings.magnitude_map, f"{title}\n{heading(panel)}" if len(names) > 1 else title)
    return figure


def grid(rows: int, columns: int, inches: float) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(columns * inches, rows * inches * 1.25), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    return figure, axes


def heading(panel: Panel) -> str:
    return panel.name.replace("/", ": ").replace("_", " ")


def draw_panel(axis: Any, panel: Panel, magnitude_map: str, title: str) -> None:
    axis.imshow(picture(panel, magnitude_map), interpolation="nearest")
    axis.set_title(plain(title), fontsize=7)
    axis.set_xlabel(plain(panel.caption), fontsize=6)
    for x0, y0, x1, y1 in [] if panel.boxes is None else panel.boxes.tolist():
        box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="tab:orange", linewidth=1.2)
        axis.add_patch(box)


def plain(text: str) -> str:
    """`text` without the dollar signs matplotlib would read as mathematics."""
    return text.replace("$", r"\$")


def save_traces(items: Sequence[Item], path: Path) -> None:
    """Curves of every trace by step, one axis a name and one line an item; nothing where there are no traces."""
    names = list(dict.fromkeys(name for item in items for name in item.trace))
    if not names:
        return
    columns = min(4, len(names))
    figure = Figure(figsize=(3.2 * columns, 2.4 * math.ceil(len(names) / columns)), layout="constrained")
    for number, name in enumerate(names, 1):
        axis = figure.add_subplot(math.ceil(len(names) / columns), columns, number)
        draw_trace(axis, name, {item.title: item.trace[name] for item in items if name in item.trace})
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=6)
    save(figure, path)


def draw_trace(axis: Any, name: str, lines: Mapping[str, Any]) -> None:
    for title, values in lines.items():
        axis.plot(values.cpu().numpy(), linewidth=0.8, label=plain(title))
    axis.set_title(heading_of(name), fontsize=8)
    axis.set_xlabel("step", fontsize=7)
    axis.tick_params(labelsize=6)


def heading_of(name: str) -> str:
    return plain(name.replace("/", ": ").replace("_", " "))
