"""Drafts a network's YAML from its ONNX file, with marked guesses for what ONNX files do not store."""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from onnx import ModelProto

from deepinside.errors import DeepInsideError
from deepinside.networks.onnx.graph import prepare_graph, read
from deepinside.networks.onnx.guard import one_sentence
from deepinside.networks.onnx.plain import TO_CHANNELS_FIRST, channels_last, sizes_of
from deepinside.networks.onnx.target import target_of
from deepinside.networks.spec import Layer, NetworkSpec, conf_models, make_spec

USUAL_SIZE = 224  # if height and width are dynamic in the file
CAFFE = {"channels": "bgr", "scale": 1.0, "mean": (104.0, 117.0, 123.0)}
IMAGENET = {"channels": "rgb", "scale": 255.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
GREY = {"channels": "grey", "scale": 255.0, "mean": (0.0,), "std": (1.0,)}
CHECK = {
    "size": "dynamic in the file",
    "channels": "rgb, bgr or grey, the order in which the network was trained",
    "scale": "intensities in one unit of the input: 1 for intensities 0–255, 255 for 0–1",
    "mean": "subtracted after that, in the order of channels",
    "std": "divided by after that",
    "labels": "the stem of a file in labels/, one class per line in the order of the scores",
    "licence": "of the weights",
    "source": "the paper, or where the file comes from",
}
CONVENTION = ("size", "channels", "scale", "mean", "std")


@dataclass(frozen=True)
class Known:
    """What is known of a network in addition to its ONNX file: keys of its declaration, and what of them is no guess.

    `origin` is the YAML's first line.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    sure: frozenset[str] = frozenset()
    origin: str = ""


@dataclass(frozen=True)
class Draft:
    """A network as read from its file.

    `spec` declares it. `layers` are all its layers in graph order. `image` names the file's input and `shape` is its
    shape (a name for a dynamic axis). `notes` say which output was chosen and why the target is not the file's last
    value. `cut` are the values removed after the scores. `refused` says why the network cannot be used; empty if it
    can.
    """

    spec: NetworkSpec
    layers: tuple[Layer, ...]
    image: str
    shape: tuple[int | str, ...]
    notes: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    refused: str = ""
    known: Known = Known()


def draft(
    path: Path, *, name: str | None = None, labels: str | None = None, tried: bool = False, known: Known | None = None
) -> Draft:
    """Read an ONNX file and draft its declaration; with `tried`, convert and verify it as a run does.

    Raises `DeepInsideError` if the file is not ONNX, or no graph from one image to class scores.
    """
    with one_sentence(str(path)):
        return _drafted(read(path), path, name, labels, tried, known or Known())


def _drafted(model: ModelProto, path: Path, name: str | None, labels: str | None, tried: bool, known: Known) -> Draft:
    image, shape = _image_input(model, path)
    values: dict[str, Any] = {
        "name": name or re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem),
        "title": name or path.stem,
        "file": path.name,
        "folder": str(path.resolve().parent),
        "sha256": _digest(path),
        "bytes": path.stat().st_size,
        "input": _convention(image, shape),
        "target": "",
        "checked": None if set(CONVENTION) <= known.sure else False,
        **known.values,
    }
    prepared = prepare_graph(model, make_spec(values, origin=str(path)))
    target, note = target_of(prepared)
    values["output"] = prepared.posterior or "scores"
    values["layers"] = known.values.get("layers") or {layer.name: layer.value for layer in prepared.layers}
    values["labels"] = labels or _labels_of(target)
    spec = make_spec({**values, "target": target.name}, origin=str(path))
    notes = tuple(sentence for sentence in (*prepared.notes, note) if sentence)
    return Draft(spec, prepared.layers, image, shape, notes, prepared.cut, _refusal(spec) if tried else "", known)


def _refusal(spec: NetworkSpec) -> str:
    """Why a run cannot use the network, labels apart; empty if it can."""
    from deepinside.networks.load import load  # a late import: reading a file needs no torch

    try:
        load(replace(spec, labels=None))
    except DeepInsideError as error:
        return str(error)
    return ""


def to_yaml(found: Draft, *, folder: Path | None = None) -> str:
    """The draft as text for a YAML in `folder`; the file's path is written relative to it."""
    return "".join(f"{line}\n" for line in _lines(found, folder))


def write(found: Draft, folder: Path) -> Path:
    """Write the draft to `<folder>/<network>.yaml`. Raises `DeepInsideError` if the file exists."""
    path = folder / f"{found.spec.name}.yaml"
    text = to_yaml(found, folder=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise DeepInsideError(f"{path} exists already and is not overwritten: choose another --name") from None
    except OSError as error:
        raise DeepInsideError(f"{path} cannot be written: {error}") from None
    return path


# --- reading the file --------------------------------------------------------------------------------------------


def _image_input(model: ModelProto, path: Path) -> tuple[str, tuple[int | str, ...]]:
    weights = {tensor.name for tensor in model.graph.initializer}
    images = [value for value in model.graph.input if value.name not in weights]
    if len(images) != 1:
        names = ", ".join(value.name for value in images) or "none"
        raise DeepInsideError(f"{path}: one image input is expected, found {len(images)}: {names}")
    shape = sizes_of(images[0])
    if channels_last(shape):
        shape = tuple(shape[place] for place in TO_CHANNELS_FIRST)
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise DeepInsideError(f"{path}: the input {images[0].name!r} should be (N, 3 or 1, H, W), found {list(shape)}")
    return images[0].name, shape


def _convention(image: str, shape: tuple[int | str, ...]) -> dict[str, Any]:
    """A guess, since ONNX files do not store preprocessing; the input's name identifies exports from Caffe."""
    size = tuple(side if isinstance(side, int) else USUAL_SIZE for side in shape[2:])
    usual = GREY if shape[1] == 1 else CAFFE if image.endswith("data_0") else IMAGENET
    return {"size": size, **usual}


def _labels_of(target: Layer) -> str | None:
    """The shipped list of labels with as many classes as the target, if there is exactly one."""
    counts = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in _label_files()}
    fitting = [stem for stem, count in counts.items() if count == target.shape[0]]
    return fitting[0] if len(fitting) == 1 else None


def _label_files() -> list[Path]:
    return sorted((conf_models() / "labels").glob("*.txt"))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- writing the draft -------------------------------------------------------------------------------------------


def _lines(found: Draft, folder: Path | None) -> Iterator[str]:
    spec = found.spec
    origin, files = found.known.origin, "the files" if found.known.origin else "ONNX files"
    first = origin or f"A draft from {spec.file}."
    yield f"# {first} Lines marked CHECK are guesses, because {files} do not store them."
    yield f"name: {_scalar(spec.name)}"
    yield f"title: {_scalar(spec.title)}"
    yield f"file: {_scalar(_relative_to(folder, spec.local_file))}" + (" # relative to this file" if folder else "")
    yield f"sha256: {spec.sha256}"
    yield f"bytes: {spec.bytes}"
    yield from _input_lines(found, folder)
    yield from (f"# {note}" for note in found.notes)
    yield f"target: {_scalar(spec.target)}"
    yield f"output: {spec.output}"
    yield _checked("labels", _scalar(spec.labels)) if spec.labels else f"# {_checked('labels', 'imagenet_1000')}"
    yield _checked("licence", '""')
    yield f"source: {_scalar(spec.source)}" if spec.source else _checked("source", '""')
    if spec.checked is False:
        yield "checked: false # while it is false, every run reports that the lines marked CHECK are guesses"
    yield "# Left: the layer's name, which you may change. Right: its value in the ONNX graph."
    yield from _mapping("layers", spec.layers)
    yield from _mapping("aliases", spec.aliases)


def _mapping(key: str, names: Mapping[str, str]) -> Iterator[str]:
    if names:
        yield f"{key}:"
        yield from (f"  {_scalar(name)}: {_scalar(value)}" for name, value in names.items())


def _input_lines(found: Draft, folder: Path | None) -> Iterator[str]:
    taken, sure = found.spec.input, set(found.known.sure)
    if all(isinstance(side, int) for side in found.shape[2:]):
        sure.add("size")
    values = {"size": _row(taken.size), "channels": taken.channels, "scale": _number(taken.scale)}
    if isinstance(taken.mean, str):
        values["mean"] = _scalar(_relative_to(folder, Path(taken.mean)))
        values |= {"mean_fit": taken.mean_fit, "mean_sha256": str(taken.mean_sha256)}
    else:
        values["mean"] = _row(taken.mean)
    values["std"] = _row(taken.std[: taken.count])
    yield "input:"
    for key, value in values.items():
        yield f"  {_checked(key, value) if key in CHECK and key not in sure else f'{key}: {value}'}"


def _checked(key: str, value: str) -> str:
    return f"{key}: {value} # CHECK: {CHECK[key]}"


def _row(values: tuple[float, ...]) -> str:
    return f"[{', '.join(map(_number, values))}]"


def _number(value: float) -> str:
    return f"{value:.9g}"


def _scalar(value: str | None) -> str:
    """One YAML scalar, quoted if necessary (a value named 317 is text)."""
    return str(yaml.safe_dump(value, width=math.inf, allow_unicode=True)).removesuffix("\n").removesuffix("\n...")


def _relative_to(folder: Path | None, path: Path) -> str:
    return Path(os.path.relpath(path, folder.resolve())).as_posix() if folder else path.as_posix()
