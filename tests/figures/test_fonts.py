"""An SVG brings the letters it uses along."""

import base64
import logging
import re
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from fontTools.ttLib import TTFont

from deepinside import figures
from deepinside.experiment.schema import FigureSettings
from deepinside.figures.fonts import face
from deepinside.types import Item, Panel


def fonts(svg: str) -> dict[tuple[str, str], TTFont]:
    found = re.findall(r"font-family:'([^']+)';font-weight:(\w+);src:url\(data:font/ttf;base64,([^)]+)\)", svg)
    return {(family, weight): TTFont(BytesIO(base64.b64decode(data))) for family, weight, data in found}


def test_every_letter_is_in_the_fonts_that_come_along(tmp_path: Path) -> None:
    panels = tuple(Panel(name, torch.rand(4, 4), "magnitude", "ß & <猫>") for name in ("a", "b"))
    settings = FigureSettings(style="paper", layout="page", formats=("svg",))
    figures.save_figure([Item("x", "Königspinguin", panels)], 1, "Title", settings, tmp_path / "f.png")
    svg = (tmp_path / "f.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    known = fonts(svg)
    assert ("STIXGeneral", "bold") in known  # the headings of the blocks
    letters = set(known["STIXGeneral", "normal"].getBestCmap())
    assert {ord(letter) for letter in "Königspinguin& ß<>"} <= letters  # a paper figure has no title
    assert len(letters) < 60
    assert len(svg) < 100_000


def test_nothing_is_logged_about_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert face("STIXGeneral", "normal", "abc")
    assert caplog.records == []


def test_a_font_that_is_not_here_is_left_out() -> None:
    assert face("No Such Font", "normal", "abc") == ""
    assert face("DejaVu Sans", "normal", "abc").startswith("@font-face{font-family:'DejaVu Sans'")
