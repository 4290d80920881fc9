"""From a declaration to a verified network: file, hash, graph passes, conversion, verification, reference photo."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from onnx import ModelProto
from torch import nn

from deepinside.config.libraries import library_name
from deepinside.errors import DeepInsideError
from deepinside.networks.kernels import use_fast_kernels
from deepinside.networks.network import Network
from deepinside.networks.onnx.convert import convert
from deepinside.networks.onnx.graph import PreparedGraph, prepare_graph, read_all
from deepinside.networks.onnx.guard import one_sentence
from deepinside.networks.onnx.scopes import blocks
from deepinside.networks.onnx.target import target_of
from deepinside.networks.probabilities import score_notes
from deepinside.networks.spec import Layer, NetworkSpec, Reference, read_groups, read_labels
from deepinside.networks.verification import LIMIT, UnverifiedError, check_reference, verify
from deepinside.networks.verification_cache import facts, load_cached, store

PRODUCTS = ("MatMul", "Gemm", "Einsum", "Attention", "ConvTranspose")
"""Operators whose kernels sum in an order that depends on the batch size."""


def load(spec: NetworkSpec, *, cache: Path | None = None, reverify: bool = False) -> Network:
    """The verified network of `spec`; a missing file is fetched into `cache`.

    A successful verification is also stored in `cache`. It is not repeated while the file's bytes, the declaration, the
    libraries and this program's code are unchanged, unless `reverify` is set.

    Raises `DeepInsideError`, one sentence with what was expected and found, unless the file has the declared SHA-256,
    the graph passes succeed, every operator converts, torch and onnxruntime agree at every layer, the labels match the
    scores, and, for trained weights, the reference photo gets its class.
    """
    if library_name(spec.file):
        return load_from_library(spec, cache=cache, reverify=reverify)
    path = locate(spec, cache=cache)
    digest = check_hash(path, spec.sha256)
    with one_sentence(spec.file):
        original, further = read_all(path)
        files = " ".join([digest, *(check_hash(file, None) for file in further)])
        return verified(original, spec, sha256=digest, files=files, cache=cache, reverify=reverify)


def load_from_library(spec: NetworkSpec, *, cache: Path | None = None, reverify: bool = False) -> Network:
    """The verified network of a name such as `torchvision:resnet50`."""
    from deepinside.networks.library import build, class_labels

    module = build(spec, cache=cache)
    network = load_module(module, spec, cache=cache, reverify=reverify)
    if spec.labels is not None or not spec.file.startswith("timm:"):
        return network
    labels = class_labels(module, network.classes)
    return replace(network, labels=labels, groups=read_groups(spec, labels))


def load_module(module: nn.Module, spec: NetworkSpec, *, cache: Path | None = None, reverify: bool = False) -> Network:
    """The verified network of a torch module, exported in memory; an empty `target` means its last layer of scores.

    The SHA-256 is that of the exported graph with its weights.
    """
    from deepinside.networks.export import exported

    model = exported(module, spec.input)
    if not spec.target:
        spec = replace(spec, target=target_of(prepare_graph(model, spec))[0].name)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    return verified(model, spec, sha256=digest, files=digest, cache=cache, reverify=reverify)


def verified(
    original: ModelProto, spec: NetworkSpec, *, sha256: str, files: str, cache: Path | None = None,
    reverify: bool = False,
) -> Network:  # fmt: skip
    """The network of a model: with a dynamic batch size if that verifies, otherwise one image at a time.

    If neither verifies, the error is that of the dynamic batch size.
    """
    dynamic = prepare_graph(original, spec)

    def passed(*, single_image: bool) -> Network:
        prepared = prepare_graph(original, spec, single_image=True) if single_image else dynamic
        return _passed(original, prepared, spec, sha256, files, cache, reverify, single_image=single_image)

    _check_rows(original, dynamic, spec)
    if depends_on_batch_size(dynamic):
        return passed(single_image=True)
    try:
        return passed(single_image=False)
    except UnverifiedError as refused:
        try:
            return passed(single_image=True)
        except UnverifiedError:
            raise refused from None


def _check_rows(original: ModelProto, dynamic: PreparedGraph, spec: NetworkSpec) -> None:
    """Raise `DeepInsideError` unless the class scores are one row per image."""
    if any(layer.name == spec.target for layer in dynamic.layers):
        return  # most networks: the graph for a single image, which takes as long, is not needed
    all_layers = {layer.name: layer for layer in prepare_graph(original, spec, single_image=True).layers}
    if spec.target in all_layers:
        raise DeepInsideError(
            f"{spec.file}: the target {spec.target!r} should hold one row of class scores for each image, "
            f"found {'×'.join(map(str, all_layers[spec.target].shape))} for one: name another target"
        )


def depends_on_batch_size(prepared: PreparedGraph) -> bool:
    """Whether the rounding of a layer depends on the batch size: matrix products with several rows per image."""
    return any(layer.kind in PRODUCTS and len(layer.shape) > 1 for layer in prepared.layers)


def _passed(
    original: ModelProto, prepared: PreparedGraph, spec: NetworkSpec, sha256: str, files: str, cache: Path | None,
    reverify: bool, *, single_image: bool = False,
) -> Network:  # fmt: skip
    """The network of a prepared graph, verified now or in an earlier run."""
    limit = prepared.limit or LIMIT
    network = assemble(prepared, spec, sha256=sha256, single_image=single_image)
    known = facts(network, files, limit=limit)
    checks = None if reverify else load_cached(known, network, cache=cache)
    if checks is None:
        checks = verify(original, network, limit=limit)
        if spec.weights == "trained" and spec.reference is not None:
            check_reference(network, _reference_pixels(spec.reference), spec.reference.classes)
        store(known, checks, cache=cache)
    return replace(network, checks=checks, notes=(*network.notes, *score_notes(network)))


def locate(spec: NetworkSpec, *, cache: Path | None = None) -> Path:
    """The file's path: next to its YAML, or fetched and checked by its hash."""
    if spec.local_file.is_file():
        return spec.local_file
    from deepinside.networks.fetch import fetch

    return fetch(spec, cache=cache)


