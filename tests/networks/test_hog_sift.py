"""The network of HOG and dense SIFT against their definitions, VLFeat's own numbers and scikit-image."""

from math import pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import skimage.feature
import torch
from export_hog_sift import SIZE, to_onnx
from torch import Tensor

from deepinside import targets
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import conf_models, find_spec

NAMES = {"hog": "hog_texture", "hogb": "hogb_texture"}
VLFEAT = np.load(Path(__file__).with_name("vlfeat.npz"))
"""What VLFeat 0.9.21 computes of `photo()`: `vl_hog` (UoCTTI, cells of 8), with and without bilinear orientations, at
the cells `CELLS`; `vl_dsift` (bins of 5, steps of 15, Gaussian window of 1.5 bins), at the descriptors `DESCRIPTORS`.
Its windows are centred on pixels and these between them, so the mean of the four nearest is stored."""
CELLS, DESCRIPTORS = [0, 3, 7, 11, 15], [0, 3, 6]


@pytest.fixture(scope="module")
def network() -> Network:
    return load(find_spec("hog_sift"))


def photo() -> np.ndarray:
    """(128, 128): the cat's face, grey, whole intensities."""
    return np.round(skimage.data.chelsea()[100:228, 100:228].mean(2))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(float)


def layer(network: Network, pixels: np.ndarray, name: str) -> np.ndarray:
    """A layer's values (C, h, w) for grey intensities (H, W)."""
    values: Tensor = network.activations(network.input.to_network(as_image(pixels)), [name])[name]
    return values[0].double().numpy()


def as_image(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels, dtype=torch.float32)[None, None]


def test_the_file_is_written_the_same_to_the_byte() -> None:
    stored = (conf_models() / "hog_sift.onnx").read_bytes()
    assert to_onnx().SerializeToString(deterministic=True) == stored


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pixels", [photo, noise])
def test_hog_is_what_its_definition_says(network: Network, name: str, pixels: object) -> None:
    image = pixels()  # type: ignore[operator]
    expected = uoctti(image, bilinear=name == "hogb")
    np.testing.assert_allclose(layer(network, image, NAMES[name]), expected, atol=2e-5)
    np.testing.assert_array_equal(layer(network, image, name), layer(network, image, NAMES[name])[:27])


def test_sift_is_what_its_definition_says(network: Network) -> None:
    np.testing.assert_allclose(layer(network, photo(), "dsift"), dense_sift(photo()), atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_hog_is_that_of_vlfeat(network: Network, name: str) -> None:
    found = layer(network, photo(), NAMES[name])[:, CELLS][:, :, CELLS]
    np.testing.assert_allclose(found, VLFEAT[name], atol=1e-4)


def test_sift_points_where_that_of_vlfeat_does(network: Network) -> None:
    """The cosine, since VLFeat normalises a second time and weights each pixel rather than each cell."""
    found, expected = layer(network, photo(), "dsift")[:, DESCRIPTORS][:, :, DESCRIPTORS], VLFEAT["dsift"]
    cosines = np.einsum("dhw,hwd->hw", found, expected) / np.linalg.norm(found, axis=0)
    assert (cosines / np.linalg.norm(expected, axis=2)).min() > 0.99


@pytest.mark.parametrize("degrees", [5, 25, 55, 85, 115, 165])
def test_orientations_and_their_order_are_those_of_scikit_image(network: Network, degrees: int) -> None:
    """On a ramp. Bins are centred here, and start at zero there, so the other image is turned by half a bin."""
    bins = layer(network, ramp(degrees), "hog")[18:, 8, 8]
    other = skimage.feature.hog(
        ramp(degrees + 10), 9, (8, 8), (1, 1), block_norm="L1", feature_vector=False
    )[8, 8, 0, 0]  # fmt: skip
    assert bins.argmax() == other.argmax()
    assert (bins > 0).sum() == 1


def ramp(degrees: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.cos(degrees * pi / 180) * columns + np.sin(degrees * pi / 180) * rows


@pytest.mark.parametrize("name", ["hog", "hogb", "dsift"])
def test_the_gradient_is_the_slope(network: Network, name: str) -> None:
    exact = network.to(dtype=torch.float64)
    uneven = photo() + np.random.default_rng(1).uniform(-1, 1, (SIZE, SIZE))  # whole steps lie on the function's kinks
    x = exact.input.to_network(as_image(uneven).double()).requires_grad_()
    weights = torch.randn(exact.layers[name].shape, generator=torch.Generator().manual_seed(1)).double()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()

    def value(image: Tensor) -> Tensor:
        return (exact.activations(image, [name])[name] * weights).sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    step = 1e-7
    slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["hog", "hogb", "dsift"])
def test_a_flat_image_has_no_feature_and_a_finite_gradient(network: Network, name: str) -> None:
    flat = torch.full((1, 1, SIZE, SIZE), 40.0).requires_grad_()
    values = network.activations(flat, [name])[name]
    (gradient,) = torch.autograd.grad(values.sum(), flat)
    assert values.abs().max() < 1e-5
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ["hog", "hogb", "dsift"])
def test_brightness_and_contrast_change_nothing(network: Network, name: str) -> None:
    np.testing.assert_allclose(
        layer(network, 60 + photo() / 2, name), layer(network, photo(), name), atol=2e-5
    )  # fmt: skip


