"""Targets: the class, group of classes or unit of a layer that is differentiated, parsed from the user's text."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from torch import Tensor

from deepinside.config.suggestions import nearest as nearest_names
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.types import ImageBatch, Photo

PER_PHOTO = ("top1", "topK", "true")
"""The targets that depend on the photo: the best class, the best K classes (`top5`), the photo's own label."""
IF_LABELLED = re.compile(r"\s*true\s*\|\s*", re.IGNORECASE)
"""The prefix in `true | top1`: the photo's own label if it has one."""
NUMBER = re.compile(r"\d+(\.\d*)?(e[+-]?\d+)?")


def as_written(request: Any) -> Any:
    """The user's text: YAML reads `true` as a bool and `1e3` as a float, but neither is a class index."""
    if isinstance(request, bool):
        return str(request).lower()
    if isinstance(request, float):
        return repr(request)
    return "true" if isinstance(request, str) and request.strip().casefold() == "true" else request


TargetRequest = Annotated[str | int, BeforeValidator(as_written)]
"""The type of a setting that names a target."""


@dataclass(frozen=True)
class Target:
    """Some channels of one layer, and a position in it.

    Its value is the mean over `channels`. In a layer with spatial positions, `place` None averages over all of them,
    "max" takes the strongest one and (row, column) takes one. `note` says which meaning of an ambiguous name was taken.
    """

    name: str
    layer: str
    channels: tuple[int, ...]
    place: tuple[int, int] | Literal["max"] | None = None
    note: str = field(default="", compare=False)

    def read(self, activation: Tensor) -> Tensor:
        """The target's value, (N,), from its layer's activation (N, C) or (N, C, H, W)."""
        first = self.channels[0]  # one channel as a slice: indexing with a list synchronises with the device
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
    """The target of a request: class name, WordNet id, class index, group of classes, or `layer:channel`.

    A name takes precedence over an index: a class called 2 is found by 2, whatever its index. Any of the names in
    `tench, Tinca tinca` matches. Alternatives are separated by `|`; the first one that the network has is taken, so one
    experiment works for networks of different classes and layers. `layer:channel` averages over positions,
    `layer:channel:max` takes the strongest position and `layer:channel:row:column` one position. Raises
    DeepInsideError with the nearest known names, or with the WordNet ids of classes that share a name, such as
    ImageNet's two cranes.
    """
    written = str(as_written(request))
    if found := find_class(written, network):  # a class name may contain a colon or a bar
        return found
    alternatives = [part.strip() for part in written.split("|")]
    for alternative in alternatives:
        if ":" in alternative and alternative != alternatives[-1] and not has_layer(alternative, network):
            continue
        if found := find(alternative, network):
            return found
    raise DeepInsideError(
        f"target: expected a class, group or layer:channel of {network.name}, found {written!r}; "
        f"{nearest(alternatives[-1], network)}."
    )


def find(request: str, network: Network) -> Target | None:
    """The target of one alternative, or None if the network does not have it."""
    return find_class(request, network) or (unit(request, network) if ":" in request else None)


def find_class(request: str, network: Network) -> Target | None:
    """The class or group of classes of that name, or None. Adds a note if the name could also mean another class."""
    group = network.groups.get(request)
    meanings = [list(group)] if group else []
    meanings += [found for found in class_meanings(request, network) if found]
    if not meanings:
        return None
    taken = meanings[0]
    if len(taken) > 1 and not group:
        known = [network.labels[index] for index in taken]
        which = " or ".join(label.wnid or f"{network.target}:{label.index}" for label in known)
        raise DeepInsideError(
            f"target: {request!r} is the name of {len(taken)} classes of {network.name}; say {which}."
        )
    name = request if group else class_name(taken[0], network)
    others = dict.fromkeys(index for found in meanings[1:] for index in found if index not in taken)
    note = choice_note(request, f"the group {request}" if group else described(taken[0], network), others, network)
    return Target(name, network.target, tuple(taken), note=note)


def choice_note(request: str, taken: str, others: Mapping[int, object], network: Network) -> str:
    """A sentence on which meaning of a request was taken; "" if it has only one."""
    if others:
        further = " or ".join(f"{described(index, network)}, which is {network.target}:{index}" for index in others)
        return f"The target {request!r} was taken as {taken}, not as {further}."
    is_index = request.isdecimal() and spellings(network.labels).numbered
    if is_index and not any(class_meanings(request, network)[:-1]):
        return f"No class is called {request!r}; the target was taken as {taken}."
    return ""


def described(index: int, network: Network) -> str:
    named = f", called {network.labels[index].name!r}" if network.labels else ""
    return f"class number {index}{named}"


def has_layer(request: str, network: Network) -> bool:
    """Whether the network has the layer of `layer:channel`."""
    layer = request.partition(":")[0]
    return network.synonyms.get(layer, layer) in network.layers or layer in network.layers


def class_name(index: int, network: Network) -> str:
    """The name of a class; its index if the network has no labels."""
    return network.labels[index].name if network.labels else f"class {index}"


def class_meanings(request: str, network: Network) -> list[list[int]]:
    """The classes that a request may mean, most certain first: exact name or WordNet id, normalised name, one of the
    synonyms, index."""
    known = spellings(network.labels)
    index = [int(request)] if request.isdecimal() and int(request) < network.classes else []
    plain = spelling(request)
    return [known.exact.get(request.casefold(), []), known.full.get(plain, []), known.parts.get(plain, []), index]


