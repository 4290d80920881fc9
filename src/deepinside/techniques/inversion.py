"""Inversion: the image that a layer's representation is left with (Mahendran & Vedaldi 2014 and 2016)."""

import math
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, replace
from functools import cached_property
from itertools import groupby

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deepinside.attribution.gradients import centre_crop
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.optimisation.batching import Groups, grouped
from deepinside.optimisation.optimisers import (
    LBFGS,
    AdaGrad,
    Adam,
    Momentum,
    OptimisationRequest,
    OptimisationRequests,
    Parts,
    Stepwise,
    run_requests,
)
from deepinside.optimisation.priors import Mahendran2014, Mahendran2016
from deepinside.optimisation.regularisers import squared_norm
from deepinside.optimisation.safeguard import Safeguarded
from deepinside.types import ImageBatch, Item, Panel, Seeds, TechniqueOutput, safe_name


@plain_dataclass(frozen=True)
class InversionTarget:
    """One image to be found: photo number `photo` of the batch through `layer`, from noise of its own stream."""

    layer: str
    photo: int
    restart: int
    number: int  # the photo's place in the whole set, which names its streams
    seeds: Seeds
    energy: Mahendran2014 | Mahendran2016

    def generator(self, stream: str) -> torch.Generator:
        return self.seeds.generator(self.number, f"{stream}/{self.layer}/{self.restart}")


