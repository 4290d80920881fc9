"""The look of figures, independent of the user's matplotlib settings: style files, resolution, formats."""

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
"""No dates and versions, so that the same figure gives the same bytes."""
ALWAYS: Any = {
    "svg.fonttype": "none",  # keep text as text, which can be searched and copied
    "pdf.fonttype": 42,
    "svg.hashsalt": "deepinside",
    "svg.id": None,
    "image.composite_image": False,  # keep every picture separate, at its own resolution
    "text.usetex": False,
    "axes.unicode_minus": True,
}


@contextmanager
def styled(style: str = "screen") -> Iterator[None]:
    """Apply matplotlib's defaults, then `screen`, then the style file. The user's other settings are ignored.

    `style` is a built-in style (`screen`, `paper`) or the path of a matplotlib style file.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name in dict.fromkeys(["screen", style]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations of newer matplotlib versions
                path = STYLES / f"{name}.mplstyle"
                matplotlib.rcParams.update(
                    matplotlib.rc_params_from_file(path if path.is_file() else name, use_default_template=False)
                )
        matplotlib.rcParams.update(ALWAYS)
        yield


def save(figure: "Figure", path: Path | BytesIO, formats: Sequence[str] = ("png",), **options: Any) -> None:
    """Save the figure as `path` with the suffix of every format. The same figure gives the same bytes.

    A letter that the font lacks is drawn as a box, without a warning.
    """
    from deepinside.figures.canvas import OpaqueCanvas

    OpaqueCanvas(figure)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs every table of every font
    with warnings.catch_warnings(), matplotlib.rc_context(ALWAYS):
        warnings.filterwarnings("ignore", message="Glyph ")
        for ending in formats:
            place = path.with_suffix(f".{ending}") if isinstance(path, Path) else path
            figure.savefig(place, format=ending, dpi=dots(), metadata=NO_STAMP[ending], **options)
            if ending == "svg" and isinstance(place, Path):
                from deepinside.figures.fonts import embed_fonts

                embed_fonts(place)


def dots() -> float:
    """The resolution of the style, in dots per inch."""
    asked = matplotlib.rcParams["savefig.dpi"]
    return DPI if asked == "figure" else float(asked)


def plain(text: str) -> str:
    """`text` with escaped dollar signs, which matplotlib would read as mathematics."""
    return text.replace("$", r"\$")
