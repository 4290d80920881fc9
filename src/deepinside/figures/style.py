"""How figures look, whatever the user's matplotlib is set to: style files, sizes of type, formats."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from deepinside.config.paths import STYLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
NO_STAMP: dict[str, dict[str, None]] = {
    "png": {},
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


def save(figure: "Figure", path: Path | BytesIO, formats: Sequence[str] = ("png",), **options: Any) -> None:
    """The figure as `path` with the ending of every format; the same figure gives the same bytes.

    A letter its font has not got, in a photo's name, is drawn as a box without ado.
    """
    from deepinside.figures.canvas import OpaqueCanvas

    OpaqueCanvas(figure)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # PDF and SVG: it tells of every table of every font
    with warnings.catch_warnings(), matplotlib.rc_context(ALWAYS):
        warnings.filterwarnings("ignore", message="Glyph ")
        for ending in formats:
            place = path.with_suffix(f".{ending}") if isinstance(path, Path) else path
            figure.savefig(place, format=ending, dpi=dots(), metadata=NO_STAMP[ending], **options)
            if ending == "svg" and isinstance(place, Path):
                from deepinside.figures.fonts import embed_fonts

                embed_fonts(place)


def dots() -> float:
    """Dots an inch that the style asks for."""
    asked = matplotlib.rcParams["savefig.dpi"]
    return DPI if asked == "figure" else float(asked)


def plain(text: str) -> str:
    """`text` without the dollar signs matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
