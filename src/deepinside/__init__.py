"""deepinside: the papers that first looked inside image classifiers, replicated and measured.

    import deepinside as di

    net = di.load("tinycaffenet")
    di.saliency(net, "cat.jpg", target="Egyptian cat")

The first use of a name imports `deepinside.api.functions`, and torch with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepinside.api.functions import (
        DeepInsideError,
        Network,
        Result,
        Results,
        class_model,
        faithfulness,
        fooling,
        inversion,
        layer_gradients,
        load,
        localisation,
        occlusion,
        photos,
        randomisation,
        read,
        saliency,
    )

__all__ = [
    "DeepInsideError",
    "Network",
    "Result",
    "Results",
    "class_model",
    "faithfulness",
    "fooling",
    "inversion",
    "layer_gradients",
    "load",
    "localisation",
    "occlusion",
    "photos",
    "randomisation",
    "read",
    "saliency",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("deepinside")
    if name not in __all__:
        raise AttributeError(f"module 'deepinside' has no attribute {name!r}")
    return getattr(import_module("deepinside.api.functions"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
