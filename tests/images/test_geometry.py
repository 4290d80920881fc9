"""Inputs that are not square: photos, maps, ten crops, views and boxes, beside autograd on the original module."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deepinside as di
from deepinside.images.batches import fit
from deepinside.images.load import to_tensor
from deepinside.images.settings import ImageSettings, loaded_size, view
from deepinside.networks.spec import InputConvention

MEAN, STD = (torch.tensor(row).double().view(3, 1, 1) for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
WIDE, TALL = (16, 50), (50, 16)


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(416, 10)
    ).eval()


def exported(size: tuple[int, int], folder: Path) -> di.Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module(), (torch.zeros(1, 3, *size),), folder / "net.onnx", dynamo=False)
    return di.load(folder / "net.onnx")


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def gradient(pixels: Tensor, score: int) -> Tensor:
    """∂S/∂pixel (3, H, W) in float64, from the module as it was before it was exported."""
    x = ((pixels.double() / 255 - MEAN) / STD)[None].requires_grad_()
    (found,) = torch.autograd.grad(module().double()(x)[0, score], x)
    return found[0] / (255 * STD)


@pytest.mark.parametrize("size", [WIDE, TALL])
def test_a_photo_of_the_networks_size_and_its_map_are_the_original_modules(
    size: tuple[int, int], tmp_path: Path
) -> None:
    network, photo = exported(size, tmp_path), noise(size[1], size[0])
    photo.save(tmp_path / "photo.png")
    batch = di.photos(network, tmp_path / "photo.png")
    assert torch.equal(network.input.to_pixels(batch.pixels)[0], to_tensor(photo))
    assert batch.photos[0].view == (0, 0, 1, 1)
    expected = gradient(to_tensor(photo), 3).abs().amax(0)
    found = torch.as_tensor(di.saliency(network, batch, target=3)[0].map).double()
    assert float((found - expected).abs().max() / expected.max()) < 1e-5


@pytest.mark.parametrize("size", [WIDE, TALL])
def test_ten_crops_are_the_mean_of_ten_of_the_original_modules(size: tuple[int, int], tmp_path: Path) -> None:
    network, (height, width) = exported(size, tmp_path), size
    rows, columns = round(1.143 * height), round(1.143 * width)
    pixels = to_tensor(noise(columns, rows))
    found = torch.as_tensor(di.saliency(network, pixels, target=3, crops="ten")[0].map).double()
    total, cover = torch.zeros(rows, columns).double(), torch.zeros(rows, columns)
    down, right = rows - height, columns - width
    for top, left in ((0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)):
        window = pixels[:, top : top + height, left : left + width]
        for flipped in (False, True):
            seen = gradient(window.flip(-1) if flipped else window, 3).abs().amax(0)
            total[top : top + height, left : left + width] += seen.flip(-1) if flipped else seen
            cover[top : top + height, left : left + width] += 1
    expected = total / cover.clamp(min=1)
    assert float((found - expected).abs().max() / expected.max()) < 1e-5


@pytest.mark.parametrize("how", ["square", "short_side_crop"])
@pytest.mark.parametrize("size", [WIDE, TALL, (1, 70), (70, 1), (24, 24)])
def test_a_photo_of_exactly_the_input_size_comes_through_bit_for_bit(size: tuple[int, int], how: str) -> None:
    photo = noise(size[1], size[0])
    fitted = fit(photo, ImageSettings(resize=how), size)  # type: ignore[arg-type]
    assert torch.equal(fitted.pixels, to_tensor(photo))
    assert fitted.view == (0, 0, 1, 1)


@pytest.mark.parametrize("whole", [(1, 1), (1, 30000), (30000, 1), (2, 9000), (9000, 2), (7, 3), (50, 16), (301, 203)])
@pytest.mark.parametrize("size", [WIDE, TALL, (1, 70), (24, 24)])
@pytest.mark.parametrize("enlarge", [1.0, 1.143])
def test_any_photo_fits_any_network_without_being_stretched(
    whole: tuple[int, int], size: tuple[int, int], enlarge: float
) -> None:
    settings = ImageSettings(resize="short_side_crop", enlarge=enlarge)
    height, width = loaded_size(settings, InputConvention(size=size))
    fitted = fit(Image.new("RGB", whole, (77, 1, 200)), settings, (height, width))
    assert fitted.pixels.shape == (3, height, width)
    assert (fitted.pixels == torch.tensor([77, 1, 200]).view(3, 1, 1)).all()
    left, top, right, bottom = fitted.view
    assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    assert (right - left) * whole[0] / ((bottom - top) * whole[1]) == pytest.approx(width / height)
    # as much is shown as can be: one side of the photo from edge to edge, and the middle of the other
    assert (left, right) == pytest.approx((0, 1)) or (top, bottom) == pytest.approx((0, 1))
    assert (left + right, top + bottom) == pytest.approx((1, 1))


def test_a_longer_short_side_shows_less_and_never_too_little() -> None:
    assert view((400, 300), WIDE, short_side=150) == (150, 134, 250, 166)
    assert view((400, 300), WIDE, short_side=16) == (0, 86, 400, 214)  # 16 pixels high it would be 21 wide, not 50


@pytest.mark.parametrize("size", [WIDE, TALL])
def test_boxes_follow_the_view(size: tuple[int, int], tmp_path: Path) -> None:
    photo = Image.new("RGB", (240, 180))
    photo.paste((255, 255, 255), (96, 72, 144, 108))
    photo.save(tmp_path / "a.png")
    (tmp_path / "boxes.txt").write_text("a.png\tn1\t96\t72\t143\t107\n")
    network = exported(size, tmp_path)
    (seen,) = di.photos(network, tmp_path / "a.png", annotations=str(tmp_path / "boxes.txt")).photos
    ((x0, y0, x1, y1),) = (seen.boxes_in_view() * torch.tensor([size[1], size[0]] * 2)).tolist()
    bright = network.input.to_pixels(seen.pixels)[0] > 127
    rows, columns = bright.any(1).nonzero(), bright.any(0).nonzero()
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert [float(edge) for edge in edges] == pytest.approx([x0, y0, x1, y1], abs=0.51)
