"""What is differentiated: a class, a group of classes, or a unit of any layer, found from what the user wrote."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.names import nearest as nearest_names
from deepinside.networks.network import Network
from deepinside.values import ImageBatch

PER_PHOTO = ("top1", "topK", "true")
"""The targets that depend on the photo: the best class, the best K classes (`top5`), the photo's own label."""
IF_LABELLED = re.compile(r"\s*true\s*\|\s*")
"""How a target begins that is a photo's own label where it has one, as in `true | top1`."""


@dataclass(frozen=True)
class Target:
    """Some channels of one layer, and where in it.

    Its value is the mean over `channels`; in a layer with positions also over all of them (`place` None), at the
    strongest one ("max"), or at one (row, column).
    """

    name: str
    layer: str
    channels: tuple[int, ...]
    place: tuple[int, int] | Literal["max"] | None = None

    def read(self, activation: Tensor) -> Tensor:
        """The target's value, (N,), from its layer's activation (N, C) or (N, C, H, W)."""
        first = self.channels[0]  # one channel as a slice: a list is sent to the device, which is waited for
        some = slice(first, first + 1) if len(self.channels) == 1 else list(self.channels)
        chosen = activation[:, some].mean(1)
        if chosen.ndim == 1:
            return chosen
        if self.place is None:
            return chosen.flatten(1).mean(1)
        if self.place == "max":
            return chosen.flatten(1).amax(1)
        row, column = self.place
        return chosen[:, int(row), int(column)]


def resolve(request: str | int, network: Network) -> Target:
    """The target a user asked for by class index, class name, WordNet id, group of classes, or `layer:channel`.

    Alternatives are separated by `|`: the first one the network knows is taken, so one experiment serves networks
    of different classes and layers. `layer:channel` averages over positions, `layer:channel:max` takes the strongest
    position and `layer:channel:row:column` one position. Raises DeepInsideError naming the nearest known names, or the
    WordNet ids of the classes that share a name, as ImageNet's two cranes do.
    """
    alternatives = [part.strip() for part in str(request).split("|")]
    for alternative in alternatives:
        if ":" in alternative and alternative != alternatives[-1] and not has_layer(alternative, network):
            continue
        found = find(alternative, network)
        if found is not None:
            return found
    raise DeepInsideError(
        f"target: expected a class, group or layer:channel of {network.name}, found {str(request)!r}; "
        f"{nearest(alternatives[-1], network)}."
    )


def find(request: str, network: Network) -> Target | None:
    """The target one alternative names, or None where the network does not know it."""
    if ":" in request:
        return unit(request, network)
    indices = network.groups.get(request) or class_indices(request, network)
    return Target(request_name(request, indices, network), network.target, tuple(indices)) if indices else None


def has_layer(request: str, network: Network) -> bool:
    """Whether the layer of `layer:channel` is one of the network's."""
    layer = request.partition(":")[0]
    return network.synonyms.get(layer, layer) in network.layers or layer in network.layers


def request_name(request: str, indices: Sequence[int], network: Network) -> str:
    return class_name(indices[0], network) if len(indices) == 1 and request not in network.groups else request


def class_name(index: int, network: Network) -> str:
    """What people call a class; its number where the network came without labels."""
    return network.labels[index].name if network.labels else f"class {index}"


def class_indices(request: str, network: Network) -> list[int]:
    """The index of a class given by index, WordNet id or name; an empty list where there is none."""
    if not request:
        return []
    if request.isdecimal():
        return [int(request)] if int(request) < network.classes else []
    wanted = request.casefold()
    exact = [label for label in network.labels if wanted in {label.wnid, label.name.casefold()}]
    if len(exact) > 1:
        which = " or ".join(f"{label.wnid or label.index}" for label in exact)
        raise DeepInsideError(
            f"target: {request!r} is the name of {len(exact)} classes of {network.name}; say {which}."
        )
    return [label.index for label in exact]


def unit(request: str, network: Network) -> Target:
    """The target `layer:channel`, `layer:channel:max` or `layer:channel:row:column`."""
    name, *numbers = request.split(":")
    layer = network.resolve(name)
    shape = network.layers[layer].shape
    place: tuple[int, int] | Literal["max"] | None = None
    if numbers[1:] == ["max"]:
        place, numbers = "max", numbers[:1]
    if not all(number.isdecimal() for number in numbers) or len(numbers) not in (1, 3):
        raise DeepInsideError(f"target: expected layer:channel, :max or :row:column after it, found {request!r}.")
    found = [int(number) for number in numbers]
    if any(number >= size for number, size in zip(found, shape, strict=False)) or len(found) > len(shape):
        raise DeepInsideError(f"target: {request!r} lies outside layer {layer}, whose shape is {tuple(shape)}.")
    return Target(request, layer, (found[0],), (found[1], found[2]) if len(found) == 3 else place)


def nearest(request: str, network: Network) -> str:
    """A sentence's end: the known names nearest to `request`."""
    known = [*(label.name for label in network.labels), *network.groups]
    near = nearest_names(request, dict.fromkeys(known), cutoff=0.5)
    if near:
        return "nearest are " + ", ".join(near)
    some = f", such as {', '.join(known[:3])}" if known else " without names"
    return f"it knows {network.classes} classes{some}"


def check(request: str | int, network: Network) -> Target | None:
    """The target, or None where it depends on the photo; raises DeepInsideError where it is none of either."""
    name = IF_LABELLED.sub("", str(request), count=1)
    return None if name == "true" or is_top(name) else resolve(name, network)


def check_even(request: str | int) -> None:
    """Raise DeepInsideError for a request that finds more targets for a photo without a label than for one with it."""
    others = IF_LABELLED.sub("", str(request), count=1)
    if others != str(request) and is_top(others) and int(others[3:]) > 1:
        raise DeepInsideError(
            f"target: expected as many maps for every photo, found {str(request)!r}, which is one for a photo with a "
            f"label and {others[3:]} for one without; use 'true | top1' or {others!r}."
        )


def is_top(request: str) -> bool:
    """Whether the request is for the best K classes of each photo, as in `top1`."""
    return re.fullmatch(r"top[1-9]\d*", request) is not None


def for_batch(request: str | int, network: Network, batch: ImageBatch, scores: Tensor) -> list[list[Target]]:
    """The targets of every photo of a batch: one, or K of them for `topK`. `scores` is (N, classes)."""
    name = str(request)
    if start := IF_LABELLED.match(name):
        others = for_batch(name[start.end() :], network, batch, scores)
        own = [[true_class(p.stem, p.label, network)] if p.label is not None else [] for p in batch.photos]
        return [mine or other for mine, other in zip(own, others, strict=True)]
    if name == "true":
        return [[true_class(photo.stem, photo.label, network)] for photo in batch.photos]
    if is_top(name):
        best = scores.topk(min(int(name[3:]), scores.shape[1])).indices.tolist()
        return [[class_target(index, network) for index in row] for row in best]
    return [[resolve(request, network)] for _ in batch.photos]


def true_class(stem: str, label: str | None, network: Network) -> Target:
    if label is None:
        raise DeepInsideError(f"target=true: expected a label for {stem}, found none; set images.labels.")
    return resolve(label, network)


def class_target(index: int, network: Network) -> Target:
    return Target(class_name(index, network), network.target, (index,))
