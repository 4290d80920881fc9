"""Decodes one image file as viewers show it: upright, in sRGB, eight bits per channel, transparency on white."""

import hashlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from torch import Tensor

MAX_PIXELS = 128_000_000
"""The largest number of pixels that is decoded: enough for a 120-megapixel camera, below 0.5 GB in memory."""
MAX_BYTES = 1 << 30
"""The largest file that is read."""
ENOUGH = 4
"""A JPEG of at least twice this many times the requested size is decoded at 1/2, 1/4 or 1/8 of its own size. That is
five times as fast and as close to the exact mean over each new pixel's area as downscaling the full image: on photos of
12 megapixels both differed from it by at most 3 intensities, by 0.2 on average."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000", "QOI")
"""The formats that are read; Pillow's others either run other programs or accept almost any bytes."""

LOG = logging.getLogger(__name__)
ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ROTATED = range(5, 9)
"""The EXIF orientations that swap width and height."""
PROFILE_OF_MODE = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
NOTES = "deepinside_notes"
"""The key in an image's `info` under which `as_displayed` notes the intensity range it assumed."""
LOWER = "lower_bytes"
"""The key in an image's `info` of the lower bytes of a photo with 16 bits per channel, of which Pillow keeps the upper;
None if they cannot be read."""
DEEP = re.compile(r"(RGB[AX]?;16)([BLN])")
"""Pillow's raw modes of such photos, with the order of their bytes."""
SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
BITS, WHITE_IS_ZERO, IMAGEJ, PLANES = 258, 262, 270, 284
LOWEST, HIGHEST = (280, 340), (281, 341)
"""TIFF's tags: bits per sample, photometric interpretation, description, planar configuration, smallest and largest
sample value."""
PILLOW = re.compile(r"PIL\.")


class UnreadableImage(DeepInsideError):  # noqa: N818 - reads better in a sentence
    """A file that cannot be read as an image; `reason` says why without naming the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an image: {reason}.")
        self.reason = reason


def load_image(path: Path) -> "tuple[Tensor, str]":
    """The file's pixels, (3, h, w) uint8 RGB as viewers show them, and the SHA-256 of its bytes.

    Raises UnreadableImage for a file that is no complete image, or has more than `MAX_PIXELS` pixels.
    """
    data = file_bytes(path)
    return to_tensor(decode(data, path)[0]), hashlib.sha256(data).hexdigest()


def decode(data: bytes, path: Path, *, needed: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """A file's bytes as a Pillow image of mode RGB, and the upright photo's full width and height.

    With `needed`, the length to which the shorter side will be downscaled, the image may be smaller than the full size;
    see `ENOUGH`. Raises UnreadableImage as `load_image` does.
    """
    _silence_pillow()
    try:
        return _decode(data, needed)
    except UnidentifiedImageError:
        raise UnreadableImage(path, f"it is not a complete image in a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(path, f"its header declares more than {MAX_PIXELS} pixels, the limit") from None
    except Exception as error:  # decoders raise almost anything for a damaged file
        raise UnreadableImage(path, _one_line(error)) from None


def as_displayed(image: Image.Image) -> Image.Image:
    """A Pillow image of any mode as one of mode RGB: in sRGB, eight bits per channel, on white, upright."""
    _keep_depth(image)
    colours, alpha = _split(image)
    upright = _turn(_on_white(_to_srgb(colours, image.info.get("icc_profile")), alpha), _orientation(image))
    if notes := colours.info.get(NOTES):
        upright.info[NOTES] = notes
    return upright


def to_tensor(image: Image.Image) -> "Tensor":
    """(3, h, w) uint8 of a Pillow image of mode RGB."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def file_bytes(path: Path) -> bytes:
    """The file's bytes; raises UnreadableImage if it is no file, empty or larger than `MAX_BYTES`."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise UnreadableImage(path, "it is not a file")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableImage(path, f"it has {size} bytes, more than the limit of {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(path, error.strerror or str(error)) from None
    if not data:
        raise UnreadableImage(path, "it is empty (0 bytes)")
    return data


def _silence_pillow() -> None:
    """Ignore Pillow's warnings about unusual files: real problems raise an error.

    Adding a filter is thread-safe; `warnings.catch_warnings` is not.
    """
    if not any(action == "ignore" and module == PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _register_formats() -> None:
    """Register `FORMATS` with Pillow; `Image.init` would import forty more, which takes 0.1 s."""
    from PIL import AvifImagePlugin, Jpeg2KImagePlugin, QoiImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()


def _decode(data: bytes, needed: int | None) -> tuple[Image.Image, tuple[int, int]]:
    _register_formats()
    with Image.open(BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"its header declares {width}×{height} pixels, more than the limit of {MAX_PIXELS}")
        if needed is not None:
            image.draft(None, (ENOUGH * needed, ENOUGH * needed))  # has an effect on JPEG only
        _keep_depth(image)
        image.load()
        rotated = _orientation(image) in ROTATED
        return as_displayed(image), (height, width) if rotated else (width, height)


def _keep_depth(image: Image.Image) -> None:
    """Keep in `info` what Pillow drops when it loads an image of 16 bits per channel: the lower bytes, and a PNG's
    significant bits."""
    tiles = getattr(image, "tile", None) or []
    modes = [tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in tiles]
    if _tag(image, PLANES) == 2 and _tag(image, BITS) == 16 and not all(";16" in mode for mode in modes):
        raise ValueError("it has 16 bits per channel, each channel stored by itself; save it with interleaved channels")
    if any(";16" in mode for mode in modes):
        data = _bytes_of(image)
        image.info["significant_bits"] = _significant_bits(data) if image.format == "PNG" else None
        image.info[LOWER] = _lower_bytes(data) if all(DEEP.fullmatch(mode) for mode in modes) else None


def _bytes_of(image: Image.Image) -> bytes:
    """The file's bytes of an image that is not loaded yet."""
    stream = image.fp  # type: ignore[attr-defined]
    place = stream.tell()
    stream.seek(0)
    data: bytes = stream.read()
    stream.seek(place)
    return data


def _lower_bytes(data: bytes) -> Image.Image:
    """An image with the lower byte of every channel: the one that Pillow reads for the other byte order."""
    image = Image.open(BytesIO(data))
    for place, tile in enumerate(image.tile):
        mode, *others = [tile.args] if isinstance(tile.args, str) else tile.args or [""]
        mode = DEEP.sub(lambda found: found[1] + SWAPPED[found[2]], mode)
        image.tile[place] = tile._replace(args=(mode, *others) if others else mode)
    image.load()
    return image


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Eight-bit colours in a mode that a colour profile can apply to, and the alpha channel if there is one."""
    if image.mode.startswith("I"):
        return _split_deep(image)
    colours, alpha = image.convert("RGB") if image.mode in {"1", "P"} else image, None
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        colours, alpha = rgba.convert("RGB"), rgba.getchannel("A")
    return (_deep_colours(image, colours) if LOWER in image.info else colours), alpha


def _deep_colours(image: Image.Image, colours: Image.Image) -> Image.Image:
    """The colours of an image with 16 bits per channel as 8 bits, in the range that the file declares.

    Grey with an alpha channel has only its upper bytes.
    """
    lower, upper = image.info[LOWER], np.asarray(colours).astype(np.uint16)
    return _as_bytes(image, upper << 8 | (0 if lower is None else np.asarray(lower.convert("RGB"))))


def _as_bytes(image: Image.Image, levels: np.ndarray) -> Image.Image:
    """16-bit `levels` as an image of 8 bits: divided by 257, or stretched from the range that the file declares."""
    low, high, note = _range(image, int(levels.max()))
    span = high - low
    table = ((np.arange(1 << 16).clip(low, high) - low) * 255 + span // 2) // span
    found = Image.fromarray(table.astype(np.uint8)[levels])
    found.info[NOTES] = (note,) if note else ()
    return found


def _split_deep(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """16-bit grey as 8 bits, which Pillow's own conversion would clip at 255, and the alpha channel if there is one."""
    if image.mode == "I" and image.format not in {"PNG", "PPM"}:
        raise ValueError("it has 32-bit whole-number pixels, whose range is not known; save it with 8 or 16 bits")
    levels = np.asarray(image).astype(np.uint16)
    clear = image.info.get("transparency")
    alpha = Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)) if isinstance(clear, int) else None
    grey = _as_bytes(image, levels)
    if _tag(image, WHITE_IS_ZERO) != 0:
        return grey, alpha
    positive = ImageOps.invert(grey)
    positive.info[NOTES] = grey.info[NOTES]
    return positive, alpha


def _range(image: Image.Image, brightest: int) -> tuple[int, int, str]:
    """The 16-bit intensities of black and white, and a note about them; a declared range that the brightest pixel
    exceeds is ignored."""
    for low, high, source in _declared_ranges(image):
        if 0 <= low < high < 65535 and low < brightest <= high:
            return low, high, f"its intensities are shown from {low} to {high}, the range in its {source}"
    if brightest < 4096:
        note = f"its largest intensity is {brightest} of 65535 and it declares no other range: it is shown dark"
        return 0, 65535, note
    return 0, 65535, ""


def _declared_ranges(image: Image.Image) -> Iterator[tuple[int, int, str]]:
    bits = _tag(image, BITS) or image.info.get("significant_bits")
    lowest = next((level for tag in LOWEST if (level := _tag(image, tag)) is not None), 0)
    highest = next((level for tag in HIGHEST if (level := _tag(image, tag)) is not None), None)
    if highest is not None:
        yield lowest, highest, "largest sample value"
    text = str(getattr(image, "tag_v2", {}).get(IMAGEJ, ""))
    described = dict(re.findall(r"^(ImageJ|min|max)=(\d+)", text, re.MULTILINE))
    if {"ImageJ", "min", "max"} <= described.keys():
        yield int(described["min"]), int(described["max"]), "ImageJ description"
    if bits and bits < 16:
        yield 0, (1 << bits) - 1, f"{bits} significant bits"


def _tag(image: Image.Image, number: int) -> int | None:
    """The first value of a numeric TIFF tag; None if there is none."""
    found = getattr(image, "tag_v2", {}).get(number)
    found = found[0] if isinstance(found, tuple) and found else found
    return int(found) if isinstance(found, int | float) else None


def _significant_bits(data: bytes) -> int | None:
    """The first channel's significant bits from a PNG's sBIT chunk, which comes before the pixels."""
    place = data.find(b"sBIT", 0, max(data.find(b"IDAT"), 0))
    return data[place + 4] if place > 0 else None


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "F":
        raise ValueError("it has floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    if profile:
        try:
            return _apply_profile(image, profile)
        except Exception as error:  # a broken profile must not make the photo unreadable
            LOG.debug("colour profile ignored: %s", _one_line(error))
    return image if image.mode == "RGB" else image.convert("RGB")


def _apply_profile(image: Image.Image, data: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if space != PROFILE_OF_MODE.get(image.mode):
        raise ValueError(f"a profile for {space} on an image of mode {image.mode}")
    if "sRGB" in (profile.profile.profile_description or ""):
        return image.convert("RGB")  # the usual case: no conversion, so no rounding
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if converted is None:
        raise ValueError("the profile gave no image")
    return converted


def _on_white(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    return image if alpha is None else Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF must not make the photo unreadable
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