@dataclass(frozen=True)
class Spellings:
    """Class indices by name: `exact` by WordNet id and name, `full` by the normalised name, `parts` by each normalised
    synonym. `numbered` says whether some class names are numbers."""

    exact: Mapping[str, list[int]]
    full: Mapping[str, list[int]]
    parts: Mapping[str, list[int]]
    numbered: bool


@lru_cache(maxsize=8)
def spellings(labels: tuple[Label, ...]) -> Spellings:
    exact, full, parts = defaultdict(list), defaultdict(list), defaultdict(list)
    for label in labels:
        for name in dict.fromkeys(filter(None, (label.wnid, label.name.casefold()))):
            exact[name].append(label.index)
        full[spelling(label.name)].append(label.index)
        for name in dict.fromkeys(map(spelling, synonyms(label.name))):
            parts[name].append(label.index)
    return Spellings(dict(exact), dict(full), dict(parts), any(label.name.isdecimal() for label in labels))


def synonyms(name: str) -> list[str]:
    """The names in `tench, Tinca tinca`."""
    return [part.strip() for part in name.split(",") if part.strip()]


def spelling(name: str) -> str:
    """The normalised name: case, blanks, `_` for a blank, and `01` or `1.0` for 1 make no difference."""
    plain = " ".join(name.casefold().replace("_", " ").replace(",", ", ").split())
    return repr(float(plain)) if NUMBER.fullmatch(plain) else plain


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
        raise DeepInsideError(f"target: {request!r} is outside layer {layer}, whose shape is {tuple(shape)}.")
    return Target(request, layer, (found[0],), (found[1], found[2]) if len(found) == 3 else place)


def nearest(request: str, network: Network) -> str:
    """The end of a sentence with the known names nearest to `request`."""
    full = [label.name for label in network.labels]
    known = [*(name for names in map(synonyms, full) for name in names), *network.groups, *full]
    near = nearest_names(request, dict.fromkeys(known), cutoff=0.5)
    if near:
        return "nearest are " + ", ".join(near)
    some = f", such as {', '.join(known[:3])}" if known else " without names"
    return f"it knows {network.classes} classes{some}"


def check(request: str | int, network: Network) -> Target | None:
    """The target, or None if it depends on the photo. Raises DeepInsideError for anything else."""
    name = IF_LABELLED.sub("", str(as_written(request)), count=1)
    if not network.classes and ":" not in name:
        raise DeepInsideError(
            f"target: expected {network.target}:channel, since {network.name} computes features and has no classes, "
            f"found {name!r}."
        )
    return None if name == "true" or is_top(name) else resolve(name, network)


def check_even(request: str | int) -> None:
    """Raise DeepInsideError for a request that gives more targets to a photo without a label than to one with it."""
    others = IF_LABELLED.sub("", str(request), count=1)
    if others != str(request) and is_top(others) and int(others[3:]) > 1:
        raise DeepInsideError(
            f"target: expected as many maps for every photo, found {str(request)!r}, which is one for a photo with a "
            f"label and {others[3:]} for one without; use 'true | top1' or {others!r}."
        )


def is_top(request: str) -> bool:
    """Whether the request means the best K classes of each photo, as in `top1`."""
    return re.fullmatch(r"top[1-9]\d*", request) is not None


def for_batch(request: str | int, network: Network, batch: ImageBatch, scores: Tensor) -> list[list[Target]]:
    """The targets of every photo of a batch: one, or K of them for `topK`. `scores` is (N, classes)."""
    name = str(as_written(request))
    if start := IF_LABELLED.match(name):
        others = for_batch(name[start.end() :], network, batch, scores)
        own = [[true_class(photo, network)] if photo.label is not None else [] for photo in batch.photos]
        return [mine or other for mine, other in zip(own, others, strict=True)]
    if name == "true":
        return [[true_class(photo, network)] for photo in batch.photos]
    if is_top(name):
        best = scores.topk(min(int(name[3:]), scores.shape[1])).indices.tolist()
        return [[class_target(index, network) for index in row] for row in best]
    return [[resolve(name, network)] for _ in batch.photos]


def true_class(photo: Photo, network: Network) -> Target:
    """The class of a photo's own label. Adds a note if the network has a class called `true`."""
    if photo.label is None:
        raise DeepInsideError(f"target=true: expected a label for {photo.stem}, found none; set images.labels.")
    others = dict.fromkeys(index for found in class_meanings("true", network) for index in found)
    word = choice_note("true", "each photo's own label", others, network)
    found = label_class(photo.label, network)
    return replace(found, note=" ".join(filter(None, (word, found.note))))


def label_class(label: str, network: Network) -> Target:
    """The class of a photo's label. If class names are numbers, a number that is no class name is refused: it could
    only be the index of a class with another name."""
    if label.isdecimal() and spellings(network.labels).numbered and not any(class_meanings(label, network)[:-1]):
        raise DeepInsideError(
            f"target=true: expected photos' labels to be classes of {network.name}, found {label!r}; "
            f"{nearest(label, network)}."
        )
    return resolve(label, network)


def class_target(index: int, network: Network) -> Target:
    return Target(class_name(index, network), network.target, (index,))


def target_notes(photo: Photo | None, *targets: Target) -> tuple[str, ...]:
    """The notes of a result: how the photo was read and which targets were taken."""
    return (*(photo.notes if photo is not None else ()), *(target.note for target in targets if target.note))
