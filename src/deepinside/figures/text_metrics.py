"""Measures text and makes it fit."""

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache

import matplotlib
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from deepinside.figures.style import dots

PT = 1 / 72
LINE = 1.3
"""The height of a line of text, as a multiple of the font size."""


def font(key: str, weight: str = "normal") -> FontProperties:
    """The style's font for a key such as `figure.titlesize` or `axes.titlesize`."""
    size = matplotlib.rcParams[key]  # type: ignore[index]
    points = FontProperties(size=size).get_size_in_points()
    return FontProperties(family=matplotlib.rcParams["font.family"], size=points, weight=weight)


def height(kind: FontProperties, lines: int = 1) -> float:
    """The height of `lines` lines of text, in inches."""
    return float(kind.get_size_in_points()) * PT * LINE * lines


def width(text: str, kind: FontProperties) -> float:
    """The width of one line of text in inches: the larger of print and PNG, whose letters are aligned to pixels."""
    return _width(text, kind, dots())


@lru_cache
def renderer(dpi: float) -> RendererAgg:
    """The renderer of text in PNG files."""
    return RendererAgg(1, 1, dpi)


@lru_cache(4096)
def _width(text: str, kind: FontProperties, dpi: float) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        printed = text_to_path.get_text_width_height_descent(text, kind, ismath=False)[0] * PT
        pixels = renderer(dpi).get_text_width_height_descent(text, kind, ismath=False)[0]
    return float(max(printed, pixels / dpi))


def fit(text: str, room: float, kind: FontProperties, lines: int = 2) -> str:
    """Wrap `text` to at most `lines` lines of `room` inches; longer text ends in …."""
    left, done = pieces(" ".join(text.split()), room, kind), list[str]()
    while left and len(done) < lines:
        count = max(longest(left, room, kind), 1)
        if len(done) == lines - 1:
            count = len(left)
        done.append(cut("".join(left[:count]).strip(), room, kind))
        left = left[count:]
    return "\n".join(done)


def pieces(text: str, room: float, kind: FontProperties) -> list[str]:
    """Split `text` where a line may end: before a space, except that of a per cent sign, and in words over half a line
    also after _, - and /."""
    found = []
    for word in re.split(r"(?=\s(?!%))", text):
        long = width(word, kind) > room / 2
        found += re.split(r"(?<=\w[_/-])(?=\w)", word) if long else [word]
    return [piece for piece in found if piece]


def longest(pieces: Sequence[str], room: float, kind: FontProperties) -> int:
    """The number of pieces that fit on one line."""
    count = 0
    while count < len(pieces) and width("".join(pieces[: count + 1]).strip(), kind) <= room:
        count += 1
    return count


def cut(line: str, room: float, kind: FontProperties) -> str:
    """Cut a line to the width `room`; a cut line ends in …."""
    if width(line, kind) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(line[:middle].rstrip() + "…", kind) <= room else (low, middle - 1)
    return line[:low].rstrip() + "…"
