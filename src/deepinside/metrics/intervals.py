"""Confidence intervals of 95 %: the bootstrap for measurements, Clopper–Pearson for shares, Student's t for means.

`scipy.stats` has them all, but takes 0.8 s to import, a fifth of a short run; most intervals need only `scipy.special`,
which takes 0.1 s and is imported when the first interval is computed.
"""

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
    from scipy.special import ndtr

    n, random = len(values), np.random.default_rng(seed)
    batch = max(1, BLOCK // values.size)
    starts = range(0, RESAMPLES, batch)
    resamples = (random.integers(0, n, (min(batch, RESAMPLES - start), n)) for start in starts)
    found = np.concatenate([statistic(values[index]) for index in resamples])
    inside = 1 - 2 * ndtr(-math.sqrt(n / (n - 1)) * t_quantile(n - 1))
    outside = (1 - inside) / 2
    return quantile(found, outside), quantile(found, 1 - outside)


def quantile(values: Values, at: float) -> float:
    """The quantile of (n,) values, rounded as by `scipy.stats.bootstrap`; `np.quantile` differs in the last bit."""
    ordered, position = np.sort(values), at * len(values) + (1 - at)  # counted from 1
    below, weight = int(position), position % 1
    if np.isnan(ordered[-1]):
        return math.nan
    return float((1 - weight) * ordered[below - 1] + weight * ordered[min(below, len(ordered) - 1)])


def share_interval(hits: Values) -> Interval:
    """The Clopper–Pearson interval of a share, from zeros and ones."""
    from scipy.stats import binomtest

    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="exact")
    return float(found.low), float(found.high)


def mean_interval(values: Values) -> Interval | None:
    """The 95 % interval of the mean of (n,) values; None below `LEAST_UNITS`.

    Clopper–Pearson's if all are zeros and ones, else Student's. Unlike a bootstrap it costs next to nothing for
    thousands of values, and for so many the two agree.
    """
    if len(values) < LEAST_UNITS:
        return None
    return share_interval(values) if np.isin(values, (0, 1)).all() else t_interval(values)


def t_interval(values: Values) -> Interval | None:
    """Student's interval of the mean of (n,) values; None for fewer than two."""
    if len(values) < 2:
        return None
    reach = t_quantile(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - reach), float(values.mean() + reach)


def t_quantile(degrees: int) -> float:
    """The end of the central 95 % of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + LEVEL) / 2))
