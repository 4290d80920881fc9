"""Colours for numbers: steps that look equally large, told apart by colour-blind readers."""

import numpy as np
import pytest
from skimage.color import rgb2lab

from deepinside.figures.maps import SIGNED, colour_map, srgb

DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
"""Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB."""


def colours() -> np.ndarray:
    return np.asarray(SIGNED(np.linspace(0, 1, 256)))[:, :3]


def as_seen_by(blindness: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ blindness.T, 0, 1)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)


def test_lab_is_turned_into_srgb_as_scikit_image_has_it() -> None:
    lab = np.array([[50.0, 20, -30], [97, 0, 0], [5, 1, 1], [30, -10, 12]])
    assert np.allclose(rgb2lab(srgb(lab)), lab, atol=0.1)


def test_no_colour_of_the_signed_map_is_beyond_what_a_screen_can_show() -> None:
    """What is clipped would bend the straight line."""
    lightness = rgb2lab(colours())[:, 0]
    assert np.allclose(lightness[:128], np.linspace(38, 97, 128), atol=0.5)
    assert np.allclose(lightness, lightness[::-1], atol=0.5)  # so that grey shows the size alone


def test_equal_steps_look_equal() -> None:
    steps = np.linalg.norm(np.diff(rgb2lab(colours()), axis=0), axis=1)
    assert np.delete(steps, 127).std() < 0.05 * steps.mean()


@pytest.mark.parametrize("blindness", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
def test_colour_blind_readers_tell_plus_from_minus(blindness: np.ndarray) -> None:
    lab = rgb2lab(as_seen_by(blindness, colours()))
    apart = np.linalg.norm(lab - lab[::-1], axis=1)
    assert apart[0] > 40  # a just noticeable difference is about 2.3
    assert apart[64] > 20


def test_other_maps_are_matplotlibs() -> None:
    assert colour_map("RdBu_r").name == "RdBu_r"
    assert colour_map("signed") is SIGNED
