"""Curves of what was traced: one axis a name, one curve an item, told apart without colour."""

from itertools import pairwise
from pathlib import Path

import torch

from deepinside import figures
from deepinside.figures.traces import draw_traces, widest
from deepinside.types import Item


def traced(count: int, *names: str) -> list[Item]:
    return [Item(f"{i}", f"item {i}", (), trace={name: torch.arange(5.0) + i for name in names}) for i in range(count)]


def test_an_axis_a_name_and_a_curve_an_item() -> None:
    figure = draw_traces(traced(3, "a/score", "b/norm"))
    assert [axis.get_title() for axis in figure.axes] == ["a: score", "b: norm"]
    assert [len(axis.lines) for axis in figure.axes] == [3, 3]
    assert figure.axes[0].lines[2].get_ydata().tolist() == [2, 3, 4, 5, 6]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["item 0", "item 1", "item 2"]


def test_24_curves_differ_in_colour_and_dash_and_neighbours_in_their_markers() -> None:
    lines = draw_traces(traced(24, "score")).axes[0].lines
    assert len({(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in lines}) == 24
    assert all(one.get_marker() != other.get_marker() for one, other in pairwise(lines))


def test_one_item_needs_no_legend() -> None:
    assert draw_traces(traced(1, "score")).legends == []


def test_errors_that_span_decades_are_drawn_on_a_logarithmic_axis() -> None:
    errors = [
        Item("a", "a", (), trace={"error": torch.tensor([1.0, 0.1, 0.001]), "posterior": torch.tensor([1e-3, 0.1, 1])})
    ]
    assert [axis.get_yscale() for axis in draw_traces(errors).axes] == ["log", "linear"]


def test_the_parts_of_a_variant_stand_in_one_row() -> None:
    assert widest(["a/x", "a/y", "a/z", "b/x", "b/y", "b/z"]) == 3
    assert widest([f"layer{i}/error" for i in range(9)]) == 4
    assert widest(["x", "y"]) == 2


def test_no_file_without_traces(tmp_path: Path) -> None:
    figures.save_traces([Item("a", "a", ())], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
