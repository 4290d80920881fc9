"""From a declaration to a verified network: the file, its hash, surgery, conversion, verification, reference photo."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from onnx import ModelProto

from deepinside.errors import DeepInsideError
from deepinside.networks.kernels import use_fast_kernels
from deepinside.networks.network import Network
from deepinside.networks.onnx.convert import convert
from deepinside.networks.onnx.graph import PreparedGraph, prepare_graph, read_all
from deepinside.networks.onnx.guard import one_sentence
from deepinside.networks.onnx.scopes import blocks
from deepinside.networks.probabilities import said_of_scores
from deepinside.networks.spec import Layer, NetworkSpec, Reference, read_groups, read_labels
from deepinside.networks.verification import LIMIT, UnverifiedError, check_reference, verify
from deepinside.networks.verification_cache import facts, load_cached, store

PRODUCTS = ("MatMul", "Gemm", "Einsum", "Attention", "ConvTranspose")
"""Operators whose kernels add up in an order that depends on how many images there are."""


def load(spec: NetworkSpec, *, cache: Path | None = None, anew: bool = False) -> Network:
    """The network of `spec`, verified; a missing file is fetched into `cache`.

    A verification that succeeded is remembered in `cache`, too, and not repeated as long as the file's bytes, the
    declaration, the libraries and this program's code stay the same, unless `anew` asks for it.

    Raises `DeepInsideError`, one sentence with what was expected and found, unless the file has the declared SHA-256,
    the surgery works, every operator converts, torch and onnxruntime agree at every layer, the labels fit the scores,
    and, for trained weights, the reference photo gets its class.
    """
    path = locate(spec, cache=cache)
    digest = check_hash(path, spec.sha256)
    with one_sentence(spec.file):
        original, further = read_all(path)
        files = " ".join([digest, *(check_hash(file, None) for file in further)])
        return verified(original, spec, sha256=digest, files=files, cache=cache, anew=anew)


def verified(
    original: ModelProto, spec: NetworkSpec, *, sha256: str, files: str, cache: Path | None = None, anew: bool = False
) -> Network:
    """The network of a model, its graph freed to take any batch where that passes, and one image at a time elsewhere.

    The sentence raised where neither passes is that of the freed graph.
    """
    freed, single = prepare_graph(original, spec), prepare_graph(original, spec, alone=True)
    _check_rows(freed, single, spec)

    def passed(prepared: PreparedGraph) -> Network:
        return _passed(original, prepared, spec, sha256, files, cache, anew, alone=prepared is single)

    if depends_on_company(freed):
        return passed(single)
    try:
        return passed(freed)
    except UnverifiedError as refused:
        try:
            return passed(single)
        except UnverifiedError:
            raise refused from None


def _check_rows(freed: PreparedGraph, single: PreparedGraph, spec: NetworkSpec) -> None:
    """Class scores must be one row an image; where images run into each other, their rows are not."""
    images, all_layers = ({layer.name: layer for layer in prepared.layers} for prepared in (freed, single))
    if spec.target in all_layers and spec.target not in images:
        raise DeepInsideError(
            f"{spec.file}: the target {spec.target!r} should hold one row of class scores for each image, "
            f"found {'×'.join(map(str, all_layers[spec.target].shape))} for one: name another target"
        )


def depends_on_company(prepared: PreparedGraph) -> bool:
    """Whether layers round in other ways for other numbers of images: products of matrices of several rows an image."""
    return any(layer.kind in PRODUCTS and len(layer.shape) > 1 for layer in prepared.layers)


def _passed(
    original: ModelProto, prepared: PreparedGraph, spec: NetworkSpec, sha256: str, files: str, cache: Path | None,
    anew: bool, *, alone: bool = False,
) -> Network:  # fmt: skip
    """The network of a prepared graph, if it passes now or has passed before."""
    limit = prepared.limit or LIMIT
    network = assemble(prepared, spec, sha256=sha256, alone=alone)
    known = facts(network, files, limit=limit)
    checks = None if anew else load_cached(known, network, cache=cache)
    if checks is None:
        checks = verify(original, network, limit=limit)
        if spec.weights == "trained" and spec.reference is not None:
            check_reference(network, _reference_pixels(spec.reference), spec.reference.classes)
        store(known, checks, cache=cache)
    return replace(network, checks=checks, notes=(*network.notes, *said_of_scores(network)))


def locate(spec: NetworkSpec, *, cache: Path | None = None) -> Path:
    """Where the file is: placed beside its YAML, or fetched and verified."""
    if spec.beside.is_file():
        return spec.beside
    from deepinside.networks.fetch import fetch

    return fetch(spec, cache=cache)


def check_hash(path: Path, expected: str | None) -> str:
    """The file's SHA-256; raises `DeepInsideError` if another one is expected."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if expected is not None and found != expected:
        raise DeepInsideError(f"{path} should have SHA-256 {expected}, found {found}: delete it and fetch it again")
    return found


