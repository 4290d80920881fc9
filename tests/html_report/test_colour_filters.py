"""Colour maps in the browser are those of the figures."""

import numpy as np
import pytest

from deepinside.figures.maps import colour_map
from deepinside.html_report.colour_filters import CHOICES, filters


@pytest.mark.parametrize("name", [*CHOICES, "magma"])
def test_a_filter_is_close_to_the_map(name: str) -> None:
    places = np.linspace(0, 1, 256)
    tables = [list(map(float, words.split())) for words in filters(["magma"])[name].values()]
    drawn = np.stack([np.interp(places, np.linspace(0, 1, len(table)), table) for table in tables], 1)
    assert np.abs(drawn - colour_map(name)(places)[:, :3]).max() < 0.03


def test_a_mask_has_its_two_colours() -> None:
    red = filters([])["mask"]["R"].split()
    assert (red[0], red[-1]) == ("0", "1")
