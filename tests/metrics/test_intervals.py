"""Intervals against formulas and simulations whose answer is known."""

import math

import numpy as np
import pytest
from scipy import stats

from deepinside.metrics.intervals import (
    LEVEL,
    RESAMPLES,
    bootstrap_interval,
    confidence_interval,
    mean,
    share,
    share_interval,
    t_interval,
)


def test_for_many_units_the_bootstrap_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    reach = 1.96 * values.std(ddof=1) / 20
    found = confidence_interval(values, mean, seed=0)
    assert found == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.03)


def test_eight_normal_values_are_covered_as_promised() -> None:
    """The truth is inside in about 95 of 100 repetitions; the plain percentile interval reaches 91 (see module)."""
    random = np.random.default_rng(1)
    found = [confidence_interval(random.normal(size=(8, 1)), mean, seed) for seed in range(150)]
    inside = np.mean([low <= 0 <= high for low, high in filter(None, found)])
    assert 0.9 <= inside <= 0.99


def test_any_statistic_of_several_columns() -> None:
    values = np.stack([np.linspace(1, 2, 12), np.linspace(2, 4, 12)], 1)
    found = confidence_interval(values, lambda v: v[..., 0].mean(-1) / v[..., 1].mean(-1), seed=0)
    assert found == pytest.approx((0.5, 0.5))  # the ratio is the same in every resample


def test_fewer_than_six_units_have_no_interval() -> None:
    assert confidence_interval(np.arange(5.0)[:, None], mean, 0) is None
    assert confidence_interval(np.arange(6.0)[:, None], mean, 0) is not None


def test_a_share_is_never_certain() -> None:
    """All of n right: the lower limit is the p with p^n = 2.5 %."""
    hits = np.ones((12, 1))
    assert confidence_interval(hits, share, 0) == pytest.approx((0.025 ** (1 / 12), 1))
    assert share_interval(np.array([0.0, 1, 1, 1, 0, 1, 1, 1, 1, 1])) == pytest.approx((0.4439, 0.9748), abs=1e-3)


def test_students_interval() -> None:
    assert t_interval(np.array([1.0, 2, 3])) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert t_interval(np.array([1.0])) is None


@pytest.mark.parametrize("n", [6, 10, 33])
def test_the_bootstrap_is_that_of_scipy_to_the_bit(n: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, 1))
    outside = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1))
    expected = stats.bootstrap(
        (np.arange(n),), lambda index, axis: mean(values[index]), n_resamples=RESAMPLES, vectorized=True,
        confidence_level=1 - 2 * outside, method="percentile", rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    assert bootstrap_interval(values, mean, 7) == (expected.low, expected.high)
    spread = t_interval(values[:, 0])
    assert spread == stats.t.interval(LEVEL, n - 1, values.mean(), values.std(ddof=1) / math.sqrt(n))
