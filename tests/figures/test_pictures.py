"""Panels as a person sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepinside import figures
from deepinside.figures.maps import colour_map
from deepinside.figures.pictures import coloured
from deepinside.types import Panel, PanelKind

RAMP = torch.tensor([[-1.0, 0.0], [0.5, 2.0]])


def seen(values: torch.Tensor, look: PanelKind, magnitude_map: str = "gray") -> np.ndarray:
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


def test_one_pixel_far_above_all_others_does_not_set_the_scale() -> None:
    values = torch.linspace(0, 1, 10_000).view(100, 100).clone()
    values[0, 0] = 1000
    found, whole = seen(values, "magnitude"), figures.picture(Panel("p", values, "magnitude"), "gray", percentile=100)
    assert found[0, 0, 0] == found[99, 99, 0] == 255  # clipped, and what lies above the percentile with it
    assert np.allclose(found[50, 0, 0], 255 * 0.5 / 0.995, atol=2)  # linear below it
    assert whole[99, 99, 0] == 0
    assert values[0, 0] == 1000


def test_where_the_percentile_is_zero_the_largest_ends_the_scale() -> None:
    values = torch.zeros(100, 100)
    values[3, 4], values[5, 6] = 2, 1
    found = seen(values, "magnitude")
    assert found[3, 4, 0] == 255 and abs(int(found[5, 6, 0]) - 128) <= 1 and found[9, 9, 0] == 0


def test_how_maps_are_drawn_is_said() -> None:
    assert figures.scale_sentence(99.5).startswith(
        "Maps: the scale is linear from zero to percentile 99.5 of the absolute values"
    )
    assert "largest absolute value" in figures.scale_sentence(100)


def test_boxes_are_drawn_on_photos_and_not_on_maps(tmp_path: Path) -> None:
    box = torch.tensor([[2.0, 3.0, 12.0, 15.0]])
    photo = Panel("box", torch.full((3, 20, 16), 90.0), "photo", boxes=box)
    figures.save_panel(photo, tmp_path / "box.png")
    with Image.open(tmp_path / "box.png") as image:
        found = np.array(image)
    amber = (found == (255, 176, 0)).all(-1)
    expected = np.zeros((20, 16), bool)
    expected[3:15, 2:12] = True
    expected[4:14, 3:11] = False
    assert np.array_equal(amber, expected)
    assert (found[8, 7] == 90).all() and (found[0, 0] == 90).all()
    for name, boxes in (("with", box), ("without", None)):
        figures.save_panel(Panel("map", torch.eye(20), "magnitude", boxes=boxes), tmp_path / f"{name}.png")
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "without.png").read_bytes()


def test_masks_are_black_and_amber_so_that_one_of_all_is_seen_on_white() -> None:
    found = seen((RAMP > 0).float(), "mask")
    assert found[0, 0].tolist() == [0, 0, 0] and found[1, 1].tolist() == [255, 176, 0]
    assert (seen(torch.ones(2, 2), "mask") == (255, 176, 0)).all()
    looks: tuple[PanelKind, ...] = ("mask", "magnitude")
    for look in looks:
        assert seen(torch.zeros(2, 2), look).max() == 0


def test_nan_is_drawn_as_zero() -> None:
    with_nan, with_zero = RAMP.abs().clone(), RAMP.abs().clone()
    with_nan[0, 0], with_zero[0, 0] = float("nan"), 0.0
    assert np.array_equal(seen(with_nan, "magnitude"), seen(with_zero, "magnitude"))


@pytest.mark.parametrize(
    "panel",
    [Panel("deep/map", torch.rand(5, 7), "magnitude"), Panel("photo", 255 * torch.rand(3, 5, 7), "photo")],
    ids=lambda panel: panel.kind,
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