def test_there_are_no_class_scores(network: Network) -> None:
    assert network.classes == 0
    assert network.notes == network.deviations == ()  # values between 0 and 1 are no probabilities here
    with pytest.raises(DeepInsideError, match="features, not class scores"):
        network.scores(torch.zeros(1, 1, SIZE, SIZE))
    for request in ("top1", "true", "3", "tabby"):
        with pytest.raises(DeepInsideError, match="has no classes"):
            targets.check(request, network)
    assert targets.check("hog:3", network) is not None


def gradients(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude and angle, zero at the image's border."""
    across, down = np.zeros_like(pixels), np.zeros_like(pixels)
    across[1:-1, 1:-1] = (pixels[1:-1, 2:] - pixels[1:-1, :-2]) / 2
    down[1:-1, 1:-1] = (pixels[2:, 1:-1] - pixels[:-2, 1:-1]) / 2
    return np.hypot(across, down), np.arctan2(down, across)


def shares(angle: float, count: int, *, bilinear: bool) -> dict[int, float]:
    """The bins of `count` directions that an angle falls into; halfway between two, VLFeat takes the earlier line."""
    place = (angle % (2 * pi)) * count / (2 * pi)
    low, beyond = int(place), place - int(place)
    if bilinear:
        return {low % count: 1 - beyond, (low + 1) % count: beyond}
    return {(low if beyond < 0.5 + 1e-9 else low + 1) % count: 1.0}


def cells(pixels: np.ndarray, cell: int, origin: float, sides: int, count: int, *, bilinear: bool) -> np.ndarray:
    """(count, sides, sides): each pixel's magnitude into the bins of its angle and the four nearest cells.

    `origin` is the pixel coordinate of the first cell's centre.
    """
    histograms = np.zeros((count, sides, sides))
    magnitudes, angles = gradients(pixels)
    for row, column in np.argwhere(magnitudes > 0):
        for bin_, share in shares(angles[row, column], count, bilinear=bilinear).items():
            for y, down in near((row - origin) / cell, sides):
                for x, across in near((column - origin) / cell, sides):
                    histograms[bin_, y, x] += share * down * across * magnitudes[row, column]
    return histograms


def near(place: float, sides: int) -> list[tuple[int, float]]:
    low, beyond = int(np.floor(place)), place - np.floor(place)
    return [(k, weight) for k, weight in ((low, 1 - beyond), (low + 1, beyond)) if 0 <= k < sides]


def uoctti(pixels: np.ndarray, *, bilinear: bool) -> np.ndarray:
    """(31, h, w): HOG of Felzenszwalb et al. 2010, Sect. 6.2, without the projection's whitening, block by block."""
    sides = SIZE // 8
    directed = cells(pixels, 8, 3.5, sides, 18, bilinear=bilinear)
    undirected = directed[:9] + directed[9:]
    energy = np.pad((undirected**2).sum(0), 1, mode="edge")
    features = np.zeros((31, sides, sides))
    for y in range(sides):
        for x in range(sides):
            both = np.concatenate([directed[:, y, x], undirected[:, y, x]])
            for block, (up, left) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                norm = sqrt(energy[y + up : y + up + 2, x + left : x + left + 2].sum())
                clamped = np.minimum(both / max(norm, 1e-10), 0.2)
                features[:27, y, x] += clamped / 2
                features[27 + block, y, x] = clamped[18:].sum() / sqrt(18)
    return features


def dense_sift(pixels: np.ndarray) -> np.ndarray:
    """(128, h, w): Lowe 2004, Sect. 6, upright, on a grid; normalised and clamped once, as by the authors."""
    sides = (SIZE - 2 - 10) // 5 + 1
    histograms = cells(pixels, 5, 5.5, sides, 8, bilinear=True)
    steps = range(0, sides - 3, 3)
    weights = np.exp(-(np.add.outer((np.arange(4) - 1.5) ** 2, (np.arange(4) - 1.5) ** 2)) / (2 * 1.5**2))
    found = np.zeros((128, len(steps), len(steps)))
    for i, y in enumerate(steps):
        for j, x in enumerate(steps):
            block = np.moveaxis(histograms[:, y : y + 4, x : x + 4], 0, 2) * weights[:, :, None]
            found[:, i, j] = np.minimum(block.ravel() / np.linalg.norm(block), 0.2)
    return found
