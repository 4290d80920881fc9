"""Panels as a person sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepinside import figures
from deepinside.figures.maps import colour_map
from deepinside.figures.pictures import coloured
from deepinside.values import Look, Panel

RAMP = torch.tensor([[-1.0, 0.0], [0.5, 2.0]])


def seen(values: torch.Tensor, look: Look, magnitude_map: str = "gray") -> np.ndarray:
    return figures.picture(Panel("p", values, look), magnitude_map)


def test_photos_are_clipped_and_rounded_rgb() -> None:
    values = torch.tensor([-3.0, 127.5, 254.6, 300.0]).view(1, 2, 2).repeat(3, 1, 1)
    assert seen(values, "photo")[..., 0].tolist() == [[0, 128], [255, 255]]
    assert seen(values[0], "photo").shape == (2, 2, 3)


def test_magnitudes_go_from_nothing_to_the_largest() -> None:
    assert np.allclose(seen(RAMP.abs(), "magnitude")[..., 0], [[128, 0], [64, 255]], atol=1)
    assert seen(RAMP.abs(), "magnitude", "gray_r")[0, 1].tolist() == [255, 255, 255]
    assert np.array_equal(seen(RAMP.abs(), "magnitude"), seen(RAMP.abs() * 1e-20, "magnitude"))


def test_signed_maps_have_zero_in_the_middle_whatever_the_extremes() -> None:
    middle, low, high = seen(RAMP, "signed")[0, 1], seen(RAMP, "signed")[0, 0], seen(RAMP, "signed")[1, 1]
    assert int(middle.max()) - int(middle.min()) < 10  # near white
    assert low[2] > low[0]  # blue below zero
    assert high[0] > high[2]  # red above


def test_signed_maps_take_another_map() -> None:
    found = figures.picture(Panel("p", RAMP, "signed"), signed_map="gray")
    assert found[1, 1].tolist() == [255, 255, 255]


def test_colour_is_symmetric_about_mid_grey() -> None:
    values = torch.stack([RAMP, -RAMP, torch.zeros(2, 2)])
    found = seen(values, "colour")
    assert found[1, 1].tolist() == [255, 0, 128]
    assert found[0, 1].tolist() == [128, 128, 128]


def test_masks_are_black_and_white_and_all_zero_is_black() -> None:
    assert set(np.unique(seen((RAMP > 0).float(), "mask"))) == {0, 255}
    looks: tuple[Look, ...] = ("mask", "magnitude")
    for look in looks:
        assert seen(torch.zeros(2, 2), look).max() == 0


def test_nan_is_drawn_as_zero() -> None:
    with_nan, with_zero = RAMP.abs().clone(), RAMP.abs().clone()
    with_nan[0, 0], with_zero[0, 0] = float("nan"), 0.0
    assert np.array_equal(seen(with_nan, "magnitude"), seen(with_zero, "magnitude"))


@pytest.mark.parametrize(
    "panel",
    [Panel("deep/map", torch.rand(5, 7), "magnitude"), Panel("photo", 255 * torch.rand(3, 5, 7), "photo")],
    ids=lambda panel: panel.look,
)
def test_a_panel_is_a_pixel_a_value_and_the_same_bytes(panel: Panel, tmp_path: Path) -> None:
    for name in ("a", "b"):
        figures.save_panel(panel, tmp_path / name / "x.png", "inferno")
    with Image.open(tmp_path / "a" / "x.png") as image:
        assert image.size == (7, 5)
        assert np.array_equal(np.array(image.convert("RGB")), figures.picture(panel, "inferno"))
    assert (tmp_path / "a" / "x.png").read_bytes() == (tmp_path / "b" / "x.png").read_bytes()


@pytest.mark.parametrize("name", ["inferno", "gray", "signed", "tab10", "twilight"])
def test_colours_are_those_of_matplotlib(name: str) -> None:
    values = np.concatenate([np.linspace(0, 1, 10001), np.random.default_rng(0).random(10000)])[None]
    assert np.array_equal(
        np.array(coloured(values, name).convert("RGB")), colour_map(name)(values, bytes=True)[..., :3]
    )
