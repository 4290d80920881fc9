"""Every odd kind of image file, against the pixels a person would see."""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from deepinside.errors import DeepInsideError
from deepinside.images.batches import all_batches
from deepinside.images.load import MAX_PIXELS, NOTES, UnreadableImage, as_displayed, decode, load_image
from deepinside.images.settings import ImageSettings
from deepinside.networks.spec import InputConvention

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image, suffix: str, **options: object) -> Path:
        path = tmp_path / f"photo{suffix}"
        image.save(path, **options)  # type: ignore[arg-type]
        return path

    return write


def levels(path: Path) -> np.ndarray:
    """(h, w, 3) of what was read."""
    return load_image(path)[0].permute(1, 2, 0).numpy()


def four() -> Image.Image:
    """Two rows of three blocks, 8 pixels each: red green blue / white black red."""
    rows = np.array([[RED, GREEN, BLUE], [WHITE, BLACK, RED]], dtype=np.uint8)
    return Image.fromarray(rows.repeat(8, axis=0).repeat(8, axis=1))


def test_plain_rgb_comes_back_with_the_hash_of_the_file(save: Save) -> None:
    path = save(four(), ".png")
    pixels, digest = load_image(path)
    assert (pixels.dtype, tuple(pixels.shape), pixels.is_contiguous()) == (torch.uint8, (3, 16, 24), True)
    assert np.array_equal(levels(path), np.asarray(four()))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_grey_has_three_equal_channels(save: Save) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = levels(save(Image.fromarray(grey), ".png"))
    assert all(np.array_equal(found[..., channel], grey) for channel in range(3))


def test_one_bit_is_black_and_white(save: Save) -> None:
    bits = np.eye(8, dtype=bool)
    assert np.array_equal(levels(save(Image.fromarray(bits), ".png"))[..., 0], bits * 255)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(save: Save, suffix: str) -> None:
    deep = np.array([[0, 127, 128, 257, 256], [25700, 32768, 40000, 65407, 65535]], dtype=np.uint16)
    expected = np.round(deep / 257).astype(int)
    assert np.array_equal(levels(save(Image.fromarray(deep), suffix))[..., 1], expected)


def test_sixteen_bit_rgb_png_is_scaled(tmp_path: Path) -> None:
    values = np.array([[[0, 32768, 65535], [257, 25700, 51400]]], dtype=">u2")
    path = tmp_path / "deep.png"
    path.write_bytes(png(2, 1, depth=16, colour=2, rows=b"\0" + values.tobytes()))
    assert np.abs(levels(path).astype(int) - values / 257).max() <= 1


