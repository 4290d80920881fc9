"""Caffe's files to the files of a network here: ONNX, YAML and, if there is a mean image, .npy."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.graph import CaffeNetwork, read_network
from deepinside.networks.draft import CAFFE, Draft, Known, draft, write
from deepinside.networks.mean_image import read_mean
from deepinside.networks.onnx.guard import one_sentence

MeanFit = Literal["crop", "resize", "channels"]
SURE = frozenset(("size", "channels", "scale", "std"))
"""Caffe's convention: OpenCV's order of channels, intensities 0–255."""


@dataclass(frozen=True)
class Mean:
    """A mean from a file or a prototxt: one number a channel, or `image` (C, H, W) with its fit; `note` if neither."""

    numbers: tuple[float, ...] = ()
    image: NDArray[np.float32] | None = None
    note: str = ""


def convert(
    prototxt: Path, caffemodel: Path, folder: Path, *, name: str | None = None, mean: str | None = None,
    mean_fit: MeanFit = "crop", labels: str | None = None,
) -> tuple[Draft, list[Path]]:  # fmt: skip
    """Write a Caffe network to `folder` as NAME.onnx and NAME.yaml, verified as a run does; what was found, the files.

    `mean` is a .binaryproto or .npy file, or numbers such as "104,117,123"; without it the prototxt's `mean_value` is
    taken. A mean image is written to NAME_mean.npy; with `mean_fit` "channels" only its average by channel is used.

    Raises `DeepInsideError`, one sentence, if a file is damaged, something in it is not supported, the network does not
    verify, or a file to write exists.
    """
    name = name or re.sub(r"[^A-Za-z0-9_-]+", "_", caffemodel.stem)
    files = [folder / f"{name}.onnx", folder / f"{name}_mean.npy", folder / f"{name}.yaml"]
    for path in files:
        if path.exists():
            raise DeepInsideError(f"{path} exists already and is not overwritten: choose another --name")
    with one_sentence(str(prototxt)):
        network = read_network(prototxt, caffemodel)
    found = find_mean(network, mean, mean_fit)
    return written(network, found, files, name, mean_fit, labels, source_of(prototxt, caffemodel))


def find_mean(network: CaffeNetwork, mean: str | None, fit: MeanFit) -> Mean:
    """The mean that was given, else the prototxt's; else none, with a note on what to do."""
    channels, *size = sizes(network)
    if mean is not None and re.fullmatch(r"\s*[-+\d.]+(\s*,\s*[-+\d.]+)*\s*", mean):
        return Mean(_of_channels([float(number) for number in mean.split(",")], channels, "--mean"))
    if mean is not None:
        values = read_mean(Path(mean))
        if values.ndim == 3 and fit != "channels":
            return Mean(image=_checked(values, channels, (size[0], size[1]), fit, mean))
        numbers = values.mean((1, 2), dtype=np.float64) if values.ndim == 3 else values
        return Mean(_of_channels(numbers.tolist(), channels, mean))
    if network.mean:
        return Mean(_of_channels(list(network.mean), channels, "mean_value"))
    named = f", and the prototxt names {network.mean_file}" if network.mean_file else ""
    return Mean(note=f"No mean was given{named}: the YAML has a usual one, marked CHECK. Give --mean to state it.")


def _of_channels(numbers: list[float], channels: int, what: str) -> tuple[float, ...]:
    numbers = numbers * channels if len(numbers) == 1 else numbers
    if len(numbers) != channels:
        raise DeepInsideError(f"{what} has {len(numbers)} numbers, but the network takes {channels} channels")
    return tuple(numbers)


def _checked(
    values: NDArray[np.float32], channels: int, size: tuple[int, int], fit: MeanFit, file: str
) -> NDArray[np.float32]:
    too_small = fit == "crop" and (values.shape[1] < size[0] or values.shape[2] < size[1])
    if len(values) != channels or too_small:
        raise DeepInsideError(
            f"{file} is a mean image of {'×'.join(map(str, values.shape))}, but the network takes "
            f"{channels}×{size[0]}×{size[1]}: give its own mean, or --mean-fit resize or channels"
        )
    return values


def written(
    network: CaffeNetwork, mean: Mean, files: list[Path], name: str, fit: MeanFit, labels: str | None, source: str
) -> tuple[Draft, list[Path]]:
    """Write the files, the YAML last; none is left if the network does not verify."""
    model_file, mean_file, yaml_file = files
    done: list[Path] = []
    try:
        model_file.parent.mkdir(parents=True, exist_ok=True)
        for path, data in contents(network, mean, model_file, mean_file):
            done.append(path)
            path.write_bytes(data)
        known = Known(
            declaration(network, mean, mean_file, fit, source),
            sure_of(mean),
            f"Converted from {source.partition(' of ')[0]}.",
        )
        found = draft(model_file, name=name, labels=labels, tried=True, known=known)
        if found.refused:
            raise DeepInsideError(found.refused)
        found = replace(found, notes=(*network.notes, *found.notes, *([mean.note] if mean.note else [])))
        return found, [*done, write(found, yaml_file.parent)]
    except BaseException as error:
        for path in done:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DeepInsideError(f"{model_file.parent} cannot be written to: {error.strerror or error}") from None
        raise


def contents(network: CaffeNetwork, mean: Mean, model_file: Path, mean_file: Path) -> Iterator[tuple[Path, bytes]]:
    yield model_file, network.model.SerializeToString(deterministic=True)
    if mean.image is not None:
        yield mean_file, npy(mean.image)


def npy(values: NDArray[np.float32]) -> bytes:
    from io import BytesIO

    stream = BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def declaration(network: CaffeNetwork, mean: Mean, mean_file: Path, fit: MeanFit, source: str) -> dict[str, Any]:
    """The keys of the network's declaration that Caffe's files or conventions determine."""
    channels, *size = sizes(network)
    usual = CAFFE["mean"] if channels == 3 else (0.0,)
    taken: dict[str, Any] = {
        "size": size,
        "channels": "bgr" if channels == 3 else "grey",
        "scale": 1.0,
        "mean": mean.numbers or usual,
        "std": [1 / network.scale] * channels,  # Caffe multiplies by its scale after the mean is subtracted
    }
    if mean.image is not None:
        digest = hashlib.sha256(npy(mean.image)).hexdigest()
        taken |= {"mean": mean_file.name, "mean_fit": fit, "mean_sha256": digest}
    aliases = dict(network.aliases)
    return {"title": network.name, "input": taken, "layers": dict(network.layers), "aliases": aliases, "source": source}


def sure_of(mean: Mean) -> frozenset[str]:
    return SURE if mean.note else SURE | {"mean"}


def sizes(network: CaffeNetwork) -> tuple[int, int, int]:
    """The input's channels, height and width."""
    _, channels, height, width = (dim.dim_value for dim in network.model.graph.input[0].type.tensor_type.shape.dim)
    return channels, height, width


def source_of(prototxt: Path, caffemodel: Path) -> str:
    digest = hashlib.sha256(caffemodel.read_bytes()).hexdigest()
    return f"{prototxt.name} and {caffemodel.name} of SHA-256 {digest}"
