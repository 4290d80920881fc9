"""PNG files of figures, beside those that matplotlib writes itself."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from deepinside.figures import style


def drawn() -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().imshow(np.arange(12.0).reshape(3, 4), cmap="inferno")
    return figure


@pytest.mark.parametrize("options", [{}, {"bbox_inches": "tight"}], ids=["whole", "tight"])
def test_the_pixels_and_dots_an_inch_are_matplotlibs_without_what_is_opaque_anyway(options: dict[str, str]) -> None:
    theirs, ours = BytesIO(), BytesIO()
    with style.styled():
        drawn().savefig(theirs, format="png", dpi=style.DPI, **options)
        style.save(drawn(), ours, **options)
    expected, found = Image.open(theirs), Image.open(ours)
    assert (expected.mode, found.mode) == ("RGBA", "RGB")
    assert np.array_equal(np.array(expected.convert("RGB")), np.array(found))
    assert found.info == {"dpi": expected.info["dpi"]}


def test_what_is_transparent_stays_so() -> None:
    found = BytesIO()
    style.save(drawn(), found, transparent=True)
    assert Image.open(found).getchannel("A").getextrema() == (0, 255)
