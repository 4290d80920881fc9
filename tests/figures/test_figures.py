"""The files of a figure: formats, bytes, titles, names that are not what they seem."""

from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import torch
from PIL import Image

from deepinside import figures
from deepinside.experiment.schema import FigureSettings
from deepinside.figures.grid import FigureGrid
from deepinside.types import Item, Panel

ALL = FigureSettings(formats=("png", "pdf", "svg"))


def item(name: str, *panels: str) -> Item:
    values = torch.arange(16.0).view(4, 4)
    return Item(name, name, tuple(Panel(panel, values, "magnitude", "caption") for panel in panels))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_the_title_says_how_many_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(FigureGrid, "write", lambda self, x, y, words, kind, **_: titles.append(words))
    items = [item(name, "map") for name in "abc"]
    figures.save_figure(items, 3, "All", FigureSettings(), tmp_path / "all.png")
    figures.save_figure(items, 9, "Some", FigureSettings(limit=2), tmp_path / "some.png")
    assert [title for title in titles if title[:3] in ("All", "Som")] == ["All", "Some (first 2 of 9)"]
    assert size(tmp_path / "some.png")[1] < size(tmp_path / "all.png")[1]


def test_vector_files_stand_beside_the_png_and_text_is_text(tmp_path: Path) -> None:
    figures.save_figure([item("Königspinguin", "map")], 1, "Title", ALL, tmp_path / "figure.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.pdf", "figure.png", "figure.svg"]
    svg = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert ">Königspinguin<" in svg
    assert ">Title<" in svg
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/Type0" in pdf or b"/TrueType" in pdf  # letters, not outlines
    assert b"CreationDate" not in pdf


def test_vector_files_hold_the_pictures_own_pixels(tmp_path: Path) -> None:
    figures.save_figure([item("a", "map", "other")], 1, "", ALL, tmp_path / "figure.png")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert pdf.count(b"/Height 4") == pdf.count(b"/Width 4") == 2


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_a_figure_is_the_same_bytes_every_time(style: str, tmp_path: Path) -> None:
    settings = FigureSettings(formats=("pdf", "svg"), style=style)
    traced = Item("x", "x", item("x", "photo", "map").panels, trace={"score": torch.arange(9.0)})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        figures.save_figure([traced], 1, "Title", settings, tmp_path / name / "f.png")
        figures.save_traces([traced], tmp_path / name / "t.png", settings)
    for one in sorted((tmp_path / "a").iterdir()):
        assert one.read_bytes() == (tmp_path / "b" / one.name).read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 6


def test_no_figure_where_there_is_nothing(tmp_path: Path) -> None:
    figures.save_figure([], 0, "Title", FigureSettings(), tmp_path / "none.png")
    figures.save_figure([Item("a", "a", ())], 1, "Title", FigureSettings(), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize("name", ["$x_1$", "a\\$b", "<img src=x onerror=alert(1)>", "ä 'ü\" ß", "_x", "猫 🐈", ""])
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    one = Item(name, name, (Panel(name, torch.rand(3, 3), "magnitude", name),), trace={name: torch.rand(5)})
    settings = FigureSettings(formats=("png", "svg"))
    figures.save_figure([one], 1, name, settings, tmp_path / "a.png")
    figures.save_traces([one, one], tmp_path / "t.png", settings)
    for written in ("a.png", "a.svg", "t.png", "t.svg"):
        assert (tmp_path / written).stat().st_size > 1000
    assert f">{escape(name)}<" in (tmp_path / "a.svg").read_text(encoding="utf-8") or not name


def test_a_panel_that_no_item_has_is_named_and_the_others_are_drawn(tmp_path: Path) -> None:
    items = [item("a", "photo", "ten/saliency")]
    assert figures.unknown_panel_notes(items, FigureSettings(panels=("photo", "saliency", "ten/saliency"))) == []
    (said,) = figures.unknown_panel_notes(items, FigureSettings(panels=("photo", "salience")))
    assert said == (
        "figure.panels: expected some of photo, ten/saliency; found 'salience', which is left out of the figure."
    )
    figures.save_figure(items, 1, "", FigureSettings(panels=("salience",)), tmp_path / "all.png")
    figures.save_figure(items, 1, "", FigureSettings(), tmp_path / "same.png")
    assert (tmp_path / "all.png").read_bytes() == (tmp_path / "same.png").read_bytes()