def assemble(prepared: PreparedGraph, spec: NetworkSpec, *, sha256: str = "", alone: bool = False) -> Network:
    """An unverified network from a prepared graph: converted, its layers named, its target and labels checked."""
    layers = {layer.name: layer for layer in prepared.layers}
    synonyms = _synonyms(prepared, spec)
    labels = read_labels(spec)
    network = Network(
        spec, use_fast_kernels(convert(prepared, file=spec.file), layers), layers, synonyms, labels, sha256, alone=alone
    )
    target = layers[network.target]
    if labels and len(labels) != target.shape[0]:
        raise DeepInsideError(
            f"{spec.name}: labels {spec.labels!r} name {len(labels)} classes, "
            f"but the target {target.name!r} has {target.shape[0]} scores"
        )
    deviations = (*prepared.deviations, *_departures(target), *_unknown_values(prepared, spec))
    names = {layer.value: layer.name for layer in prepared.layers}
    return replace(
        network,
        deviations=deviations,
        groups=read_groups(spec, labels),
        posterior=spec.posterior or prepared.posterior or "softmax",
        gates=frozenset(names[value] for value in prepared.gates if value in names),
        notes=(*_guesses(spec), *prepared.notes),
    )


def _guesses(spec: NetworkSpec) -> tuple[str, ...]:
    """What of a draft is only guessed, until somebody writes `checked: true` in it."""
    if spec.checked is not False:
        return ()
    used = spec.input
    return (
        f"How {spec.name} wants its pixels is a guess ({used.channels}, scale {used.scale:g}, mean {list(used.mean)}, "
        f"std {list(used.std)}), because ONNX files do not store it: correct {spec.name}.yaml and write checked: true "
        f"in it.",
    )


def _synonyms(prepared: PreparedGraph, spec: NetworkSpec) -> dict[str, str]:
    """Further names: ONNX values, the spec's names of spliced values, the exported module's parts, aliases."""
    values = {layer.value: layer.name for layer in prepared.layers}
    spliced = {gone: values[stays] for gone, stays in prepared.same.items() if stays in values}
    layers = set(values.values())
    drops = {name: spliced[value] for name, value in spec.layers.items() if value in spliced}
    known = {**blocks(prepared.body.graph.node, values), **drops, **spliced, **values}
    return {
        **known,
        **{alias: name if name in layers else known.get(name, name) for alias, name in spec.aliases.items()},
    }


def _departures(target: Layer) -> tuple[str, ...]:
    if len(target.shape) < 2 or target.shape[1:] == (1, 1):
        return ()
    return (
        f"Class scores are the spatial mean of layer {target.name} ({'×'.join(map(str, target.shape))}), read before "
        f"what the file does after it, so that a rectifier there cannot leave a class without a gradient.",
    )


def _unknown_values(prepared: PreparedGraph, spec: NetworkSpec) -> tuple[str, ...]:
    """A layer the spec names and the file has not got stays unknown, and the report says so."""
    known = {layer.value for layer in prepared.layers} | set(prepared.same) | set(prepared.cut)
    missing = [f"{name} ({value})" for name, value in spec.layers.items() if value not in known]
    return (f"The file has no values for these layers of its declaration: {', '.join(missing)}.",) if missing else ()


def _reference_pixels(reference: Reference) -> torch.Tensor:
    import skimage.data

    photo = getattr(skimage.data, reference.photo, None)
    if photo is None:
        raise DeepInsideError(f"reference.photo: skimage.data has no photo {reference.photo!r}")
    return torch.from_numpy(photo()[..., :3].copy()).permute(2, 0, 1)
