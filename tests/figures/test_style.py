"""Style files and type: what is set elsewhere does not count, and words are made to fit."""

import logging
from pathlib import Path

import matplotlib
import matplotlib.font_manager
import pytest

from deepinside.config.paths import STYLES
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import FigureSettings
from deepinside.figures import style


@pytest.mark.parametrize("path", sorted(STYLES.glob("*.mplstyle")), ids=lambda path: path.stem)
def test_a_style_that_ships_needs_no_font_that_may_be_absent(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fonts = Path(matplotlib.get_data_path()) / "fonts"
    with caplog.at_level(logging.WARNING), style.styled(path.stem):
        for family in matplotlib.rcParams["font.family"]:
            found = matplotlib.font_manager.findfont(family, fallback_to_default=False)
            assert Path(found).is_relative_to(fonts)
    assert not caplog.records


def test_what_the_user_has_set_elsewhere_does_not_count() -> None:
    before = matplotlib.rcParams["font.size"]
    with matplotlib.rc_context({"font.size": 30, "image.cmap": "gray"}):
        with style.styled("paper"):
            assert matplotlib.rcParams["font.size"] == 8
            assert matplotlib.rcParams["image.cmap"] == "viridis"
        assert matplotlib.rcParams["font.size"] == 30
    assert matplotlib.rcParams["font.size"] == before


def test_a_style_of_ones_own_stands_over_the_screens(tmp_path: Path) -> None:
    own = tmp_path / "own.mplstyle"
    own.write_text("font.size: 5.5\n")
    assert FigureSettings(style=str(own)).style == str(own)
    with style.styled(str(own)):
        assert matplotlib.rcParams["font.size"] == 5.5
        assert matplotlib.rcParams["figure.titlesize"] == 10
        assert matplotlib.rcParams["svg.fonttype"] == "none"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("style", "papper", "expected paper, screen or the path of a matplotlib style file, found 'papper'"),
        ("signed_map", "nothing", "expected one of matplotlib's colour maps"),
        ("formats", ["gif"], "png"),
        ("width", 0, "greater than 0"),
    ],
)
def test_what_is_not_known_is_refused_before_any_work(key: str, value: object, words: str) -> None:
    with pytest.raises(DeepInsideError, match=rf"figure\.{key}.*{words}"):
        construct(FigureSettings, {key: value}, "figure")


def test_the_png_is_always_one_of_the_formats() -> None:
    assert FigureSettings(formats=("svg", "pdf", "svg")).formats == ("png", "svg", "pdf")
