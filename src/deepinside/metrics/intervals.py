"""Confidence intervals of 95 %: the bootstrap for measurements, Clopper–Pearson for shares, Student's t for means."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 9999
LEAST_UNITS = 6
"""Fewer units have no 95 % bootstrap interval: even from the smallest to the largest of n values, the coverage of the
median is only 1 − 2^(1 − n), 94 % for n = 5."""
BLOCK = 2_000_000
"""Resampled values in memory at once."""

Values = NDArray[np.float64]
Interval = tuple[float, float]
Statistic = Callable[[Values], Values]
"""(…, units, columns) → (…)."""


def mean(values: Values) -> Values:
    """The mean of the first column."""
    return np.asarray(values[..., 0].mean(-1))


def share(values: Values) -> Values:
    """The share of ones in the first column of zeros and ones."""
    return mean(values)


def confidence_interval(values: Values, statistic: Statistic, seed: int) -> Interval | None:
    """The 95 % interval of `statistic` of `values` (units, columns), resampling units; None below `LEAST_UNITS`.

    A `share` gets the Clopper–Pearson interval: a bootstrap of equal values has no width.
    """
    if len(values) < LEAST_UNITS:
        return None
    if statistic is share:
        return share_interval(values[:, 0])
    return bootstrap_interval(values, statistic, seed)


def bootstrap_interval(values: Values, statistic: Statistic, seed: int) -> Interval:
    """Hesterberg's expanded percentile interval (2015, The American Statistician 69, Sect. 4.3).

    The percentile interval is too narrow for few units, by √((n − 1)/n) and by the normal instead of the t quantile;
    wider percentiles correct both. Simulated coverage for the mean of 6, 8, 12 and 20 values (600 repetitions): normal
    93, 94, 95, 95 %, exponential 92, 89, 90, 94 %. The percentile interval has 85, 91, 91, 93 % and 83, 84, 86, 92 %,
    and BCa is no better (85, 90, 91, 92 % and 84, 86, 88, 92 %).
    """
    from scipy import stats  # takes a second, and most runs have no claims

    n = len(values)
    outside = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf((1 + LEVEL) / 2, n - 1))
    found = stats.bootstrap(
        (np.arange(n),),
        lambda index, axis: statistic(values[index]),
        n_resamples=RESAMPLES,
        batch=max(1, BLOCK // values.size),
        vectorized=True,
        confidence_level=1 - 2 * outside,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def share_interval(hits: Values) -> Interval:
    """The Clopper–Pearson interval of a share, from zeros and ones."""
    from scipy.stats import binomtest

    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def t_interval(values: Values) -> Interval | None:
    """Student's interval of the mean of (n,) values; None for fewer than two."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    reach = t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)
