"""Recognition judges the picture that a screen shows."""

from pathlib import Path

import pytest
import torch
import toys

from deepinside.metrics.recognition import displayed, recognised, share_clipped
from deepinside.types import Item, Panel

OUTLIER = torch.cat([torch.linspace(-100, 100, 11), torch.tensor([900.0])]).reshape(1, 3, 4).expand(3, 3, 4)


def test_a_clipped_image_is_judged_with_its_own_intensities() -> None:
    assert displayed(Panel("x", OUTLIER, "photo")) is OUTLIER
    assert share_clipped(OUTLIER) == pytest.approx(6 / 12)


def test_a_stretched_image_is_judged_stretched() -> None:
    shown = displayed(Panel("x", OUTLIER, "stretched"))
    assert torch.equal(shown, 255 * (OUTLIER + 100) / 1000)
    assert share_clipped(shown) == 0
    assert torch.equal(displayed(Panel("x", torch.full((3, 2, 2), 7.0), "stretched")), torch.zeros(3, 2, 2))


def test_the_caption_says_what_the_judge_sees(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("own", "other")]
    for folder in folders:
        folder.mkdir()
    own, other = (toys.linear(folder, toys.RGB, seed=seed) for seed, folder in enumerate(folders))
    image = Panel("class_model", 128 + 50 * other.weights[2], "photo")
    item = Item("x", "golden retriever", (image,), depicts="golden retriever")
    found = recognised(item, own.network, other.network)
    assert found.metrics["judge_top1"] == 1
    assert found.caption.endswith(f", {other.network.name}: golden retriever 100 %")
