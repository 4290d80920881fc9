"""Which picture stands where in a run's figure, before any inch is measured."""

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
    """Pictures that stand side by side without a gap, one or more: a heading above each, one caption below all."""

    panels: tuple[Panel, ...]
    above: tuple[str, ...] = ()
    below: str = ""


@dataclass(frozen=True)
class Row:
    """Cells side by side. `heading` stands over the whole row, `name` at its left; `tight` rows stand close."""

    cells: tuple[Cell, ...]
    name: str = ""
    heading: str = ""
    tight: bool = False


def rows_of(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """The figure's rows, in the layout that the settings ask for, with (a), (b), … where they want them."""
    found = LAYOUTS[settings.layout](items, settings)
    return lettered(found) if settings.labels else found


# ---- what is shown, and what it is called ----


def chosen(item: Item, wanted: Sequence[str]) -> list[Panel]:
    """The item's panels that the figure shows: all, or those named, a variant's or not."""
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
    """Every panel's heading, without the words that all of them but the photo's share.

    `gradient/saliency` and `guided/saliency` are told apart by their variants, `reconstruction_conv1` and
    `reconstruction_fc8` by their layers.
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
    """What stands under a picture, unless its heading or its item's title says so already."""
    words = f" {' '.join(re.findall(WORD, panel.caption))} "
    known = any(words in f" {' '.join(re.findall(WORD, title))} " for title in said)
    return words_of(panel, "" if known else panel.caption)


def words_of(panel: Panel, caption: str | None = None) -> str:
    """The panel's caption, or another in its place, and that it is blank where it is."""
    return ": ".join(filter(None, [panel.caption if caption is None else caption, panel.blank]))


# ---- the layouts ----


def rows(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """One item a row, its panels side by side under their headings; a heading is not repeated down a column."""
    return _rows(items, settings, names=True)


def columns(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 3 of Simonyan et al. 2013: the same close together, `columns` panels wide, without the items' names."""
    found = _rows(items, settings, names=False, width=settings.columns)
    return [replace(row, tight=True) for row in found]


def wrapped(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """One item after the other, its panels in lines of `columns`, each under its own heading."""
    names = short_headings(panel_names(items))
    found = []
    for item in items:
        cells = [cell(panel, names[panel.name], item.title) for panel in chosen(item, settings.panels)]
        lines = list(in_lines(cells, settings.columns))
        found += [Row(line, item.title if number == 0 else "") for number, line in enumerate(lines)]
    return found


def page(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 1 of Simonyan et al. 2013: items under their titles, `columns` wide; a block for every panel there is."""
    names = list(dict.fromkeys(panel.name for item in items for panel in chosen(item, settings.panels)))
    headings = short_headings(names)
    found = []
    for name in names:
        block = [cell(p, item.title, item.title) for item in items for p in item.panels if p.name == name]
        lines = [Row(line) for line in in_lines(block, settings.columns)]
        found += [replace(lines[0], heading=headings[name] if len(names) > 1 else ""), *lines[1:]]
    return found


def pairs(items: Sequence[Item], settings: "FigureSettings") -> list[Row]:
    """Fig. 2 of Simonyan et al. 2013: each item's panels touching, photo and map, `columns` such groups wide."""
    names = short_headings(panel_names(items))
    groups = []
    for item in items:
        panels = tuple(chosen(item, settings.panels))
        # of a photo and its map nobody needs to be told which is which
        above = tuple(names[panel.name] for panel in panels) if len(panels) > 2 else ()
        if panels:
            said = dict.fromkeys([item.title, *(caption(panel, item.title) for panel in panels)])
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
                Cell((panel,), (head,) if head else (), caption(panel, item.title, name))
                for panel, head, name in zip(line, heads, now, strict=True)
            )
            found.append(Row(cells, item.title if names else ""))
            before = now
    return found


def cell(panel: Panel, above: str, title: str) -> Cell:
    return Cell((panel,), (above,) if above else (), caption(panel, title, above))


def in_lines(things: Sequence[Thing], columns: int) -> Iterator[tuple[Thing, ...]]:
    return (tuple(things[i : i + columns]) for i in range(0, len(things), columns))


# ---- (a), (b), … ----


def lettered(rows: Sequence[Row]) -> list[Row]:
    """The rows with a letter before what the layout sets apart.

    That is every heading of a block where there are any, else every heading above a picture, else every caption.
    """
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
