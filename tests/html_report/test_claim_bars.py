import pytest
from disk import CLAIM

from deepinside.html_report.claim_bars import WIDTH, axis


def test_everything_is_on_the_axis_in_its_order() -> None:
    found = axis([CLAIM, {**CLAIM, "estimate": 9.0, "interval": None}])
    places = [found.place(value) for value in (1.5, 2.25, 2.5, 2.75, 9.0)]
    assert places == sorted(places) and places[0] > 0 and places[-1] < WIDTH


@pytest.mark.parametrize(("direction", "left", "right"), [("≥", False, True), ("<", True, False), ("≈", False, False)])
def test_the_side_that_meets_the_threshold(direction: str, left: bool, right: bool) -> None:
    claim = {**CLAIM, "direction": direction}
    start, width = axis([claim]).side(claim)
    threshold = axis([claim]).place(1.5)
    assert (width > 0 and start == 0, width > 0 and start == threshold) == (left, right)


def test_equal_numbers_have_an_axis() -> None:
    claim = {**CLAIM, "estimate": 0.0, "threshold": 0.0, "interval": None}
    assert axis([claim]).place(0.0) == WIDTH / 2
