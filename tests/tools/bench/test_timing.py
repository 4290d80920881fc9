"""Times in turn: every round does every work, and what falls on all of them leaves the ratios alone."""

import numpy as np
import pytest
from bench.timing import QUICK, Patience, goes_on, in_turn, ratio, spread


def test_every_round_does_every_work_and_starts_one_further_on() -> None:
    done: list[str] = []
    times = in_turn({name: (lambda name=name: done.append(name)) for name in "abc"}, Patience(0, least=3, most=3))
    assert "".join(done) == "abc" + "abc" + "bca" + "cab"  # the first three warm up
    assert all(len(times[name]) == 3 and (times[name] >= 0).all() for name in "abc")


@pytest.mark.parametrize(
    ("rounds", "elapsed", "expected"), [(1, 99, True), (2, 99, False), (2, 1, True), (5, 1, False)]
)
def test_it_goes_on_until_the_seconds_are_used_up(rounds: int, elapsed: float, expected: bool) -> None:
    assert goes_on(rounds, elapsed, Patience(seconds=10, least=2, most=5)) is expected


def test_quick_is_two_rounds() -> None:
    assert (goes_on(1, 0, QUICK), goes_on(2, 0, QUICK)) == (True, False)


def test_a_slow_round_cancels_out() -> None:
    alone = np.array([1.0, 1.0, 1.0, 1.0])
    slowed = alone * [1, 20, 3, 1]
    assert ratio(2.5 * slowed, slowed) == spread(2.5 * alone)


def test_a_spread_is_the_quartiles() -> None:
    found = spread(np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert (found.low, found.median, found.high) == (2, 3, 4)
