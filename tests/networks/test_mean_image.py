"""A mean for every pixel: read, fitted as Caffe fits it, subtracted and added back."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_nets import old_blob
from skimage.transform import resize

from deepinside.errors import DeepInsideError
from deepinside.images.settings import ImageSettings, loaded_size
from deepinside.networks.mean_image import read_mean
from deepinside.networks.spec import InputConvention, NetworkSpec, make_spec

MEAN = np.random.default_rng(0).uniform(0, 255, (3, 32, 30)).astype(np.float32)


def convention(folder: Path, values: np.ndarray = MEAN, **settings: object) -> InputConvention:
    """The input of a network whose YAML and mean image are in `folder`."""
    path = folder / "mean.npy"
    np.save(path, values)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    values_of_input = {"size": [22, 24], "channels": "bgr", "mean": "mean.npy", "mean_sha256": digest, **settings}
    spec = make_spec(
        {"name": "mine", "file": "mine.onnx", "target": "fc8", "folder": str(folder), "input": values_of_input}
    )
    return spec.input


def photo(*size: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, *size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_centre_is_subtracted_as_caffes_data_layer_does(tmp_path: Path) -> None:
    net, pixels = convention(tmp_path), photo(22, 24)
    found = net.native(net.to_network(pixels))
    expected = pixels.flip(1).numpy() - MEAN[None, :, 5:27, 3:27]  # (32 − 22) / 2 and (30 − 24) / 2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_resized_as_caffes_first_classifier_does(tmp_path: Path) -> None:
    net, pixels = convention(tmp_path, mean_fit="resize"), photo(22, 24)
    found = net.native(net.to_network(pixels))
    mean = np.stack([resize(one, (22, 24), order=1, anti_aliasing=False, mode="edge") for one in MEAN])
    np.testing.assert_allclose(found, pixels.flip(1).numpy() - mean[None], atol=1e-2)


def test_a_larger_photo_takes_a_larger_part_and_its_crops_agree(tmp_path: Path) -> None:
    """Caffe subtracts the mean from the photo before it takes crops, so each crop has the mean of its place."""
    net, pixels = convention(tmp_path), photo(32, 30)
    whole = net.to_network(pixels)
    np.testing.assert_allclose(whole, pixels.numpy() - MEAN[None, ::-1], atol=1e-5)
    centre = net.to_network(pixels[..., 5:27, 3:27])
    torch.testing.assert_close(whole[..., 5:27, 3:27], centre)


@pytest.mark.parametrize("settings", [{}, {"mean_fit": "resize"}, {"scale": 255.0}, {"channels": "rgb"}], ids=str)
def test_pixels_come_back_for_all_256_values(settings: dict, tmp_path: Path) -> None:
    values = MEAN / 255 if "scale" in settings else MEAN
    net = convention(tmp_path, values, size=[16, 16], **settings)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    assert torch.equal(net.to_pixels(net.to_network(pixels)), pixels)
    assert torch.equal(net.to_pixels(torch.zeros(3, 16, 16)), net.to_intensities(torch.zeros(3, 16, 16)).round().byte())


def test_a_grey_network(tmp_path: Path) -> None:
    net = convention(tmp_path, MEAN[:1], channels="grey", std=[1.0])
    found = net.to_network(torch.full((1, 1, 22, 24), 9, dtype=torch.uint8))
    np.testing.assert_allclose(found, 9 - MEAN[None, :1, 5:27, 3:27], atol=1e-5)


def test_binaryproto_and_npy_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "mean.binaryproto").write_bytes(old_blob(MEAN).SerializeToString())
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.binaryproto"), MEAN)
    np.save(tmp_path / "mean.npy", MEAN[None])
    np.testing.assert_array_equal(read_mean(tmp_path / "mean.npy"), MEAN)


REFUSED = {
    "another hash": ({"mean_sha256": "0" * 64}, r"should have SHA-256 0{64}, found \w{64}: restore the file"),
    "no hash": ({"mean_sha256": None}, r"needs its hash in the YAML: write mean_sha256: \w{64}$"),
    "no file": ({"mean": "none.npy"}, "cannot be read as a mean image: No such file or directory"),
    "too small": (
        {"size": [40, 24]},
        "of 32×30, but the network's input of 40×24 needs one at least as large: set",
    ),
    "channels": ({"channels": "grey", "std": [1.0]}, "has 3 channels, but channels: grey has 1"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_fit_is_said_before_any_work(fault: str, tmp_path: Path) -> None:
    settings, said = REFUSED[fault]
    net = convention(tmp_path, **settings)
    with pytest.raises(DeepInsideError, match=said):
        loaded_size(ImageSettings(), net)


def test_photos_larger_than_the_mean_image_take_it_enlarged(tmp_path: Path) -> None:
    net, pixels = convention(tmp_path), photo(48, 45)
    mean = np.stack([resize(one, (48, 45), order=1, anti_aliasing=False, mode="edge") for one in MEAN])
    np.testing.assert_allclose(net.to_network(pixels), pixels.numpy() - mean[None, ::-1], atol=1e-2)
    wider = photo(32, 60)  # enlarged to 64×60, of which the middle rows are taken
    mean = np.stack([resize(one, (64, 60), order=1, anti_aliasing=False, mode="edge") for one in MEAN])[:, 16:48]
    np.testing.assert_allclose(net.to_network(wider), wider.numpy() - mean[None, ::-1], atol=1e-2)


def test_a_mean_resized_to_the_input_refuses_larger_photos(tmp_path: Path) -> None:
    """Caffe subtracted it from each crop; here a photo is mean-subtracted before crops are taken."""
    with pytest.raises(DeepInsideError, match=r"set images\.enlarge=1, or mean_fit: crop"):
        loaded_size(ImageSettings(enlarge=1.1), convention(tmp_path, mean_fit="resize"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((4, 4)), r"should be finite numbers \(C, H, W\) or \(C,\), found float64 \[4, 4\]"),
        (np.full((3, 4, 4), np.nan), "should be finite numbers"),
        (np.array([1, 2, 3]), r"has one number a channel, no image: write mean: \[1.0, 2.0, 3.0\]"),
    ],
)
def test_what_is_no_mean_image_is_named(values: np.ndarray, said: str, tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=said):
        loaded_size(ImageSettings(), convention(tmp_path, values, size=[4, 4]))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mean.npy").write_bytes(b"\x93NUMPY nothing")
    (tmp_path / "mean.binaryproto").write_bytes(b"\xff\xff\xff")
    for name in ("mean.npy", "mean.binaryproto"):
        with pytest.raises(DeepInsideError, match=f"{name} cannot be read as a"):
            read_mean(tmp_path / name)


def test_the_path_is_seen_from_the_yaml(tmp_path: Path) -> None:
    assert convention(tmp_path).mean == str(tmp_path / "mean.npy")
    assert NetworkSpec(name="n", file="f", target="t", input=InputConvention()).input.mean == (0, 0, 0)
