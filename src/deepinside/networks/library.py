"""Builds the networks that `deepinside.config.libraries` names, with the weights and the classes of their library."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from deepinside.config.libraries import RANDOM, LibraryName, imported, library_name
from deepinside.errors import DeepInsideError
from deepinside.networks.fetch import fetch, verify
from deepinside.networks.spec import Label, NetworkSpec

SEED = 0
"""Of random weights, which are the same in every process."""
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,})\.pth$")
"""torchvision's file names end in the first digits of their SHA-256."""


def build(spec: NetworkSpec, *, cache: Path | None = None) -> nn.Module:
    """The module with its weights, in evaluation mode.

    Weights are taken from the library's own cache; missing ones are fetched, torchvision's into that cache, timm's into
    `cache`. Raises DeepInsideError if they cannot be fetched or do not fit.
    """
    name = library_name(spec.file)
    assert name is not None
    weights = None if name.weights == RANDOM else weights_file(spec, name, cache=cache)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        try:
            return (_torchvision(name) if name.library == "torchvision" else _timm(name, weights)).eval()
        except Exception as error:
            words = " ".join(str(error).split())[:200]
            found = "" if weights is None else f" with the weights {weights}"
            raise DeepInsideError(f"{spec.file} cannot be built{found}: {type(error).__name__}: {words}") from error


def weights_file(spec: NetworkSpec, name: LibraryName, *, cache: Path | None = None) -> Path:
    """The file of weights. Raises DeepInsideError if it can be neither found nor fetched, or has a wrong hash."""
    file = PurePosixPath(spec.urls[0]).name
    if name.library == "torchvision":
        path = fetch(replace(spec, file=file), cache=Path(torch.hub.get_dir()) / "checkpoints")
        return _with_named_hash(path, spec)
    from huggingface_hub import try_to_load_from_cache

    known = try_to_load_from_cache("/".join(spec.urls[0].split("/")[3:5]), file)
    if isinstance(known, str):
        return verify(Path(known), spec)
    return fetch(replace(spec, file=f"{name.architecture}{Path(file).suffix}"), cache=cache)


def _with_named_hash(path: Path, spec: NetworkSpec) -> Path:
    import pooch

    named, found = HASH_IN_NAME.search(path.name), pooch.file_hash(str(path), alg="sha256")
    if named is not None and not found.startswith(named[1]):
        raise DeepInsideError(
            f"{spec.file}: {path} should have a SHA-256 that begins with {named[1]}, found {found}: move it away to "
            f"have it fetched"
        )
    return path


def _torchvision(name: LibraryName) -> nn.Module:
    models = imported("torchvision").models
    entry = None if name.weights == RANDOM else models.get_model_weights(name.architecture)[name.weights]
    own: dict[str, Any] = {}
    if entry is None and name.architecture in ("googlenet", "inception_v3"):
        own = {"init_weights": True}  # their default, which warns
    return models.get_model(name.architecture, weights=entry, **own)


def _timm(name: LibraryName, weights: Path | None) -> nn.Module:
    create = imported("timm").create_model
    if weights is None:
        return create(name.architecture, pretrained=False)
    own = {"custom_load": False} if weights.suffix == ".safetensors" else {}  # else the authors' own format
    return create(name.architecture, pretrained=True, pretrained_cfg_overlay={"file": str(weights), **own})


def class_labels(module: nn.Module, classes: int) -> tuple[Label, ...]:
    """The classes that timm declares for its larger ImageNets; none where it declares none."""
    data = imported("timm").data
    subset = data.infer_imagenet_subset(module)
    info = data.ImageNetInfo(subset) if subset else None
    if info is None or info.num_classes() != classes:
        return ()
    return tuple(
        Label(index, info.index_to_label_name(index), info.index_to_description(index)) for index in range(classes)
    )
