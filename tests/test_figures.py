"""Panels as a person sees them, and the figures made of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepinside import figures
from deepinside.experiment import FigureSettings
from deepinside.values import Item, Look, Panel

RAMP = torch.tensor([[-1.0, 0.0], [0.5, 2.0]])


def seen(values: torch.Tensor, look: Look, magnitude_map: str = "gray") -> np.ndarray:
    return figures.picture(Panel("p", values, look), magnitude_map)


def item(name: str, *panels: str, value: float = 1.0) -> Item:
    values = torch.full((4, 4), value)
    values[0, 0] = 0.0
    return Item(name, name, tuple(Panel(panel, values, "magnitude", "caption") for panel in panels))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


# ---- one panel ----


def test_photos_are_clipped_and_rounded_rgb() -> None:
    values = torch.tensor([-3.0, 127.5, 254.6, 300.0]).view(1, 2, 2).repeat(3, 1, 1)
    assert seen(values, "photo")[..., 0].tolist() == [[0, 128], [255, 255]]
    assert seen(values[0], "photo").shape == (2, 2, 3)


def test_magnitudes_go_from_nothing_to_the_largest() -> None:
    assert np.allclose(seen(RAMP.abs(), "magnitude")[..., 0], [[128, 0], [64, 255]], atol=1)
    assert seen(RAMP.abs(), "magnitude", "gray_r")[0, 1].tolist() == [255, 255, 255]
    assert np.array_equal(seen(RAMP.abs(), "magnitude"), seen(RAMP.abs() * 1e-20, "magnitude"))


def test_signed_maps_have_zero_in_the_middle_whatever_the_extremes() -> None:
    middle, low, high = seen(RAMP, "signed")[0, 1], seen(RAMP, "signed")[0, 0], seen(RAMP, "signed")[1, 1]
    assert int(middle.max()) - int(middle.min()) < 10  # near white
    assert low[2] > low[0]  # blue below zero
    assert high[0] > high[2]  # red above


def test_colour_is_symmetric_about_mid_grey() -> None:
    values = torch.stack([RAMP, -RAMP, torch.zeros(2, 2)])
    found = seen(values, "colour")
    assert found[1, 1].tolist() == [255, 0, 128]
    assert found[0, 1].tolist() == [128, 128, 128]


def test_masks_are_black_and_white_and_all_zero_is_black() -> None:
    assert set(np.unique(seen((RAMP > 0).float(), "mask"))) == {0, 255}
    for look in ("mask", "magnitude"):
        assert seen(torch.zeros(2, 2), look).max() == 0


def test_nan_is_drawn_as_zero() -> None:
    with_nan, with_zero = RAMP.abs().clone(), RAMP.abs().clone()
    with_nan[0, 0], with_zero[0, 0] = float("nan"), 0.0
    assert np.array_equal(seen(with_nan, "magnitude"), seen(with_zero, "magnitude"))


def test_a_panel_is_a_pixel_a_value_and_the_same_bytes(tmp_path: Path) -> None:
    panel = Panel("deep/map", torch.rand(5, 7), "magnitude")
    for name in ("a", "b"):
        figures.save_panel(panel, tmp_path / name / "x.png", "inferno")
    assert size(tmp_path / "a" / "x.png") == (7, 5)
    assert (tmp_path / "a" / "x.png").read_bytes() == (tmp_path / "b" / "x.png").read_bytes()


# ---- the figure ----


def test_rows_and_pages_have_a_cell_for_every_panel() -> None:
    items = [item("a", "photo", "map"), item("b", "photo", "map"), item("c", "photo")]
    drawn = figures.draw_rows(items, FigureSettings())
    assert [len(axis.images) for axis in drawn.axes] == [1, 1, 1, 1, 1, 0]
    page = figures.draw_page(items, FigureSettings(layout="page", columns=2))
    # three photos and two maps, each block filled up to whole rows of two
    assert [len(axis.images) for axis in page.axes] == [1, 1, 1, 0, 1, 1]
    assert page.axes[0].get_title() == "a\nphoto"


def test_only_the_panels_asked_for_are_drawn_of_every_variant() -> None:
    one = item("a", "photo", "ten/saliency", "centre/saliency", "ten/other")
    assert [panel.name for panel in figures.chosen(one, ("saliency",))] == ["ten/saliency", "centre/saliency"]
    assert [panel.name for panel in figures.chosen(one, ("ten/other",))] == ["ten/other"]
    assert len(figures.chosen(one, ())) == 4


def test_the_title_says_how_many_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(figures.Figure, "suptitle", lambda self, text, **_: titles.append(text))
    items = [item(name, "map") for name in "abc"]
    figures.save_figure(items, 3, "All", FigureSettings(), tmp_path / "all.png")
    figures.save_figure(items, 9, "Some", FigureSettings(limit=2), tmp_path / "some.png")
    assert titles == ["All", "Some (first 2 of 9)"]
    assert size(tmp_path / "some.png")[1] < size(tmp_path / "all.png")[1]


def test_a_figure_is_the_same_bytes_every_time_and_nothing_where_there_is_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figures.save_figure([item("x", "photo", "map")], 1, "Title", FigureSettings(), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    figures.save_figure([], 0, "Title", FigureSettings(), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("name", ["$x_1$", "$", "a\\$b", "<img src=x onerror=alert(1)>", "ä 'ü\" ß", "_x", "猫 🐈"])
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    one = Item(name, name, (Panel(name, torch.rand(3, 3), "magnitude", name),), trace={name: torch.rand(5)})
    figures.save_figure([one], 1, name, FigureSettings(), tmp_path / "a.png")
    figures.save_traces([one], tmp_path / "t.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert (tmp_path / "t.png").stat().st_size > 1000


def test_boxes_are_drawn_in_the_panels_own_pixels() -> None:
    panel = Panel("map", torch.rand(8, 8), "magnitude", boxes=torch.tensor([[1.0, 2.0, 5.0, 8.0]]))
    (axis,) = figures.draw_rows([Item("a", "a", (panel,))], FigureSettings()).axes
    (box,) = axis.patches
    assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (0.5, 1.5, 4.0, 6.0)


def test_traces_are_one_curve_an_item_and_no_file_without(tmp_path: Path) -> None:
    traced = [Item(n, n, (), trace={"score": torch.arange(5.0), "b/norm": torch.ones(5)}) for n in "xy"]
    figures.save_traces(traced, tmp_path / "trace.png")
    assert size(tmp_path / "trace.png") == (960, 360)
    figures.save_traces([item("a", "map")], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
