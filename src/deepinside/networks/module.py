"""The network of a torch module that a program has in memory."""

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from deepinside.errors import DeepInsideError
from deepinside.networks.load import load_module
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention, Label, NetworkSpec


def from_module(module: nn.Module, convention: InputConvention, labels: Sequence[str] | str | None = None) -> Network:
    """The verified network of a module from images (N, C, H, W) to class scores; the module is not changed.

    `labels` are the classes' names in order, or the stem of a file in conf_models/labels/. Nothing is written.
    Raises DeepInsideError if torch cannot export the module, or the export computes something else.
    """
    name = type(module).__name__
    spec = NetworkSpec(
        name=name, title=name, file=f"the module {name}", target="", input=convention, weights="random",
        output=None, labels=labels if isinstance(labels, str) else None,
    )  # fmt: skip
    network = load_module(module, spec)
    return network if labels is None or isinstance(labels, str) else labelled(network, labels)


def labelled(network: Network, names: Sequence[str]) -> Network:
    """The network with these class names."""
    if len(names) != network.classes:
        raise DeepInsideError(f"labels: expected {network.classes} names, one a class score, found {len(names)}.")
    return replace(network, labels=tuple(Label(index, "", str(name)) for index, name in enumerate(names)))
