"""Networks by the names that torchvision and timm give them, with the preprocessing and classes that these declare.

torchvision:resnet50                     its default weights
torchvision:resnet50:IMAGENET1K_V1       these weights
timm:resnet50.a1_in1k                    timm's own `name.tag`
timm:vit_tiny_patch16_224:random         no weights: a seeded random initialisation
"""

import logging
import math
import re
import sys
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from deepinside.config.suggestions import hint
from deepinside.errors import DeepInsideError

LOG = logging.getLogger(__name__)
NAME = re.compile(r"(?P<library>torchvision|timm):(?P<architecture>[^:]+)(:(?P<weights>[^:]+))?")
RANDOM = "random"
IMAGENET = "imagenet_1000"
"""The shipped list of ImageNet's classes, in the order of both libraries."""
HUB = "https://huggingface.co/{}/resolve/main/model.safetensors"
SCHEMAS = ("nms", "qnms")
"""The operators whose schemas torchvision expects from its compiled part at import."""
OTHER_CROPS = {
    "squash": "stretches photos to a square; images.resize=square does so",
    "border": "shows all of a photo and fills the border, which is not done here",
}
"""What timm's crop modes other than `center` mean."""


class LibraryName(NamedTuple):
    """The parts of `library:architecture:weights`; without weights, None."""

    library: str
    architecture: str
    weights: str | None


def library_name(text: str) -> LibraryName | None:
    """The parts of a name such as `torchvision:resnet50`; None for any other text."""
    found = NAME.fullmatch(text)
    return LibraryName(found["library"], found["architecture"], found["weights"]) if found else None


def library_node(text: str) -> dict[str, Any]:
    """The specification of the network of this name, with the preprocessing that the library declares.

    Its `file` names the weights. Raises DeepInsideError for unknown names and for weights without class scores.
    """
    name = library_name(text)
    assert name is not None
    return {"name": text, "target": "", **(_torchvision if name.library == "torchvision" else _timm)(name)}


def _torchvision(name: LibraryName) -> dict[str, Any]:
    models = imported("torchvision").models
    _check_known(name, models.list_models(module=models))
    entries = models.get_model_weights(name.architecture)
    chosen = entries.DEFAULT if name.weights in (None, RANDOM) else entries.__members__.get(str(name.weights))
    if chosen is None or not chosen.meta["categories"]:
        known = [entry.name for entry in entries if entry.meta["categories"]]
        raise DeepInsideError(
            f"torchvision:{name.architecture}: expected weights {', '.join([*known, RANDOM])}, found {name.weights!r}"
        )
    declared = chosen.transforms()
    return {
        "file": f"torchvision:{name.architecture}:{RANDOM if name.weights == RANDOM else chosen.name}",
        "title": f"{name.architecture} of torchvision, {_described(name, chosen.name)}",
        "weights": RANDOM if name.weights == RANDOM else "trained",
        "urls": [] if name.weights == RANDOM else [chosen.url],
        "labels": IMAGENET,
        "source": "https://docs.pytorch.org/vision/stable/models.html",
        "input": _convention(
            (3, declared.crop_size[0], declared.crop_size[0]), declared.mean, declared.std,
            short_side=declared.resize_size[0], interpolation=declared.interpolation.value,
        ),
    }  # fmt: skip


def _timm(name: LibraryName) -> dict[str, Any]:
    timm = imported("timm")
    _check_known(name, timm.list_models())
    known = timm.list_pretrained(f"{name.architecture.partition('.')[0]}.*")
    tagged = "." in name.architecture
    declared = None if tagged and name.architecture not in known else timm.get_pretrained_cfg(name.architecture)
    if declared is None or name.weights not in (None, RANDOM) or not declared.num_classes:
        raise DeepInsideError(
            f"timm:{name.architecture}: expected a classifier's weights, such as {', '.join([*known[:5], RANDOM])}, "
            f"found {name.weights or name.architecture!r}"
        )
    if declared.crop_mode in OTHER_CROPS:
        _say_once(f"timm:{name.architecture}: timm {OTHER_CROPS[declared.crop_mode]}. Crops here are centre crops.")
    full = ".".join(part for part in (declared.architecture, declared.tag) if part)
    return {
        "file": f"timm:{full}" + (f":{RANDOM}" if name.weights else ""),
        "title": f"{declared.architecture} of timm, {_described(name, declared.tag)}",
        "weights": RANDOM if name.weights else "trained",
        "urls": [] if name.weights else [HUB.format(declared.hf_hub_id) if declared.hf_hub_id else declared.url],
        "labels": IMAGENET if declared.num_classes == 1000 else None,
        "licence": declared.license or "",
        "source": declared.paper_ids or declared.origin_url or "",
        "input": _convention(
            declared.input_size, declared.mean, declared.std,
            short_side=math.floor(declared.input_size[1] / declared.crop_pct), interpolation=declared.interpolation,
        ),
    }  # fmt: skip


@cache
def _say_once(words: str) -> None:
    LOG.warning(words)


def _described(name: LibraryName, weights: str) -> str:
    return "random weights" if name.weights == RANDOM else f"weights {weights}"


def _convention(
    size: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...], *, short_side: int, interpolation: str
) -> dict[str, Any]:
    """Both libraries take images of 0 to 1 in RGB."""
    return {
        "size": list(size[1:]),
        "channels": "rgb" if size[0] == 3 else "grey",
        "scale": 255.0,
        "mean": list(mean),
        "std": list(std),
        "crop": min(1.0, min(size[1:]) / short_side),
        "interpolation": interpolation,
    }


def _check_known(name: LibraryName, known: list[str]) -> None:
    architecture = name.architecture.partition(".")[0] if name.library == "timm" else name.architecture
    if architecture not in known:
        raise DeepInsideError(
            f"{name.library}: expected one of its {len(known)} classification architectures, found {architecture!r}."
            f"{hint(architecture, known)}"
        )


# ---- importing them --------------------------------------------------------------------------------------------------


@cache
def imported(library: str) -> ModuleType:
    """The library's module. Raises DeepInsideError with the command that installs it."""
    try:
        _import_torchvision()
        return import_module(library)
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise DeepInsideError(
            f"{library} is expected and does not import ({' '.join(str(error).split())[:120]}): "
            f"pip install 'deepinside[{library}]'"
        ) from None


def _import_torchvision() -> None:
    """Import torchvision, also one built for CUDA next to a CPU torch.

    Such a build cannot load its compiled operators, which no classifier needs, and stops at their missing schemas. Then
    these are declared and the import is repeated.
    """
    try:
        import_module("torchvision")
    except (RuntimeError, AttributeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_schemas()
        import_module("torchvision")


@cache
def _declare_schemas() -> Any:
    """The schemas exist as long as the returned object does."""
    import torch

    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in SCHEMAS:
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators
