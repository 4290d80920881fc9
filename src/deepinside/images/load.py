"""One image file, read as a person sees it: upright, in sRGB, eight bits a channel, on white where it is clear."""

import hashlib
import logging
import re
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
"""The most pixels that are decoded: more than any 120-megapixel camera gives, below half a gigabyte in memory."""
MAX_BYTES = 1 << 30
"""The largest file that is read."""
ENOUGH = 4
"""A JPEG of at least twice this many times the size asked for is decoded at half, a quarter or an eighth of its own:
five times as quick, and no further from the exact mean over each new pixel's area than shrinking the whole is; on
photos of 12 megapixels both differed from it by three levels at most, by a fifth of one in the mean."""
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000", "QOI")
"""The kinds of file that are read; Pillow's others either run other programs or recognise almost any bytes."""

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
LYING = range(5, 9)
"""The orientations that exchange width and height."""
PROFILE_OF_MODE = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
NOTES = "deepinside_notes"
"""Where `as_seen` says in an image's `info` what it took for its range."""
BITS, WHITE_IS_ZERO, IMAGEJ = 258, 262, 270
LOWEST, HIGHEST = (280, 340), (281, 341)
"""TIFF's tags: bits of a sample, what zero means, the description, the smallest and largest level."""
PILLOW = re.compile(r"PIL\.")


class UnreadableImage(DeepInsideError):  # noqa: N818 - reads better in a sentence
    """A file that cannot be read as an image; `reason` says why without naming the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an image: {reason}.")
        self.reason = reason


def load_image(path: Path) -> "tuple[Tensor, str]":
    """The file's pixels, (3, h, w) uint8 RGB as a person sees them, and the SHA-256 of its bytes.

    Raises UnreadableImage for anything that is no whole image, or one of more than `MAX_PIXELS` pixels.
    """
    data = file_bytes(path)
    return to_tensor(decode(data, path)[0]), hashlib.sha256(data).hexdigest()


def decode(data: bytes, path: Path, *, needed: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """A file's bytes as a Pillow image of mode RGB, and the width and height that the file has for a person.

    With `needed`, the length of the shorter side that it will be shrunk to, the image may be smaller than the file
    says; see `ENOUGH`. Raises UnreadableImage as `load_image` does.
    """
    _silence_pillow()
    try:
        return _decode(data, needed)
    except UnidentifiedImageError:
        raise UnreadableImage(path, f"it is not a whole image of a kind known here ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(path, f"its header declares more than {MAX_PIXELS} pixels, the limit") from None
    except Exception as error:  # a damaged file makes the decoders raise almost anything
        raise UnreadableImage(path, _one_line(error)) from None


def as_seen(image: Image.Image) -> Image.Image:
    """A Pillow image of any mode as one of mode RGB: in sRGB, eight bits a channel, on white, upright."""
    colours, alpha = _split(image)
    seen = _turn(_on_white(_to_srgb(colours, image.info.get("icc_profile")), alpha), _orientation(image))
    if notes := colours.info.get(NOTES):
        seen.info[NOTES] = notes
    return seen


def to_tensor(image: Image.Image) -> "Tensor":
    """(3, h, w) uint8 of a Pillow image of mode RGB."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def file_bytes(path: Path) -> bytes:
    """Raises UnreadableImage for what is no file, an empty one, and one of more than `MAX_BYTES`."""
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
    """Ignore Pillow's warnings about odd files: what matters is raised, and the rest is none of the user's business.

    Adding one filter is safe in threads; `warnings.catch_warnings` is not.
    """
    if not any(action == "ignore" and module == PILLOW for action, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW.pattern)


def _decode(data: bytes, needed: int | None) -> tuple[Image.Image, tuple[int, int]]:
    Image.init()
    with Image.open(BytesIO(data), formats=[kind for kind in FORMATS if kind in Image.OPEN]) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"its header declares {width}×{height} pixels, more than the limit of {MAX_PIXELS}")
        if needed is not None:
            image.draft(None, (ENOUGH * needed, ENOUGH * needed))  # for kinds other than JPEG this does nothing
        image.info["significant_bits"] = _significant_bits(data) if image.format == "PNG" else None
        image.load()
        lies = _orientation(image) in LYING
        return as_seen(image), (height, width) if lies else (width, height)


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Eight-bit colours, in a mode that a colour profile may belong to, and the alpha channel where there is one."""
    if image.mode.startswith("I"):
        return _split_deep(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    return (image.convert("RGB") if image.mode in {"1", "P"} else image), None


def _split_deep(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Sixteen-bit grey as eight bits, where Pillow's own conversion would clip at 255: divided by 257, or stretched
    from the range that the file says its levels have, as 12-bit data of a scanner does."""
    if image.mode == "I" and image.format not in {"PNG", "PPM"}:
        raise ValueError("it has 32-bit whole-number pixels, whose range is not known; save it with 8 or 16 bits")
    levels = np.asarray(image).astype(np.uint32)
    clear = image.info.get("transparency")
    alpha = Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)) if isinstance(clear, int) else None
    low, high, note = _range(image, int(levels.max()))
    span = high - low
    grey = Image.fromarray((((levels.clip(low, high) - low) * 255 + span // 2) // span).astype(np.uint8))
    seen = ImageOps.invert(grey) if _tag(image, WHITE_IS_ZERO) == 0 else grey
    seen.info[NOTES] = (note,) if note else ()
    return seen, alpha


def _range(image: Image.Image, brightest: int) -> tuple[int, int, str]:
    """The levels of sixteen that are black and white, and what to say of it; a file that is brighter than the range it
    tells does not mean its levels by it."""
    for low, high, source in _told_ranges(image):
        if 0 <= low < high < 65535 and low < brightest <= high:
            return low, high, f"its levels are shown from {low} to {high}, the range told by its {source}"
    if brightest < 4096:
        return 0, 65535, f"its brightest level is {brightest} of 65535 and it tells no other range: it is shown dark"
    return 0, 65535, ""


def _told_ranges(image: Image.Image) -> Iterator[tuple[int, int, str]]:
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
    """The first value of a TIFF tag that is a whole number; None where there is none."""
    found = getattr(image, "tag_v2", {}).get(number)
    found = found[0] if isinstance(found, tuple) and found else found
    return int(found) if isinstance(found, int | float) else None


def _significant_bits(data: bytes) -> int | None:
    """What a PNG's sBIT chunk says of its first channel; it stands before the pixels."""
    place = data.find(b"sBIT", 0, max(data.find(b"IDAT"), 0))
    return data[place + 4] if place > 0 else None


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "F":
        raise ValueError("it has floating-point pixels, whose range is not known; save it with 8 or 16 bits")
    if profile:
        try:
            return _apply_profile(image, profile)
        except Exception as error:  # a broken profile must not cost the photo
            LOG.debug("colour profile ignored: %s", _one_line(error))
    return image if image.mode == "RGB" else image.convert("RGB")


def _apply_profile(image: Image.Image, data: bytes) -> Image.Image:
    profile = ImageCms.ImageCmsProfile(BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if space != PROFILE_OF_MODE.get(image.mode):
        raise ValueError(f"a profile for {space} on an image of mode {image.mode}")
    if "sRGB" in (profile.profile.profile_description or ""):
        return image.convert("RGB")  # the usual case: nothing to do, so nothing to round
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    if converted is None:
        raise ValueError("the profile gave no image")
    return converted


def _on_white(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    return image if alpha is None else Image.composite(image, Image.new("RGB", image.size, "white"), alpha)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF must not cost the photo
        return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