@plain_dataclass(frozen=True)
class Reconstruction:
    """What was found for one goal: the image (C, H, W), its normalised error, and the error at every step (steps,).

    `step_scale` is the share of the optimiser's step that was stable to the end.
    """

    goal: InversionTarget
    image: Tensor
    error: float
    trace: Tensor
    step_scale: float = 1.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inversion:
    """arg min over x of ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + R(x), x in zero-centred pixels, for each photo and each layer Φ.

    `layers` are any of the network's, by any of their names; "all" of them; alternatives as in "block3_conv1 | conv3",
    of which the first known is taken; or "40%", the layer at that share of the depth. `energy` is R with its weights,
    of 2014 or of 2016. `restarts` images are found for each layer from different noise, and that with the smallest
    error is shown. `layers_at_once` layers share a batch, which changes the speed only. With `safeguard` the
    optimiser's step is halved, photo by photo and layer by layer, wherever the energy rises plainly instead of falling.
    """

    layers: str | tuple[str, ...] = "all"
    energy: Mahendran2014 | Mahendran2016 = Field(default_factory=Mahendran2014)
    restarts: PositiveInt = 1
    layers_at_once: PositiveInt = 4
    safeguard: bool = True
    optimiser: Momentum | AdaGrad | Adam | LBFGS = Field(
        default_factory=lambda: Momentum(schedule=((100, 0.004), (200, 0.0004), (100, 0.00004)))
    )

    def check(self, network: Network) -> None:
        """Raise DeepInsideError where the network does not know a layer."""
        chosen_layers(self.layers, network)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item a photo: the photo, then one reconstruction a layer, `reconstruction_LAYER`, pixels 0-255.

        Metrics: `LAYER/error`, the normalised squared error of the representation, and with several restarts
        `LAYER/error_restart_K` of each; `LAYER/step_scale`, the share of the optimiser's step that was left, where the
        safeguard had to act. Raises DeepInsideError where a photo's representation is zero.
        """
        return run_requests(self.optimisation_requests(network, batch, seeds))

    def optimisation_requests(
        self, network: Network, batch: ImageBatch, seeds: Seeds
    ) -> OptimisationRequests[TechniqueOutput]:
        """The same as a generator that asks for its optimisations, so that runs of a sweep can share a batch."""
        if not len(batch):
            return TechniqueOutput(())
        layers = chosen_layers(self.layers, network)
        whole = (batch.pixels.shape[2], batch.pixels.shape[3])
        photos = centre_crop(whole, network.size)[0].cut(batch.pixels, network.size)
        found: list[Reconstruction] = []
        for group in self.groups(list(layers.values()), network):
            found += yield from self.invert(network, photos, self.goals(group, batch, seeds))
        items = (self.item(network, batch, photos, layers, found, place) for place in range(len(batch)))
        return TechniqueOutput(tuple(items), (*self.deviations(network), *lowered(found)))

    def groups(self, layers: Sequence[str], network: Network) -> Iterator[list[str]]:
        """Neighbouring layers whose images have one size, at most `layers_at_once` together."""
        for _, alike in groupby(layers, lambda layer: self.energy.margin(stride(network, layer))):
            group = list(alike)
            yield from (group[i : i + self.layers_at_once] for i in range(0, len(group), self.layers_at_once))

    def goals(self, layers: Sequence[str], batch: ImageBatch, seeds: Seeds) -> list[InversionTarget]:
        return [
            InversionTarget(layer, place, restart, photo.number, seeds, self.energy)
            for layer in layers for place, photo in enumerate(batch.photos) for restart in range(self.restarts)
        ]  # fmt: skip

    def invert(
        self, network: Network, photos: Tensor, goals: Sequence[InversionTarget]
    ) -> OptimisationRequests[list[Reconstruction]]:
        """One image for every goal, all in one batch."""
        margin = self.energy.margin(stride(network, goals[0].layer))
        shape = (photos.shape[1], photos.shape[2] + margin, photos.shape[3] + margin)
        start = torch.stack([self.energy.start(shape, goal.generator("start")) for goal in goals]).to(photos)
        match = RepresentationLoss(
            network, tuple(goals), tuple(photos.shape[1:]), representations(network, photos, goals)
        )
        found = yield OptimisationRequest(self.rule, start, match)
        with torch.no_grad():
            images = match.window(found.images, [(margin // 2, margin // 2)] * len(goals))
            errors = match.errors(images, range(len(goals))).tolist()
        scales = found.trace["step_scale"].amin(1).tolist() if "step_scale" in found.trace else [1.0] * len(goals)
        traces = found.trace["error"]
        return [Reconstruction(g, images[i], errors[i], traces[i], scales[i]) for i, g in enumerate(goals)]

    @property
    def rule(self) -> Stepwise | LBFGS:
        """The optimiser, safeguarded where it has no line search of its own."""
        if not self.safeguard or isinstance(self.optimiser, LBFGS):
            return self.optimiser
        return Safeguarded(self.optimiser)

    def item(
        self, network: Network, batch: ImageBatch, photos: Tensor, layers: Mapping[str, str],
        found: Sequence[Reconstruction], place: int,
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
            metrics |= {f"{name}/step_scale": best.step_scale} if best.step_scale < 1 else {}
            if self.restarts > 1:
                metrics |= {f"{name}/error_restart_{one.goal.restart + 1}": one.error for one in tried}
        return Item(stem, stem, tuple(panels), metrics, trace, batch.photos[place].notes)

    def deviations(self, network: Network) -> tuple[str, ...]:
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
            "layers that stand in for those named first, which this network has not": stands_in(self.layers, network),
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class RepresentationLoss:
    """The gain that is raised: minus the weighted error of each goal's representation, minus its penalty.

    `shape` (C, H, W) is what the network takes; the images may be larger by the energy's margin, so that it sees
    windows of them. `wanted` holds each goal's representation, (1, …).
    """

    network: Network
    goals: tuple[InversionTarget, ...]
    shape: tuple[int, ...]
    wanted: tuple[Tensor, ...]
    held: dict[range, tuple[Groups, Mapping[str, Tensor]]] = field(default_factory=dict, init=False, repr=False)

    @property
    def kind(self) -> Hashable:
        return self.network, self.shape

    def join(self, others: Sequence["RepresentationLoss"]) -> "RepresentationLoss":
        goals = sum((other.goals for other in others), self.goals)
        return replace(self, goals=goals, wanted=sum((other.wanted for other in others), self.wanted))

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]:
        goals = self.goals[items.start : items.stop]
        error = self.errors(self.window(x, [self.offset(goal, x, step) for goal in goals]), items)
        depths = self.depths[items.start : items.stop]
        energies = grouped(tuple(goal.energy for goal in goals), x.device)
        penalty = energies.map(lambda energy, rows: energy.penalty(x[rows.index], self.shape, rows.of(depths)))
        weights = energies.map(lambda energy, rows: energy.error_weights(self.shape, rows.of(depths), x))
        return -weights * error - penalty, {"error": error, "regulariser": penalty}

    @cached_property
    def depths(self) -> tuple[float, ...]:
        """Of each goal's layer."""
        return tuple(depth(self.network, goal.layer) for goal in self.goals)

    def errors(self, seen: Tensor, items: range) -> Tensor:
        """(N,): ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² of what the network sees for the goals `items`, (N, C, H, W).

        Mahendran & Vedaldi 2014, Sect. 2.
        """
        groups, wanted = self.by_layer(items)
        found = self.network.activations(seen, list(groups.rows))
        off = groups.map(lambda layer, rows: squared_norm(found[layer][rows.index] - wanted[layer]))
        return off / groups.map(lambda layer, _: squared_norm(wanted[layer]))

    def by_layer(self, items: range) -> tuple[Groups, Mapping[str, Tensor]]:
        """The goals `items` grouped by layer, and by layer the representations wanted of them, (n, …)."""
        if items not in self.held:
            wanted = self.wanted[items.start : items.stop]
            groups = grouped(tuple(goal.layer for goal in self.goals[items.start : items.stop]), wanted[0].device)
            self.held[items] = groups, {layer: torch.cat(rows.of(wanted)) for layer, rows in groups.rows.items()}
        return self.held[items]

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        """The images kept within their energies' bounds."""
        energies = grouped(tuple(goal.energy for goal in self.goals[items.start : items.stop]), x.device)
        return energies.map(lambda energy, rows: energy.project(x[rows.index]))

    def offset(self, goal: InversionTarget, x: Tensor, step: int) -> tuple[int, int]:
        """Where a goal's window lies: at random in the first `jitter_steps` steps, then in the middle."""
        margin = x.shape[2] - self.shape[1]
        if step >= goal.energy.jitter_steps or not margin:
            return margin // 2, margin // 2
        row, column = torch.randint(0, margin + 1, (2,), generator=goal.generator(f"jitter/{step}")).tolist()
        return row, column

    def window(self, x: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
        """What the network sees of images `x`: a window of its own size, at each image's (row, column)."""
        height, width = self.shape[1:]
        if x.shape[2:] == (height, width):
            return x
        cut = [image[:, r : r + height, c : c + width] for image, (r, c) in zip(x, offsets, strict=True)]
        return torch.stack(cut)


def representations(network: Network, photos: Tensor, goals: Sequence[InversionTarget]) -> tuple[Tensor, ...]:
    """Every goal's activations (1, …); refuses one that is zero, which no image could be found from."""
    with torch.no_grad():
        wanted = network.activations(photos, list(dict.fromkeys(goal.layer for goal in goals)))
    for layer, values in wanted.items():
        if (values.flatten(1).abs().amax(1) == 0).any():
            raise DeepInsideError(
                f"inversion: expected a representation at {layer}, found all zeros for one of the photos; "
                "leave the layer out of technique.layers."
            )
    return tuple(wanted[goal.layer][goal.photo : goal.photo + 1] for goal in goals)


def lowered(found: Sequence[Reconstruction]) -> tuple[str, ...]:
    """What is said where the safeguard acted; the same whatever photos share a batch."""
    if all(one.step_scale == 1 for one in found):
        return ()
    # Differs from the paper: its step is one for all layers of its own networks.
    return ("the step was halved where the energy rose instead of falling; LAYER/step_scale says how far",)


def stands_in(wanted: str | Sequence[str], network: Network) -> bool:
    """Whether the first alternative of any layer asked for is not known to the network."""
    first = [one.split("|")[0].strip() for one in ([wanted] if isinstance(wanted, str) else wanted) if "|" in one]
    return any(name not in {*network.layers, *network.synonyms} for name in first if not name.endswith("%"))


def reconstruction(network: Network, name: str, best: Reconstruction) -> Panel:
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
