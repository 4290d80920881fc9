"""Inversion: the image that a layer's representation is left with (Mahendran & Vedaldi 2014 and 2016)."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import groupby

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deepinside.errors import DeepInsideError
from deepinside.maths.gradients import centre_crop
from deepinside.maths.optimisers import LBFGS, AdaGrad, Adam, Momentum, Parts
from deepinside.maths.preimage import Mahendran2014, Mahendran2016
from deepinside.networks.network import Network
from deepinside.settings import STRICT
from deepinside.values import ImageBatch, Item, Panel, Seeds, Visual, safe_name


@plain_dataclass(frozen=True)
class Goal:
    """One image to be found: photo number `photo` of the batch through `layer`, from noise of its own stream."""

    layer: str
    photo: int
    restart: int
    number: int  # the photo's place in the whole set, which names its streams

    def generator(self, seeds: Seeds, stream: str) -> torch.Generator:
        return seeds.generator(self.number, f"{stream}/{self.layer}/{self.restart}")


@plain_dataclass(frozen=True)
class Preimage:
    """What was found for one goal: the image (C, H, W), its normalised error, and the error at every step (steps,)."""

    goal: Goal
    image: Tensor
    error: float
    trace: Tensor


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inversion:
    """arg min over x of ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + R(x), x in zero-centred pixels, for each photo and each layer Φ.

    `layers` are any of the network's, by any of their names; "all" of them; alternatives as in "block3_conv1 | conv3",
    of which the first known is taken; or "40%", the layer at that share of the depth. `energy` is R with its weights,
    of 2014 or of 2016. `restarts` images are found for each layer from different noise, and that with the smallest
    error is shown. `layers_at_once` layers share a batch, which changes the speed only.
    """

    layers: str | tuple[str, ...] = "all"
    energy: Mahendran2014 | Mahendran2016 = Field(default_factory=Mahendran2014)
    restarts: PositiveInt = 1
    layers_at_once: PositiveInt = 4
    optimiser: Momentum | AdaGrad | Adam | LBFGS = Field(
        default_factory=lambda: Momentum(schedule=((100, 0.004), (200, 0.0004), (100, 0.00004)))
    )

    def check(self, network: Network) -> None:
        """Raise DeepInsideError where the network does not know a layer."""
        chosen_layers(self.layers, network)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Visual:
        """One item a photo: the photo, then one reconstruction a layer, `reconstruction_LAYER`, pixels 0-255.

        Metrics: `LAYER/error`, the normalised squared error of the representation, and with several restarts
        `LAYER/error_restart_K` of each. Raises DeepInsideError where a photo's representation is zero.
        """
        if not len(batch):
            return Visual(())
        layers = chosen_layers(self.layers, network)
        whole = (batch.pixels.shape[2], batch.pixels.shape[3])
        photos = centre_crop(whole, network.size)[0].cut(batch.pixels, network.size)
        found = [
            one for group in self.groups(list(layers.values()), network)
            for one in self.invert(network, photos, self.goals(group, batch), seeds)
        ]  # fmt: skip
        items = (self.item(network, batch, photos, layers, found, place) for place in range(len(batch)))
        return Visual(tuple(items), self.departures(network))

    def groups(self, layers: Sequence[str], network: Network) -> Iterator[list[str]]:
        """Neighbouring layers whose images have one size, at most `layers_at_once` together."""
        for _, alike in groupby(layers, lambda layer: self.energy.margin(stride(network, layer))):
            group = list(alike)
            yield from (group[i : i + self.layers_at_once] for i in range(0, len(group), self.layers_at_once))

    def goals(self, layers: Sequence[str], batch: ImageBatch) -> list[Goal]:
        return [
            Goal(layer, photo, restart, batch.first + photo)
            for layer in layers for photo in range(len(batch)) for restart in range(self.restarts)
        ]  # fmt: skip

    def invert(self, network: Network, photos: Tensor, goals: Sequence[Goal], seeds: Seeds) -> list[Preimage]:
        """One image for every goal, all in one batch."""
        margin = self.energy.margin(stride(network, goals[0].layer))
        shape = (photos.shape[1], photos.shape[2] + margin, photos.shape[3] + margin)
        start = torch.stack([self.energy.start(shape, goal.generator(seeds, "start")) for goal in goals]).to(photos)
        match = Match(self, network, goals, tuple(photos.shape[1:]), representations(network, photos, goals), seeds)
        found = self.optimiser.maximise(start, match, lambda x, _: self.energy.project(x))
        with torch.no_grad():
            images = match.window(found.images, [(margin // 2, margin // 2)] * len(goals))
            errors = match.errors(images, goals).tolist()
        return [Preimage(g, images[i], errors[i], found.trace["error"][i]) for i, g in enumerate(goals)]

    def item(
        self, network: Network, batch: ImageBatch, photos: Tensor, layers: Mapping[str, str],
        found: Sequence[Preimage], place: int,
    ) -> Item:  # fmt: skip
        """The row of one photo, by depth as `layers` (shown name to layer) lists them."""
        stem = batch.photos[place].stem
        panels = [Panel("photo", (photos[place] + network.mean).cpu(), "photo", stem)]
        metrics, trace = {}, {}
        for name, layer in layers.items():
            tried = [one for one in found if (one.goal.layer, one.goal.photo) == (layer, place)]
            best = min(tried, key=lambda one: one.error)
            panels.append(reconstruction(network, f"reconstruction_{name}", best))
            metrics[f"{name}/error"] = best.error
            trace[f"{name}/error"] = best.trace
            if self.restarts > 1:
                metrics |= {f"{name}/error_restart_{one.goal.restart + 1}": one.error for one in tried}
        return Item(stem, stem, tuple(panels), metrics, trace)

    def departures(self, network: Network) -> tuple[str, ...]:
        """Where these settings leave the paper, one sentence each."""
        used = type(self.optimiser).__name__
        count = len(chosen_layers("all", network))
        side = math.sqrt(math.prod(network.size))
        said = {
            f"total variation's weight scaled from inputs of {self.energy.side:g} pixels to {side:g}": abs(
                side / self.energy.side - 1
            )
            > 0.05,
            f"optimised by {used}, not by the paper's {self.energy.paper_optimiser}": used
            != self.energy.paper_optimiser,
            f"weights by share of the depth: the paper gives them for twenty layers, these are {count}": count != 20,
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class Match:
    """The gain that is raised: minus the weighted error of each goal's representation, minus its penalty.

    `shape` (C, H, W) is what the network takes; the images may be larger by the energy's margin, so that it sees
    windows of them. `wanted` holds by layer the photos' representations (N, …).
    """

    settings: Inversion
    network: Network
    goals: Sequence[Goal]
    shape: tuple[int, ...]
    wanted: Mapping[str, Tensor]
    seeds: Seeds

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]:
        goals = self.goals[items.start : items.stop]
        energy, depths = self.settings.energy, [depth(self.network, goal.layer) for goal in goals]
        error = self.errors(self.window(x, self.offsets(x, step, goals)), goals)
        penalty = energy.penalty(x, self.shape, depths)
        gain = -energy.error_weights(self.shape, depths, x) * error - penalty
        return gain, {"error": error, "regulariser": penalty}

    def errors(self, seen: Tensor, goals: Sequence[Goal]) -> Tensor:
        """(N,): ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² of what the network sees for each goal, (N, C, H, W)."""
        layers = list(dict.fromkeys(goal.layer for goal in goals))
        found = self.network.activations(seen, layers)
        rows = {layer: [i for i, goal in enumerate(goals) if goal.layer == layer] for layer in layers}
        errors = [
            normalised_error(found[layer][rows[layer]], self.wanted[layer][[goals[i].photo for i in rows[layer]]])
            for layer in layers
        ]
        return torch.cat(errors)[torch.tensor([i for layer in layers for i in rows[layer]]).argsort()]

    def window(self, x: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
        """What the network sees of images `x`: a window of its own size, at each image's (row, column)."""
        height, width = self.shape[1:]
        if x.shape[2:] == (height, width):
            return x
        cut = [image[:, r : r + height, c : c + width] for image, (r, c) in zip(x, offsets, strict=True)]
        return torch.stack(cut)

    def offsets(self, x: Tensor, step: int, goals: Sequence[Goal]) -> list[tuple[int, int]]:
        """Where each goal's window lies: at random in the first `jitter_steps` steps, then in the middle."""
        margin = x.shape[2] - self.shape[1]
        if step >= self.settings.energy.jitter_steps or not margin:
            return [(margin // 2, margin // 2)] * len(goals)
        streams = [goal.generator(self.seeds, f"jitter/{step}") for goal in goals]
        draws = [torch.randint(0, margin + 1, (2,), generator=stream).tolist() for stream in streams]
        return [(row, column) for row, column in draws]


def normalised_error(found: Tensor, wanted: Tensor) -> Tensor:
    """(N,): ‖Φ − Φ₀‖² / ‖Φ₀‖² of each item. Mahendran & Vedaldi 2014, Sect. 2."""
    return (found - wanted).square().flatten(1).sum(1) / wanted.square().flatten(1).sum(1)


def representations(network: Network, photos: Tensor, goals: Sequence[Goal]) -> dict[str, Tensor]:
    """By layer the photos' activations (N, …); refuses one that is zero, which no image could be found from."""
    with torch.no_grad():
        wanted = network.activations(photos, list(dict.fromkeys(goal.layer for goal in goals)))
    for layer, values in wanted.items():
        if (values.flatten(1).abs().amax(1) == 0).any():
            raise DeepInsideError(
                f"inversion: expected a representation at {layer}, found all zeros for one of the photos; "
                "leave the layer out of technique.layers."
            )
    return wanted


def reconstruction(network: Network, name: str, best: Preimage) -> Panel:
    shown = (best.image + network.mean).cpu()  # the training mean is added back for display
    return Panel(name, shown, "photo", f"error {100 * best.error:.1f} %")


def chosen_layers(wanted: str | Sequence[str], network: Network) -> dict[str, str]:
    """The layers asked for: the name to show, and the network's own; each layer once, in the order asked for.

    Names to show are safe in files' names. "all" leaves out what only changes a layer's shape. Raises DeepInsideError
    for a layer the network has not.
    """
    if wanted == "all":
        named = [name for name in network.layers if not isinstance(network.module_of(name), nn.Flatten)]
        return {safe_name(name): name for name in named}
    chosen: dict[str, str] = {}
    for request in [wanted] if isinstance(wanted, str) else wanted:
        name, layer = first_known(request, network)
        if layer not in chosen.values():
            chosen[safe_name(name)] = layer
    return chosen


def first_known(request: str, network: Network) -> tuple[str, str]:
    """The first of `request`'s alternatives that the network knows, as it was asked for and as the network calls it."""
    *others, last = [name.strip() for name in request.split("|")]
    for name in others:
        try:
            return layer_called(name, network)
        except DeepInsideError:
            continue
    return layer_called(last, network)


def layer_called(name: str, network: Network) -> tuple[str, str]:
    """The name to show and the layer's own, from any of its names or from a share of the depth such as "40%"."""
    share = re.fullmatch(r"(\d+)\s*%", name)
    if share is None:
        return name, network.resolve(name)
    layers = list(chosen_layers("all", network).values())
    layer = layers[min(max(round(int(share[1]) / 100 * len(layers)), 1), len(layers)) - 1]
    return layer, layer


def depth(network: Network, layer: str) -> float:
    """A layer's place among the network's layers over their number, in (0, 1]."""
    return (list(network.layers).index(layer) + 1) / len(network.layers)


def stride(network: Network, layer: str) -> int:
    """How many pixels lie between a layer's neighbouring positions; without any, those of the last layer before it."""
    layers = list(network.layers.values())
    before = layers[: list(network.layers).index(layer) + 1]
    maps = [one.shape for one in before if len(one.shape) == 3 and one.shape[1] * one.shape[2] > 1]
    return round(network.size[0] / maps[-1][1]) if maps else 1
