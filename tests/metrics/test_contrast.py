"""Measures of contrast on images of which they are known."""

import math

import pytest
import torch
from torch import Tensor

from deepinside.metrics.contrast import colour_share, contrast, frequency, share_inside, spread

NOISE = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
EMPTY = torch.full((3, 64, 64), 7.0)


def wave(cycles: int) -> Tensor:
    return torch.sin(2 * math.pi * cycles * torch.arange(64) / 64).expand(3, 64, 64)


def test_contrast_counts_steps_to_the_right_and_down_in_every_channel() -> None:
    x = torch.zeros(2, 4, 4)
    x[0, 1, 1], x[1, 3, 3] = 2, 3
    wanted = torch.zeros(4, 4)
    wanted[0, 1] = wanted[1, 0] = 4
    wanted[1, 1] = 8
    wanted[2, 3] = wanted[3, 2] = 9
    assert torch.equal(contrast(x), wanted)


def test_the_share_inside_a_box() -> None:
    assert share_inside(NOISE, (0, 0, 64, 64)) == 1
    assert share_inside(NOISE, (0, 16, 64, 48)) == pytest.approx(0.5, abs=0.03)
    assert share_inside(EMPTY, (0, 0, 64, 64)) == 0


def test_the_spread_of_even_contrast_is_that_of_a_square() -> None:
    assert spread(NOISE, (8, 8, 56, 56)) == pytest.approx(48 / math.sqrt(6), rel=0.02)
    inner = NOISE.clone()
    inner[:, :20], inner[:, 44:], inner[:, :, :20], inner[:, :, 44:] = 0, 0, 0, 0
    assert spread(inner, (8, 8, 56, 56)) == pytest.approx(24 / math.sqrt(6), rel=0.1)
    assert spread(EMPTY, (8, 8, 56, 56)) == 0


def test_grey_has_no_colour_and_independent_channels_have_two_thirds() -> None:
    assert colour_share(NOISE[:1].expand(3, 64, 64)) == pytest.approx(0, abs=1e-9)
    assert colour_share(NOISE) == pytest.approx(2 / 3, abs=0.02)
    opposite = NOISE[0]
    assert colour_share(torch.stack([opposite, -opposite, 0 * opposite])) == pytest.approx(1)
    assert colour_share(EMPTY) == 0


@pytest.mark.parametrize("cycles", [2, 4, 8])
def test_the_frequency_of_a_wave(cycles: int) -> None:
    assert frequency(40 * wave(cycles) + 100) == pytest.approx(cycles / 64, rel=0.05)
    assert frequency(EMPTY) == 0
