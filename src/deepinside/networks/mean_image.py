"""A mean for every pixel, such as Caffe's ilsvrc_2012_mean, instead of one number a channel."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]


def read_mean(path: Path) -> NDArray[np.float32]:
    """The mean in a .npy or .binaryproto file: (C, H, W), or (C,) for one number a channel.

    Raises `DeepInsideError` unless the file has finite numbers in one of these shapes.
    """
    values = _binaryproto(path) if path.suffix == ".binaryproto" else _npy(path)
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim not in (1, 3) or values.size == 0 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise DeepInsideError(
            f"{path}: a mean should be finite numbers (C, H, W) or (C,), found {values.dtype} {list(values.shape)}"
        )
    return np.ascontiguousarray(values, np.float32)


@cache
def mean_image(path: str, sha256: str | None, fit: str, own: Size, size: Size) -> "Tensor":
    """The mean image in a file for photos of `size` (H, W), (C, H, W), and a network of input size `own`.

    `crop` takes its centre, as Caffe's data layer does; for photos larger than the image, it is enlarged to their size
    first. `resize` scales it to the network's input, as Caffe's first Python classifier did. Raises `DeepInsideError`
    if the file is not the one of that hash, or does not fit.
    """
    import torch

    check_hash(Path(path), sha256)
    values = torch.from_numpy(read_mean(Path(path)))
    if values.ndim == 1:
        raise DeepInsideError(f"{path} has one number a channel, no image: write mean: {values.tolist()}")
    if fit == "crop":
        return _centre(values, path, own, size)
    if size != own:
        raise DeepInsideError(
            f"{path}: mean_fit: resize fits the mean image to the network's {_words(own)}, but photos are loaded at "
            f"{_words(size)}: set images.enlarge=1, or mean_fit: crop"
        )
    return _resized(values, size)


def check_hash(path: Path, sha256: str | None) -> None:
    """Raise `DeepInsideError` unless the file has the declared SHA-256, which a result's identity includes."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DeepInsideError(f"{path} cannot be read as a mean image: {error.strerror or error}") from None
    if sha256 is None:
        raise DeepInsideError(f"{path}: a mean image needs its hash in the YAML: write mean_sha256: {found}")
    if found != sha256:
        raise DeepInsideError(
            f"{path} should have SHA-256 {sha256}, found {found}: restore the file, or correct mean_sha256"
        )


def _centre(values: "Tensor", path: str, own: Size, size: Size) -> "Tensor":
    height, width = values.shape[1:]
    if height < own[0] or width < own[1]:
        raise DeepInsideError(
            f"{path} is a mean image of {_words((height, width))}, but the network's input of {_words(own)} needs one "
            f"at least as large: set mean_fit: resize"
        )
    factor = max(size[0] / height, size[1] / width)
    if factor > 1:
        values = _resized(values, (max(round(factor * height), size[0]), max(round(factor * width), size[1])))
        height, width = values.shape[1:]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return values[:, top : top + size[0], left : left + size[1]].contiguous()


def _resized(values: "Tensor", size: Size) -> "Tensor":
    from torch.nn.functional import interpolate

    return interpolate(values[None], size, mode="bilinear", align_corners=False)[0]


def _words(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def _npy(path: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except Exception:  # numpy's reader raises almost anything for a damaged file
        raise DeepInsideError(f"{path} cannot be read as a mean in .npy or .binaryproto: fetch it again") from None


def _binaryproto(path: Path) -> NDArray[np.float32]:
    from deepinside.networks.caffe.messages import array, read_binary

    return array(read_binary(path, "BlobProto"), what=f"{path}: the mean")
