"""A time counts only if the numbers agree."""

import time

import pytest
import torch
from bench.task import OURS, Task, Way, differences, rank_correlation
from bench.timing import QUICK
from torch import Tensor

X = torch.arange(24.0).view(4, 1, 2, 3) + 1


def product() -> tuple:
    return (lambda: time.sleep(0.001)), 1e6


def task(*ways: Way, **more: object) -> Task:
    return Task("name", "title", "photo", 4, (Way(OURS, lambda: X), *ways), **more)  # type: ignore[arg-type]


def test_a_way_whose_numbers_are_off_is_not_timed() -> None:
    calls = []

    def wrong() -> Tensor:
        calls.append(1)
        return X * 1.01

    found = task(Way("wrong", wrong)).record(QUICK, product())["ways"]
    assert len(calls) == 1
    assert not found["wrong"]["agrees"] and "seconds" not in found["wrong"] and "ratio" not in found["wrong"]
    assert found["wrong"]["difference"] == pytest.approx(0.01, rel=1e-3)
    assert found[OURS]["ratio"]["median"] == 1


def test_a_slower_way_has_a_ratio_above_one_and_a_share_of_the_product() -> None:
    slow = Way("slow", lambda: (time.sleep(0.02), X)[1])
    quick = Way(OURS, lambda: (time.sleep(0.002), X)[1])
    found = Task("n", "t", "photo", 4, (quick, slow), operations=1e6).record(QUICK, product())
    assert 3 < found["ways"]["slow"]["ratio"]["median"] < 12
    assert found["ways"]["slow"]["seconds"]["median"] == pytest.approx(0.005, rel=0.5)
    assert 0 < found["ways"]["slow"]["share_of_product"]["median"] < found["ways"][OURS]["share_of_product"]["median"]
    assert found["rounds"] == 2


def test_one_item_at_a_kink_is_forgiven_and_kept_in_the_record() -> None:
    other = X.clone()
    other[2] *= 1.1
    found = task(Way("other", lambda: other)).record(QUICK, product())["ways"]["other"]
    assert found["agrees"] and found["difference"] == 0
    assert found["worst"] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(("grain", "agrees"), [(0.004, False), (0.006, True), (5.0, True)])
def test_nothing_has_to_be_nearer_to_the_truth_than_float32_is(grain: float, agrees: bool) -> None:
    others = (Way("other", lambda: X * 1.01), Way("wrong", lambda: X * 1.5))
    found = task(*others, truth=lambda: X, plain=lambda: X * (1 + grain))
    ways = found.record(QUICK, product())["ways"]
    assert ways["other"]["agrees"] is agrees
    assert not ways["wrong"]["agrees"]


def test_our_own_numbers_have_to_be_right_too() -> None:
    found = task(Way("other", lambda: 2 * X), truth=lambda: 2 * X).record(QUICK, product())["ways"]
    assert found["other"]["agrees"] and not found[OURS]["agrees"] and "seconds" not in found[OURS]


def test_numbers_of_another_shape_never_agree() -> None:
    assert differences(X[:, :, :1], X).isinf().all()


def test_an_approximation_is_timed_and_its_rank_correlation_told() -> None:
    found = task(Way("rough", lambda: X**2, exact=False)).record(QUICK, product())["ways"]["rough"]
    assert found["rank_correlation"] == pytest.approx(1)
    assert found["gain"]["median"] == pytest.approx(1 / found["ratio"]["median"], rel=1)
    assert rank_correlation(-X.flip(3), X) < 1


def test_a_way_is_compared_with_the_one_it_is_put_beside() -> None:
    slow = Way("slow", lambda: (time.sleep(0.02), X)[1], exact=False)
    other = Way("other", lambda: (time.sleep(0.04), X)[1], exact=False, beside="slow")
    found = task(slow, other).record(QUICK, product())["ways"]
    assert found["other"]["ratio"]["median"] == pytest.approx(2, rel=0.3)
    assert "gain" in found["slow"] and "gain" not in found["other"]


def test_a_trial_is_compared_in_the_place_of_the_work() -> None:
    found = task(Way("other", lambda: X + 5, trial=lambda: X)).record(QUICK, product())["ways"]["other"]
    assert found["agrees"]


def test_a_part_of_the_work_is_compared_with_nothing() -> None:
    found = task(Way("part", lambda: None, None)).record(QUICK, product())["ways"]["part"]
    assert found["difference"] is None and "ratio" in found
