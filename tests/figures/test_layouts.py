"""Which picture stands where, and what it is called."""

from collections.abc import Sequence

import pytest
import torch

from deepinside.experiment.schema import FigureSettings
from deepinside.figures.layouts import Row, chosen, letter, rows_of, short_headings
from deepinside.types import Item, Panel


def item(name: str, *panels: str, title: str = "", caption: str = "said") -> Item:
    return Item(name, title or name, tuple(Panel(panel, torch.ones(4, 4), "magnitude", caption) for panel in panels))


def names(rows: Sequence[Row]) -> list[list[str]]:
    return [[panel.name for cell in row.cells for panel in cell.panels] for row in rows]


def above(row: Row) -> list[str]:
    return [words for cell in row.cells for words in cell.above]


THREE = [item("a", "photo", "map"), item("b", "photo", "map"), item("c", "photo")]


def test_rows_have_an_item_each_and_headings_where_they_change() -> None:
    rows = rows_of(THREE, FigureSettings())
    assert names(rows) == [["photo", "map"], ["photo", "map"], ["photo"]]
    assert [row.name for row in rows] == ["a", "b", "c"]
    assert [above(row) for row in rows] == [["photo", "map"], [], ["photo"]]


def test_columns_are_rows_without_names_and_no_wider_than_asked() -> None:
    rows = rows_of([item("a", "p", "q", "r")], FigureSettings(layout="columns", columns=2))
    assert names(rows) == [["p", "q"], ["r"]]
    assert all(row.tight and not row.name for row in rows)


def test_wrapped_names_the_item_once_and_every_panel() -> None:
    rows = rows_of([item("a", "photo", "x_conv1", "x_conv2")], FigureSettings(layout="wrapped", columns=2))
    assert names(rows) == [["photo", "x_conv1"], ["x_conv2"]]
    assert [row.name for row in rows] == ["a", ""]
    assert [above(row) for row in rows] == [["photo", "conv1"], ["conv2"]]


def test_a_page_has_a_block_for_every_panel_filled_row_by_row() -> None:
    rows = rows_of(THREE, FigureSettings(layout="page", columns=2))
    assert names(rows) == [["photo", "photo"], ["photo"], ["map", "map"]]
    assert [row.heading for row in rows] == ["photo", "", "map"]
    assert above(rows[1]) == ["c"]
    alone = rows_of(THREE, FigureSettings(layout="page", panels=("map",)))
    assert [row.heading for row in alone] == [""]


def test_pairs_stand_together_over_one_caption() -> None:
    rows = rows_of(THREE, FigureSettings(layout="pairs", columns=2))
    assert [[len(cell.panels) for cell in row.cells] for row in rows] == [[2, 2], [1]]
    assert rows[0].cells[0].below == "a, said"
    assert above(rows[0]) == []
    assert above(rows_of([item("a", "photo", "x", "y")], FigureSettings(layout="pairs"))[0]) == ["photo", "x", "y"]


def test_only_the_panels_asked_for_are_drawn_of_every_variant() -> None:
    one = item("a", "photo", "ten/saliency", "centre/saliency", "ten/other")
    assert [panel.name for panel in chosen(one, ("saliency",))] == ["ten/saliency", "centre/saliency"]
    assert [panel.name for panel in chosen(one, ("ten/other",))] == ["ten/other"]
    assert len(chosen(one, ())) == 4


@pytest.mark.parametrize(
    ("title", "panel", "below"),
    [("said", "p", ""), ("said, again", "p", ""), ("a", "un_said", ""), ("saids", "p", "said")],
)
def test_a_caption_does_not_repeat_title_or_heading(title: str, panel: str, below: str) -> None:
    (row,) = rows_of([item("a", panel, title=title)], FigureSettings())
    assert [cell.below for cell in row.cells] == [below]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (["photo", "ten/saliency", "centre/saliency"], ["photo", "ten", "centre"]),
        (["photo", "reconstruction_conv1", "reconstruction_fc8"], ["photo", "conv1", "fc8"]),
        (["photo", "saliency"], ["photo", "saliency"]),
        (["photo", "trained", "down_to_fc8"], ["photo", "trained", "down to fc8"]),
        (["a/x", "b/y"], ["a: x", "b: y"]),
    ],
)
def test_headings_leave_out_what_all_share(known: list[str], expected: list[str]) -> None:
    assert list(short_headings(known).values()) == expected


def test_letters_stand_before_what_a_layout_sets_apart() -> None:
    def lettered(layout: str, items: Sequence[Item] = THREE[:2], columns: int = 2) -> list[Row]:
        return rows_of(items, FigureSettings(layout=layout, labels=True, columns=columns))  # type: ignore[arg-type]

    assert above(lettered("rows")[0]) == ["(a) photo", "(b) map"]
    assert [row.heading for row in lettered("page")] == ["(a) photo", "(b) map"]
    assert above(lettered("page", [item("x", "m"), item("y", "m")])[0]) == ["(a) x", "(b) y"]
    assert [cell.below for cell in lettered("pairs")[0].cells] == ["(a) a, said", "(b) b, said"]
    assert [letter(number) for number in (0, 25, 26, 27, 52)] == ["a", "z", "aa", "ab", "ba"]