def check_hash(path: Path, expected: str | None) -> str:
    """The file's SHA-256; raises `DeepInsideError` if another one is expected."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if expected is not None and found != expected:
        raise DeepInsideError(f"{path} should have SHA-256 {expected}, found {found}: delete it and fetch it again")
    return found


def assemble(prepared: PreparedGraph, spec: NetworkSpec, *, sha256: str = "", single_image: bool = False) -> Network:
    """An unverified network from a prepared graph: converted, with layers named, target and labels checked."""
    layers = {layer.name: layer for layer in prepared.layers}
    synonyms = _synonyms(prepared, spec)
    labels = read_labels(spec)
    module = use_fast_kernels(convert(prepared, file=spec.file), layers)
    network = Network(spec, module, layers, synonyms, labels, sha256, single_image=single_image)
    target = layers[network.target]
    if labels and len(labels) != target.shape[0]:
        raise DeepInsideError(
            f"{spec.name}: labels {spec.labels!r} name {len(labels)} classes, "
            f"but the target {target.name!r} has {target.shape[0]} scores"
        )
    scores = () if spec.output == "features" else _deviations(target)
    deviations = (*prepared.deviations, *scores, *_unknown_values(prepared, spec))
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
    """A note on the guesses in a draft, until its YAML says `checked: true`."""
    if spec.checked is not False:
        return ()
    used = spec.input
    mean = used.mean if isinstance(used.mean, str) else list(used.mean)
    return (
        f"The preprocessing of {spec.name} is a guess ({used.channels}, scale {used.scale:g}, mean {mean}, "
        f"std {list(used.std)}), because ONNX files do not store it: correct {spec.name}.yaml and write checked: true "
        f"in it.",
    )


def _synonyms(prepared: PreparedGraph, spec: NetworkSpec) -> dict[str, str]:
    """Further names: ONNX values, the spec's names of removed values, the exported module's submodules, aliases."""
    values = {layer.value: layer.name for layer in prepared.layers}
    spliced = {gone: values[stays] for gone, stays in prepared.same.items() if stays in values}
    layers = set(values.values())
    drops = {name: spliced[value] for name, value in spec.layers.items() if value in spliced}
    known = {**blocks(prepared.body.graph.node, values), **drops, **spliced, **values}
    return {
        **known,
        **{alias: name if name in layers else known.get(name, name) for alias, name in spec.aliases.items()},
    }


def _deviations(target: Layer) -> tuple[str, ...]:
    if len(target.shape) < 2 or target.shape[1:] == (1, 1):
        return ()
    return (
        f"Class scores are the spatial mean of layer {target.name} ({'×'.join(map(str, target.shape))}), read before "
        f"the file's later operators, so that a ReLU among them cannot leave a class without a gradient.",
    )


def _unknown_values(prepared: PreparedGraph, spec: NetworkSpec) -> tuple[str, ...]:
    """A deviation for layers that the spec names and the file does not have."""
    known = {layer.value for layer in prepared.layers} | set(prepared.same) | set(prepared.cut)
    missing = [f"{name} ({value})" for name, value in spec.layers.items() if value not in known]
    return (f"The file has no values for these layers of its declaration: {', '.join(missing)}.",) if missing else ()


def _reference_pixels(reference: Reference) -> torch.Tensor:
    import skimage.data

    photo = getattr(skimage.data, reference.photo, None)
    if photo is None:
        raise DeepInsideError(f"reference.photo: skimage.data has no photo {reference.photo!r}")
    return torch.from_numpy(photo()[..., :3].copy()).permute(2, 0, 1)