def test_sixteen_bit_grey_with_a_clear_level_shows_white(tmp_path: Path) -> None:
    values = np.array([[0, 500, 65535]], dtype=">u2")
    path = tmp_path / "clear.png"
    clear = chunk(b"tRNS", struct.pack(">H", 500))
    path.write_bytes(png(3, 1, depth=16, colour=0, rows=b"\0" + values.tobytes(), before=clear))
    assert levels(path)[0, :, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_a_palette_gives_its_colours(save: Save, suffix: str) -> None:
    assert np.array_equal(levels(save(four().quantize(8), suffix)), np.asarray(four()))


def test_a_palette_with_a_clear_entry_shows_white(save: Save) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    assert levels(save(image, ".png", transparency=1)).tolist() == [[list(RED), list(WHITE)]]


def test_a_palette_with_half_clear_entries_is_blended_with_white(save: Save) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *BLACK])
    image.putpixel((1, 0), 1)
    assert levels(save(image, ".png", transparency=bytes([255, 51]))).tolist() == [[list(RED), [204, 204, 204]]]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (0, 102), (153, 153, 153)),
    ],
)
def test_alpha_is_seen_on_white(save: Save, mode: str, colour: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    found = levels(save(Image.new(mode, (3, 2), colour), ".png"))
    assert (found == np.array(expected)).all()


@pytest.mark.parametrize(
    ("inks", "expected"),
    [((0, 0, 0, 0), WHITE), ((0, 255, 255, 0), RED), ((255, 255, 0, 0), BLUE), ((0, 0, 0, 255), BLACK)],
)
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_inks_darken(
    save: Save, suffix: str, inks: tuple[int, int, int, int], expected: tuple[int, int, int]
) -> None:
    found = levels(save(Image.new("CMYK", (8, 8), inks), suffix)).astype(int)
    assert np.abs(found - np.array(expected)).max() <= 2


def test_the_inverted_cmyk_that_adobe_writes_is_put_right(save: Save) -> None:
    path = save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), ".jpg")
    data = path.read_bytes()
    if b"Adobe" not in data:
        adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
        path.write_bytes(data[:2] + adobe + data[2:])
    assert np.abs(levels(path).astype(int) - np.array(RED)).max() <= 2


ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_exif_turns_the_photo_upright(save: Save, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    found = levels(save(four(), suffix, exif=exif, **options)).astype(int)
    expected = ORIENTED[orientation](np.asarray(four()).astype(int))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= (4 if suffix == ".jpg" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(save: Save, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(levels(save(four(), ".png", exif=exif)), np.asarray(four()))


def test_broken_exif_does_not_cost_the_photo(save: Save) -> None:
    path = save(four(), ".jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=100, subsampling=0)
    assert np.abs(levels(path).astype(int) - np.asarray(four())).max() <= 4


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animation_shows_its_first_frame(save: Save, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if suffix == ".webp" else {}
    path = save(frames[0], suffix, save_all=True, append_images=frames[1:], duration=40, **options)
    with Image.open(path) as animation:
        assert animation.n_frames == 3  # type: ignore[attr-defined]
    assert (levels(path) == np.array(RED)).all()


def test_a_colour_profile_is_applied(save: Save) -> None:
    """Red in a space whose red and green are exchanged is green."""
    primaries = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(primaries)
    red, green = tag_at(primaries, b"rXYZ"), tag_at(primaries, b"gXYZ")
    swapped[red], swapped[green] = primaries[green], primaries[red]
    path = save(Image.new("RGB", (4, 4), RED), ".png", icc_profile=renamed(bytes(swapped)))
    assert np.abs(levels(path).astype(int) - np.array(GREEN)).max() <= 2


def test_srgb_is_left_exactly_alone(save: Save) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(levels(save(Image.fromarray(noise), ".png", icc_profile=profile)), noise)


@pytest.mark.parametrize("profile", [b"rubbish", b"\0" * 200])
def test_a_broken_profile_does_not_cost_the_photo(save: Save, profile: bytes) -> None:
    assert np.array_equal(levels(save(four(), ".png", icc_profile=profile)), np.asarray(four()))


def test_a_profile_for_another_kind_of_colour_is_ignored(save: Save) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(levels(save(four(), ".png", icc_profile=lab)), np.asarray(four()))


def refused(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        load_image(path)
    assert isinstance(caught.value, DeepInsideError)
    assert str(path) in str(caught.value)
    assert caught.value.reason in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_cut_short_is_refused(save: Save, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(Image.fromarray(noise), suffix)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert refused(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"these are no pixels\n" * 50, "not a complete image in a known format"),
        (b"\xff\xd8\xff\xe0", "not a complete image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a complete image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert reason in refused(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nowhere.jpg")
    assert "not a file" in refused(tmp_path)


@pytest.mark.parametrize("side", [30_000, 12_000, 11_400])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, depth=8, colour=2, rows=b""))
    assert str(MAX_PIXELS) in refused(path)


def test_a_photo_above_the_size_that_pillow_warns_of_is_read_in_silence(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(four(), ".png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 24 - 1)
    with pytest.warns(Image.DecompressionBombWarning), Image.open(path):
        pass
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert np.array_equal(levels(path), np.asarray(four()))
    assert not caught


def test_pixels_without_a_known_range_are_refused(save: Save) -> None:
    assert "floating-point" in refused(save(Image.new("F", (4, 4), 0.5), ".tif"))
    assert "32-bit" in refused(save(Image.new("I", (4, 4), 70_000), ".tif"))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int, colour: int, rows: bytes, before: bytes = b"") -> bytes:
    """A PNG by hand: `rows` as the format has them, each after a filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tag_at(profile: bytes, name: bytes) -> slice:
    """Where the data of a tag of an ICC profile lie: a count at byte 128, then name, offset and size of each."""
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * index) for index in range(count))
    offset, size = next((offset, size) for tag, offset, size in entries if tag == name)
    return slice(offset, offset + size)


def renamed(profile: bytes) -> bytes:
    """The same profile under a description that does not say sRGB."""
    where = tag_at(profile, b"desc")
    described = profile[where].replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")
    return profile[: where.start] + described + profile[where.stop :]


def test_the_hand_written_png_is_a_png() -> None:
    data = png(2, 1, depth=8, colour=2, rows=b"\0" + bytes([*RED, *BLUE]))
    assert np.asarray(Image.open(io.BytesIO(data))).tolist() == [[list(RED), list(BLUE)]]


# ---- twelve bits in sixteen ------------------------------------------------------------------------------------------

TWELVE = np.arange(0, 4095, 13, dtype=np.uint16).reshape(3, 105)


def significant(data: bytes, bits: int) -> bytes:
    """A PNG that says how many of its bits are significant."""
    body = b"sBIT" + bytes([bits])
    return data[:33] + b"\0\0\0\1" + body + zlib.crc32(body).to_bytes(4, "big") + data[33:]


def deep(levels: NDArray[np.uint16], kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(levels).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "low", "high", "said"),
    [
        (significant(deep(TWELVE, "PNG"), 12), 0, 4095, "from 0 to 4095, the range in its 12 significant bits"),
        (deep(TWELVE, "TIFF", tiffinfo={281: 4095}), 0, 4095, "largest sample value"),
        (deep(TWELVE + 100, "TIFF", tiffinfo={280: 100, 281: 4195}), 100, 4195, "from 100 to 4195"),
        (deep(TWELVE, "TIFF", description="ImageJ=1.53\nmin=0.0\nmax=4095.0\n"), 0, 4095, "ImageJ description"),
        (deep(TWELVE, "TIFF"), 0, 65535, "its largest intensity is 4082 of 65535 and it declares no other range"),
        (deep(TWELVE, "PNG"), 0, 65535, "it is shown dark"),
        (significant(deep(TWELVE * 16, "PNG"), 12), 0, 65535, ""),  # scaled up already, as the PNG standard asks
        (deep(TWELVE * 16, "TIFF", tiffinfo={281: 4095}), 0, 65535, ""),
    ],
)
def test_levels_are_stretched_from_the_range_that_the_file_tells(data: bytes, low: int, high: int, said: str) -> None:
    image, _ = decode(data, Path("a"))
    stored = TWELVE.astype(np.int64) * (16 if not said else 1) + low
    expected = np.round((stored - low) * 255 / (high - low))
    assert np.abs(np.asarray(image)[..., 0] - expected).max() <= (0 if high == 65535 else 1)
    assert np.asarray(image)[..., 0].max() == expected.max()
    assert [said in note for note in image.info.get(NOTES, ())] == ([True] if said else [])


COLOURS = np.stack([TWELVE, TWELVE[::-1], TWELVE[:, ::-1]], -1)


def colour_png(levels: NDArray[np.uint16], bits: int | None = None) -> bytes:
    """A PNG of 16 bits per channel: RGB, RGBA or, of two channels, grey with alpha."""
    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    data = png(width, height, depth=16, colour={2: 4, 3: 2, 4: 6}[channels], rows=rows)
    return data if bits is None else significant(data, bits)


def colour_tiff(levels: NDArray[np.uint16], **options: object) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out, byteorder=options.pop("byteorder", "<")) as writer:  # type: ignore[arg-type]
        writer.write(levels, photometric="rgb", **options)  # type: ignore[arg-type]
    return out.getvalue()


def largest(level: int) -> dict[str, object]:
    return {"extratags": [(281, "H", 3, (level,) * 3)]}


@pytest.mark.parametrize(
    ("data", "high", "said"),
    [
        (colour_png(COLOURS, 12), 4095, "from 0 to 4095, the range in its 12 significant bits"),
        (colour_png(COLOURS), 65535, "its largest intensity is 4082 of 65535 and it declares no other range"),
        (colour_tiff(COLOURS, **largest(4095)), 4095, "from 0 to 4095, the range in its largest sample value"),
        (colour_tiff(COLOURS, byteorder=">", **largest(4095)), 4095, "largest sample value"),
        (colour_tiff(COLOURS, compression="deflate", predictor=True, **largest(4095)), 4095, "largest sample value"),
        (colour_tiff(COLOURS, compression="deflate", **largest(4095), byteorder=">"), 4095, "largest sample value"),
        (colour_tiff(COLOURS, tile=(16, 16)), 65535, "it is shown dark"),
    ],
)
@pytest.mark.parametrize("in_memory", [False, True])
def test_twelve_bit_colours_are_stretched_too(data: bytes, high: int, said: str, in_memory: bool) -> None:
    opened = Image.open(io.BytesIO(data))
    for image in (as_displayed(opened), as_displayed(opened)) if in_memory else (decode(data, Path("a"))[0],):
        assert np.array_equal(np.asarray(image), np.round(COLOURS * (255 / high)))
        (note,) = image.info[NOTES]
        assert said in note


def test_sixteen_bit_colours_have_no_note() -> None:
    for levels in (COLOURS * 16, np.concatenate([COLOURS * 16, np.full((3, 105, 1), 65535)], -1).astype(np.uint16)):
        image, _ = decode(colour_png(levels), Path("a"))
        assert np.array_equal(np.asarray(image), np.round(COLOURS * 16 / 257))
        assert not image.info.get(NOTES)


def test_twelve_bit_colours_with_alpha_are_stretched_below_it() -> None:
    clear = np.zeros((3, 105, 1), np.uint16)
    clear[:, 50:] = 65535
    image, _ = decode(colour_png(np.concatenate([COLOURS, clear], -1), 12), Path("a"))
    assert (np.asarray(image)[:, :50] == 255).all()
    assert np.array_equal(np.asarray(image)[:, 50:], np.round(COLOURS[:, 50:] * (255 / 4095)))


def test_twelve_bit_grey_with_alpha_is_said_to_be_dark() -> None:
    image, _ = decode(colour_png(np.stack([TWELVE, np.full_like(TWELVE, 65535)], -1)), Path("a"))
    (note,) = image.info[NOTES]
    assert "it is shown dark" in note


def test_channels_stored_by_themselves_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="save it with interleaved channels"):
        decode(colour_tiff(COLOURS.transpose(2, 0, 1), planarconfig="separate"), Path("a"))


def test_zero_is_white_where_a_tiff_says_so() -> None:
    image, _ = decode(deep(TWELVE, "TIFF", tiffinfo={281: 4095, 262: 0}), Path("a"))
    assert np.asarray(image)[0, 0, 0] == 255 and np.asarray(image)[-1, -1, 0] == 1


def test_what_was_taken_for_the_range_is_noted_at_the_photo(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(deep(TWELVE, "TIFF", tiffinfo={281: 4095}))
    settings = ImageSettings(root=str(tmp_path))
    ((loaded,),) = ([each.batch for each in all_batches(settings, InputConvention(size=(3, 105)))],)
    assert loaded is not None
    (note,) = loaded.photos[0].notes
    assert note == "scan.tif: its intensities are shown from 0 to 4095, the range in its largest sample value."
