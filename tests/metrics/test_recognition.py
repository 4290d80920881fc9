"""Recognition judges the picture that a screen shows."""

import pytest
import torch

from deepinside.metrics.recognition import displayed, share_clipped
from deepinside.types import Panel

OUTLIER = torch.cat([torch.linspace(-100, 100, 11), torch.tensor([900.0])]).reshape(1, 3, 4).expand(3, 3, 4)


def test_a_clipped_image_is_judged_with_its_own_intensities() -> None:
    assert displayed(Panel("x", OUTLIER, "photo")) is OUTLIER
    assert share_clipped(OUTLIER) == pytest.approx(6 / 12)


def test_a_stretched_image_is_judged_stretched() -> None:
    shown = displayed(Panel("x", OUTLIER, "stretched"))
    assert torch.equal(shown, 255 * (OUTLIER + 100) / 1000)
    assert share_clipped(shown) == 0
    assert torch.equal(displayed(Panel("x", torch.full((3, 2, 2), 7.0), "stretched")), torch.zeros(3, 2, 2))
