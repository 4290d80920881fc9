"""The similarity of two maps: rank correlation and structural similarity.

Libraries are imported where they are called: that takes a second, and most runs compare nothing.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

WINDOW = 7
BINS = 100


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two maps of equal shape, -1 to 1; 0 if one is constant, NaN if one has a NaN."""
    a, b = first.flatten().cpu().numpy(), second.flatten().cpu().numpy()
    spread = np.minimum(np.ptp(a), np.ptp(b))
    if spread == 0 or np.isnan(spread):
        return float(spread)
    matrix: NDArray[np.float64] = np.corrcoef(np.column_stack((ranks(a), ranks(b))), rowvar=False)
    return float(matrix[1, 0])


def ranks(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The ranks of (n,) values from 1, equal values at the mean of theirs; `scipy.stats` takes a second to import."""
    _, positions, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[positions])


def blank(*maps: Tensor) -> str:
    """Why one of these maps is uninformative, in a few words; empty if none is."""
    if any(not bool(values.any()) for values in maps):
        return "zero everywhere"
    return "constant" if any(bool((values == values.flatten()[0]).all()) for values in maps) else ""


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two maps (H, W), each scaled to 0..1 first, at most 1.

    Adebayo et al. 2018, Sect. 3, compare maps in this way, since their scales differ.
    """
    from skimage.metrics import structural_similarity

    a, b = unit_range(first), unit_range(second)
    window = min(WINDOW, *(size - 1 + size % 2 for size in a.shape))
    return float(structural_similarity(a, b, win_size=window, data_range=1.0))


def entropy(values: Tensor) -> float:
    """The entropy in nats of a map's histogram of 100 equal bins from its smallest to its largest value, 0 to log 100.

    Hedström et al. 2024 measure a map's complexity in this way.
    """
    counts, _ = np.histogram(unit_range(values), bins=BINS, range=(0, 1))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def unit_range(values: Tensor) -> NDArray[np.float64]:
    """The map scaled linearly to 0..1; a constant map becomes 0."""
    array = values.cpu().double().numpy()
    return np.asarray((array - array.min()) / (np.ptp(array) or 1.0))
