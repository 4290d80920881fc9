"""Likeness of maps."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from deepinside.metrics.similarity import blank, rank_correlation, ssim


def test_ranks_ignore_scale_and_shape_of_the_curve() -> None:
    values = torch.rand(8, 9, generator=torch.Generator().manual_seed(0))
    assert rank_correlation(values, 7 * values.exp()) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    assert rank_correlation(values, torch.ones(8, 9)) == 0


def test_ranks_by_the_textbook_formula() -> None:
    a, b = torch.tensor([10.0, 20, 30, 40, 50]), torch.tensor([2.0, 1, 4, 3, 5])
    assert rank_correlation(a, b) == pytest.approx(1 - 6 * 4 / (5 * 24))


def test_ssim_is_that_of_maps_scaled_to_one() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(16, 12, generator=generator), torch.rand(16, 12, generator=generator)
    scaled = [((m - m.min()) / (m.max() - m.min())).double().numpy() for m in (a, b)]
    assert ssim(100 * a - 3, b) == pytest.approx(structural_similarity(*scaled, data_range=1.0), abs=1e-5)
    assert ssim(a, 5 * a + 1) == pytest.approx(1)
    assert ssim(a, b) < 0.3


def test_small_and_constant_maps_have_an_answer() -> None:
    assert ssim(torch.zeros(4, 5), torch.zeros(4, 5)) == pytest.approx(1)
    assert np.isfinite(ssim(torch.zeros(4, 5), torch.rand(4, 5)))


def test_a_map_of_one_value_tells_nothing() -> None:
    some = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert blank(some) == "" and blank(some, some) == ""
    assert blank(torch.zeros(3, 2, 2)) == blank(some, torch.zeros(2, 2)) == "zero everywhere"
    assert blank(torch.full((2, 2), 3.5)) == "constant"


@pytest.mark.parametrize("levels", [2, 9, 100_000])
def test_the_rank_correlation_is_that_of_scipy_to_the_bit(levels: int) -> None:
    first, second = (torch.from_numpy(np.random.default_rng(n).integers(0, levels, (40, 50))).float() for n in (1, 2))
    assert rank_correlation(first, second) == spearmanr(first.flatten(), second.flatten()).statistic
