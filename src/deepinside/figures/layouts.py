"""Arranges the panels of a run's figure in rows and cells; `deepinside.figures.grid` computes the sizes."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from deepinside.types import Item, Panel

if TYPE_CHECKING:
    from deepinside.experiment.schema import FigureSettings

Thing = TypeVar("Thing")
WORD = r"[^\W_]+"


@dataclass(frozen=True)
class Cell:
    """One or more adjacent pictures: a heading above each, one caption below all."""

    panels: tuple[Panel, ...]
    above: tuple[str, ...] = ()
    below: str = ""


@dataclass(frozen=True)
class Row:
    """Cells side by side. `heading` is above the row, `name` at its left; `tight` rows have small gaps."""

    cells: tuple[Cell, ...]
    name: str = ""
    heading: str = ""
    tight: bool = False


def rows_of(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """The figure's rows in the layout of the settings, with (a), (b), … if `labels` is set."""
    found = LAYOUTS[settings.layout](items, settings)
    return lettered(found) if settings.labels else found


# ---- panels and their headings ----


def chosen(item: Item, wanted: Sequence[str]) -> list[Panel]:
    """The item's panels that the figure shows: all, or those named, with or without the variant's name."""
    return [panel for panel in item.panels if not wanted or any(is_called(panel, name) for name in wanted)]


def is_called(panel: Panel, name: str) -> bool:
    return name in (panel.name, panel.name.rpartition("/")[2])


def panel_names(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(panel.name for item in items for panel in item.panels))


def heading(panel: Panel) -> str:
    return heading_of(panel.name)


def heading_of(name: str) -> str:
    return name.replace("/", ": ").replace("_", " ")


def short_headings(names: Sequence[str]) -> dict[str, str]:
    """Every panel's heading, without the words that all headings share, except the photo's.

    `gradient/saliency` and `guided/saliency` become their variants, `reconstruction_conv1` and `reconstruction_fc8`
    their layers.
    """
    known = {name: heading_of(name) for name in names}
    maps = [name for name in known if name != "photo"]
    variants = {name: name.rpartition("/") for name in maps}
    if len(maps) > 1 and len({base for _, _, base in variants.values()}) == 1:
        return known | {name: heading_of(variant or name) for name, (variant, _, _) in variants.items()}
    first = {known[name].partition(" ")[0] for name in maps}
    if len(maps) > 1 and len(first) == 1 and all(" " in known[name] for name in maps):
        return known | {name: known[name].partition(" ")[2] for name in maps}
    return known


def caption(panel: Panel, *said: str) -> str:
    """The text under a picture, unless its heading or its item's title already contains it."""
    words = f" {' '.join(re.findall(WORD, panel.caption))} "
    known = any(words in f" {' '.join(re.findall(WORD, title))} " for title in said)
    return words_of(panel, "" if known else panel.caption)


def words_of(panel: Panel, caption: str | None = None) -> str:
    """The panel's caption, or `caption` in its place, and the reason if the panel is blank."""
    return ": ".join(filter(None, [panel.caption if caption is None else caption, panel.blank]))


# ---- the layouts ----


def rows(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """One item per row, its panels side by side under their headings; a column shows each heading once."""
    return _rows(items, settings, names=True)


def columns(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 3 of Simonyan et al. 2013: like `rows` with small gaps, `columns` panels wide, without the items' names."""
    found = _rows(items, settings, names=False, width=settings.columns)
    return [replace(row, tight=True) for row in found]


def wrapped(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """One item after another, its panels in lines of `columns`, each under its heading."""
    names = short_headings(panel_names(items))
    found = []
    for item in items:
        cells = [cell(panel, names[panel.name], item.title) for panel in chosen(item, settings.panels)]
        lines = list(in_lines(cells, settings.columns))
        found += [Row(line, item.caption if number == 0 else "") for number, line in enumerate(lines)]
    return found


def page(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 1 of Simonyan et al. 2013: items under their titles, `columns` wide; one block per panel name."""
    names = list(dict.fromkeys(panel.name for item in items for panel in chosen(item, settings.panels)))
    headings = short_headings(names)
    found = []
    for name in names:
        block = [cell(p, item.title, item.title) for item in items for p in item.panels if p.name == name]
        lines = [Row(line) for line in in_lines(block, settings.columns)]
        found += [replace(lines[0], heading=headings[name] if len(names) > 1 else ""), *lines[1:]]
    return found


def pairs(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 2 of Simonyan et al. 2013: each item's photo and map adjacent, `columns` such groups wide."""
    names = short_headings(panel_names(items))
    groups = []
    for item in items:
        panels = tuple(chosen(item, settings.panels))
        # a photo and its map need no headings
        above = tuple(names[panel.name] for panel in panels) if len(panels) > 2 else ()
        if panels:
            said = dict.fromkeys([item.caption, *(caption(panel, item.caption) for panel in panels)])
            groups.append(Cell(panels, above, ", ".join(filter(None, said))))
    return [Row(line) for line in in_lines(groups, settings.columns)]


LAYOUTS: Mapping[str, Callable[[Sequence[Item], "FigureSettings"], list[Row]]] = {
    "rows": rows, "wrapped": wrapped, "page": page, "pairs": pairs, "columns": columns,
}  # fmt: skip


def _rows(items: Sequence[Item], settings: "FigureSettings", *, names: bool, width: int | None = None) -> list[Row]:
    headings = short_headings(panel_names(items))
    found: list[Row] = []
    before: list[str] = []
    for item in items:
        panels = chosen(item, settings.panels)
        for line in in_lines(panels, width or max(1, len(panels))):
            now = [headings[panel.name] for panel in line]
            heads = [""] * len(now) if now == before else now
            cells = tuple(
                Cell((panel,), (head,) if head else (), caption(panel, item.caption, name))
                for panel, head, name in zip(line, heads, now, strict=True)
            )
            found.append(Row(cells, item.caption if names else ""))
            before = now
    return found


def cell(panel: Panel, above: str, title: str) -> Cell:
    return Cell((panel,), (above,) if above else (), caption(panel, title, above))


def in_lines(things: Sequence[Thing], columns: int) -> Iterator[tuple[Thing, ...]]:
    return (tuple(things[i : i + columns]) for i in range(0, len(things), columns))


# ---- (a), (b), … ----


def lettered(rows: Sequence[Row]) -> list[Row]:
    """The rows with a letter before each heading of a block, else before each heading of a picture, else caption."""
    letters = (f"({letter(number)})" for number in count())
    if any(row.heading for row in rows):
        return [replace(row, heading=f"{next(letters)} {row.heading}") if row.heading else row for row in rows]
    if any(cell.above for row in rows for cell in row.cells):
        return [replace(row, cells=tuple(lettered_above(cell, letters) for cell in row.cells)) for row in rows]
    return [
        replace(row, cells=tuple(replace(cell, below=f"{next(letters)} {cell.below}".strip()) for cell in row.cells))
        for row in rows
    ]


def lettered_above(cell: Cell, letters: Iterator[str]) -> Cell:
    return replace(cell, above=tuple(f"{next(letters)} {words}" for words in cell.above))


def letter(number: int) -> str:
    """a, b, …, z, aa, ab, …"""
    high, low = divmod(number, 26)
    return (letter(high - 1) if high else "") + chr(ord("a") + low)
