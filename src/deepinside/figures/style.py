"""How figures look, whatever the user's matplotlib is set to: style files, sizes of type, formats."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from deepinside.home import STYLES

DPI = 150
NO_STAMP: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
}
"""Dates and the library's version would change the bytes."""
ALWAYS: Any = {
    "svg.fonttype": "none",  # text is text: it can be searched, copied and set in another type
    "pdf.fonttype": 42,
    "svg.hashsalt": "deepinside",
    "svg.id": None,
    "image.composite_image": False,  # every picture by itself, in its own pixels
    "text.usetex": False,
    "axes.unicode_minus": True,
}
PT = 1 / 72
LINE = 1.3
"""The height of a line of text, in sizes of its type."""


@contextmanager
def styled(style: str = "screen") -> Iterator[None]:
    """matplotlib's own defaults, then `screen`, then the style file; what the user has set elsewhere does not count.

    `style` is one of those that ship (`screen`, `paper`) or the path of a matplotlib style file.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name in dict.fromkeys(["screen", style]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a newer matplotlib's deprecations
                path = STYLES / f"{name}.mplstyle"
                matplotlib.rcParams.update(
                    matplotlib.rc_params_from_file(path if path.is_file() else name, use_default_template=False)
                )
        matplotlib.rcParams.update(ALWAYS)
        yield


def save(figure: Figure, path: Path | BytesIO, formats: Sequence[str] = ("png",), **options: Any) -> None:
    """The figure as `path` with the ending of every format; the same figure gives the same bytes.

    A letter its font has not got, in a photo's name, is drawn as a box without ado.
    """
    with warnings.catch_warnings(), matplotlib.rc_context(ALWAYS):
        warnings.filterwarnings("ignore", message="Glyph ")
        for ending in formats:
            place = path.with_suffix(f".{ending}") if isinstance(path, Path) else path
            figure.savefig(place, format=ending, dpi=dots(), metadata=NO_STAMP[ending], **options)


def font(key: str, weight: str = "normal") -> FontProperties:
    """The style's type for `figure.titlesize`, `axes.titlesize` and the like."""
    size = matplotlib.rcParams[key]  # type: ignore[index]
    points = FontProperties(size=size).get_size_in_points()
    return FontProperties(family=matplotlib.rcParams["font.family"], size=points, weight=weight)


def height(kind: FontProperties, lines: int = 1) -> float:
    """Inches that `lines` lines of text take."""
    return float(kind.get_size_in_points()) * PT * LINE * lines


def dots() -> float:
    """Dots an inch that the style asks for."""
    asked = matplotlib.rcParams["savefig.dpi"]
    return DPI if asked == "figure" else float(asked)


def width(text: str, kind: FontProperties) -> float:
    """Inches that one line of text takes, in the PNG, whose letters stand on whole pixels, or in print."""
    return _width(text, kind, dots())


@lru_cache
def renderer(dpi: float) -> RendererAgg:
    """What draws the PNG's letters."""
    return RendererAgg(1, 1, dpi)


@lru_cache(4096)
def _width(text: str, kind: FontProperties, dpi: float) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")
        printed = text_to_path.get_text_width_height_descent(text, kind, ismath=False)[0] * PT
        pixels = renderer(dpi).get_text_width_height_descent(text, kind, ismath=False)[0]
    return float(max(printed, pixels / dpi))


def fit(text: str, room: float, kind: FontProperties, lines: int = 2) -> str:
    """`text` on at most `lines` lines of `room` inches, ending in … where that is not enough for it."""
    words, done = " ".join(text.split()).split(" "), list[str]()
    while words and len(done) < lines:
        count = longest(words, room, kind)
        last = len(done) == lines - 1 and count < len(words)
        line = " ".join(words if last else words[: max(count, 1)])
        done.append(cut(line, room, kind) if last or not count else line)
        words = words[max(count, 1) :]
    return "\n".join(done)


def longest(words: Sequence[str], room: float, kind: FontProperties) -> int:
    """How many of the words fit on one line."""
    count = 0
    while count < len(words) and width(" ".join(words[: count + 1]), kind) <= room:
        count += 1
    return count


def cut(line: str, room: float, kind: FontProperties) -> str:
    """One line no wider than `room`, with … for what is left out."""
    if width(line, kind) <= room:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(line[:middle].rstrip() + "…", kind) <= room else (low, middle - 1)
    return line[:low].rstrip() + "…"


def plain(text: str) -> str:
    """`text` without the dollar signs matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
