"""Inversion: images reconstructed from a layer's representation (Mahendran & Vedaldi 2014 and 2016)."""

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
from deepinside.attribution.units import ALL_UNITS, Box, Channels, Units, receptive_field
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics import contrast
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
from deepinside.types import ImageBatch, Item, Panel, PanelKind, Seeds, TechniqueOutput, safe_name

Codes = Mapping[tuple[str, Units], Tensor]
"""Representations (n, …) by layer and units."""


@plain_dataclass(frozen=True)
class InversionTarget:
    """One image to reconstruct: photo `photo` of the batch from `units` of `layer`, with its own random streams."""

    layer: str
    photo: int
    restart: int
    number: int  # the photo's number in the complete set, which names its streams
    seeds: Seeds
    energy: Mahendran2014 | Mahendran2016
    units: Units = ALL_UNITS

    @property
    def code(self) -> tuple[str, Units]:
        """What is matched: some units of a layer."""
        return self.layer, self.units

    def generator(self, stream: str) -> torch.Generator:
        return self.seeds.generator(self.number, f"{stream}/{self.layer}/{self.restart}")


@plain_dataclass(frozen=True)
class Reconstruction:
    """The result for one target: the image (C, H, W), its normalised error, and the error at every step (steps,).

    `step_scale` is the final step as a share of the optimiser's. `field` is the receptive field of a neighbourhood.
    """

    target: InversionTarget
    image: Tensor
    error: float
    trace: Tensor
    step_scale: float = 1.0
    field: Box | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inversion:
    """arg min over x of ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² + R(x), x in mean-subtracted pixels, for each photo and each layer Φ.

    `layers` are layers of the network, by any of their names; "all"; alternatives as in "block3_conv1 | conv3", the
    first that exists is used; or "40%", the layer at that share of the depth. `energy` is R with its weights, of
    2014 or of 2016. Each layer is inverted `restarts` times from different noise; the images are shown by error, the
    smallest first. `layers_at_once` layers share a batch, which changes the speed only. With `safeguard` the
    optimiser's step is halved for each photo and layer whose energy rises clearly (see
    `deepinside.optimisation.safeguard`). With a `neighbourhood` of n, Φ is only the n × n positions at the layer's
    centre (2014, Fig. 9); with `channels` "first_half" or "second_half" it is only that half of the channels (Fig. 10).
    With `stretched` the pictures range from their smallest to their largest value, for representations without
    contrast, such as HOG.
    """

    layers: str | tuple[str, ...] = "all"
    energy: Mahendran2014 | Mahendran2016 = Field(default_factory=Mahendran2014)
    restarts: PositiveInt = 1
    layers_at_once: PositiveInt = 4
    safeguard: bool = True
    stretched: bool = False
    neighbourhood: PositiveInt | None = None
    channels: Channels = "all"
    optimiser: Momentum | AdaGrad | Adam | LBFGS = Field(
        default_factory=lambda: Momentum(schedule=((100, 0.004), (200, 0.0004), (100, 0.00004)))
    )

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have a layer, or a layer has no half of its channels."""
        for name, layer in chosen_layers(self.layers, network).items():
            shape = network.layers[layer].shape
            if self.channels != "all" and shape[-1 if len(shape) == 2 else 0] < 2:
                raise DeepInsideError(
                    f"technique.channels: expected layers of at least two channels, found {name} with one; take it "
                    "out of technique.layers."
                )

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo: the photo, then one reconstruction per layer, `reconstruction_LAYER`, intensities 0–255,
        followed by those of its other restarts, `another_LAYER_2` and so on.

        Metrics: `LAYER/error`, the normalised squared error of the representation, and with several restarts
        `LAYER/error_restart_K` of each and `LAYER/restarts_apart`, the root mean square difference of the first two
        images in intensities; `LAYER/step_scale`, the final step as a share of the optimiser's, where it was halved. A
        layer that is zero everywhere for a photo has no normalised error; that photo is not reconstructed from it, and
        a note says so. With a `neighbourhood` or half of the channels: also those of `restricted_metrics`.
        """
        return run_requests(self.optimisation_requests(network, batch, seeds))

    def optimisation_requests(
        self, network: Network, batch: ImageBatch, seeds: Seeds
    ) -> OptimisationRequests[TechniqueOutput]:
        """The same as a generator of optimisation requests, so that runs of a sweep can share a batch."""
        if not len(batch):
            return TechniqueOutput(())
        layers = chosen_layers(self.layers, network)
        photo_size = (batch.pixels.shape[2], batch.pixels.shape[3])
        photos = centre_crop(photo_size, network.size)[0].cut(batch.pixels, network.size)
        found: list[Reconstruction] = []
        for group in self.groups(list(layers.values()), network):
            found += yield from self.invert(network, photos, self.targets(group, batch, seeds))
        items = (self.item(network, batch, photos, layers, found, place) for place in range(len(batch)))
        return TechniqueOutput(tuple(items), (*self.deviations(network), *halved(found)))

    def groups(self, layers: Sequence[str], network: Network) -> Iterator[list[str]]:
        """Neighbouring layers whose images have one size, at most `layers_at_once` together."""
        for _, members in groupby(layers, lambda layer: self.energy.margin(stride(network, layer))):
            group = list(members)
            yield from (group[i : i + self.layers_at_once] for i in range(0, len(group), self.layers_at_once))

    @property
    def units(self) -> Units:
        """The units of a layer that are inverted."""
        return Units(self.neighbourhood, self.channels)

    def targets(self, layers: Sequence[str], batch: ImageBatch, seeds: Seeds) -> list[InversionTarget]:
        return [
            InversionTarget(layer, place, restart, photo.number, seeds, self.energy, self.units)
            for layer in layers for place, photo in enumerate(batch.photos) for restart in range(self.restarts)
        ]  # fmt: skip

    def invert(
        self, network: Network, photos: Tensor, targets: Sequence[InversionTarget]
    ) -> OptimisationRequests[list[Reconstruction]]:
        """One image for every target whose representation is not zero, all in one batch."""
        wanted = representations(network, photos, targets)
        if not wanted:
            return []
        targets = list(wanted)
        margin = self.energy.margin(stride(network, targets[0].layer))
        shape = (photos.shape[1], photos.shape[2] + margin, photos.shape[3] + margin)
        start = torch.stack([self.energy.start(shape, one.generator("start")) for one in targets]).to(photos)
        loss = RepresentationLoss(network, tuple(targets), tuple(photos.shape[1:]), tuple(wanted.values()))
        found = yield OptimisationRequest(self.rule, start, loss)
        with torch.no_grad():
            images = loss.window(found.images, [(margin // 2, margin // 2)] * len(targets))
            errors = loss.errors(images, range(len(targets))).tolist()
        scales = found.trace["step_scale"].amin(1).tolist() if "step_scale" in found.trace else [1.0] * len(targets)
        fields = {code: self.field(network, *code) for code in dict.fromkeys(one.code for one in targets)}
        boxes = [fields[one.code] for one in targets]
        rows = zip(targets, images, errors, found.trace["error"], scales, boxes, strict=True)
        return [Reconstruction(*row) for row in rows]

    @staticmethod
    def field(network: Network, layer: str, units: Units) -> Box | None:
        """The receptive field of a layer's neighbourhood; None if all of its positions are inverted."""
        return receptive_field(network, layer, units) if units.omits_positions(network.layers[layer].shape) else None

    @property
    def rule(self) -> Stepwise | LBFGS:
        """The optimiser, with the safeguard unless it has a line search."""
        if not self.safeguard or isinstance(self.optimiser, LBFGS):
            return self.optimiser
        return Safeguarded(self.optimiser)

    def item(
        self, network: Network, batch: ImageBatch, photos: Tensor, layers: Mapping[str, str],
        found: Sequence[Reconstruction], place: int,
    ) -> Item:  # fmt: skip
        """One photo's reconstructions, in the order of `layers` (displayed name to layer)."""
        stem, notes = batch.photos[place].stem, [*batch.photos[place].notes, *self.notes(network, layers)]
        panels = [Panel("photo", (photos[place] + network.mean).cpu(), "photo", stem)]
        metrics: dict[str, float] = {}
        trace: dict[str, Tensor] = {}
        for name, layer in layers.items():
            tried = [one for one in found if (one.target.layer, one.target.photo) == (layer, place)]
            if not tried:
                notes.append(f"{stem} is not reconstructed from {name}: the layer is zero everywhere for it")
                continue
            best, *others = sorted(tried, key=lambda one: one.error)
            kind: PanelKind = "stretched" if self.stretched else "photo"
            panels.append(reconstruction(network, f"reconstruction_{name}", best, kind))
            panels += [reconstruction(network, f"another_{name}_{k}", one, kind) for k, one in enumerate(others, 2)]
            measured = restricted_metrics(best, photos[place])
            metrics |= {f"{name}/error": best.error, **{f"{name}/{kind}": value for kind, value in measured.items()}}
            trace[f"{name}/error"] = best.trace
            metrics |= {f"{name}/step_scale": best.step_scale} if best.step_scale < 1 else {}
            if self.restarts > 1:
                metrics |= {f"{name}/error_restart_{one.target.restart + 1}": one.error for one in tried}
                metrics[f"{name}/restarts_apart"] = (tried[0].image - tried[1].image).square().mean().sqrt().item()
        return Item(stem, stem, tuple(panels), metrics, trace, tuple(notes))

    def notes(self, network: Network, layers: Mapping[str, str]) -> Iterator[str]:
        """What a restriction to some units does not do on this network, one sentence each."""
        shapes = {name: network.layers[layer].shape for name, layer in layers.items()}
        complete = [name for name, shape in shapes.items() if not self.units.omits_positions(shape)]
        if self.neighbourhood and complete:
            yield f"a neighbourhood of {self.neighbourhood} leaves out no position of {', '.join(complete)}"
        if self.channels != "all" and not has_two_groups(network):
            yield f"{network.name} has no convolution in two groups, so the halves of its channels are no streams"

    def deviations(self, network: Network) -> tuple[str, ...]:
        """Deviations from the paper, one sentence each."""
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
            f"weights by share of the depth: the paper gives them for twenty layers, these are {count}": count != 20
            and self.energy.weights_by_depth,
            "alternatives to the first-named layers, which this network does not have": uses_alternatives(
                self.layers, network
            ),
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class RepresentationLoss:
    """The objective: minus the weighted error of each target's representation, minus its penalty.

    `shape` (C, H, W) is the network's input; the images may be larger by the energy's margin, then the network is
    applied to windows of them. `wanted` holds each target's representation, (1, …).
    """

    network: Network
    targets: tuple[InversionTarget, ...]
    shape: tuple[int, ...]
    wanted: tuple[Tensor, ...]
    cache: dict[range, tuple[Groups, Codes]] = field(default_factory=dict, init=False, repr=False)

    @property
    def kind(self) -> Hashable:
        return self.network, self.shape

    def join(self, others: Sequence["RepresentationLoss"]) -> "RepresentationLoss":
        targets = sum((other.targets for other in others), self.targets)
        return replace(self, targets=targets, wanted=sum((other.wanted for other in others), self.wanted))

    def dead_start_advice(self, items: Sequence[int]) -> str:
        layers = dict.fromkeys(self.targets[item].layer for item in items)
        return f"take other layers than {', '.join(layers)} in technique.layers, or layers before their last ReLU"

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]:
        targets = self.targets[items.start : items.stop]
        error = self.errors(self.window(x, [self.offset(one, x, step) for one in targets]), items)
        depths = self.depths[items.start : items.stop]
        energies = grouped(tuple(one.energy for one in targets), x.device)
        penalty = energies.map(lambda energy, rows: energy.penalty(x[rows.index], self.shape, rows.of(depths)))
        weights = energies.map(lambda energy, rows: energy.error_weights(self.shape, rows.of(depths), x))
        return -weights * error - penalty, {"error": error, "regulariser": penalty}

    @cached_property
    def depths(self) -> tuple[float, ...]:
        """The relative depth of each target's layer."""
        return tuple(depth(self.network, one.layer) for one in self.targets)

    def errors(self, windows: Tensor, items: range) -> Tensor:
        """(N,): ‖Φ(x) − Φ₀‖² / ‖Φ₀‖² of the windows (N, C, H, W) for the targets `items`.

        Mahendran & Vedaldi 2014, Sect. 2.
        """
        groups, wanted = self.by_code(items)
        found = self.network.activations(windows, list(dict.fromkeys(layer for layer, _ in groups.rows)))
        distances = groups.map(lambda code, rows: squared_norm(code[1].of(found[code[0]][rows.index]) - wanted[code]))
        return distances / groups.map(lambda code, _: squared_norm(wanted[code]))

    def by_code(self, items: range) -> tuple[Groups, Codes]:
        """The targets `items` grouped by layer and units, and by both their representations, (n, …)."""
        if items not in self.cache:
            wanted = self.wanted[items.start : items.stop]
            groups = grouped(tuple(one.code for one in self.targets[items.start : items.stop]), wanted[0].device)
            self.cache[items] = groups, {code: torch.cat(rows.of(wanted)) for code, rows in groups.rows.items()}
        return self.cache[items]

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        """The images projected to their energies' bounds."""
        energies = grouped(tuple(one.energy for one in self.targets[items.start : items.stop]), x.device)
        return energies.map(lambda energy, rows: energy.project(x[rows.index]))

    def offset(self, target: InversionTarget, x: Tensor, step: int) -> tuple[int, int]:
        """The corner of a target's window: random in the first `jitter_steps` steps, then centred."""
        margin = x.shape[2] - self.shape[1]
        if step >= target.energy.jitter_steps or not margin:
            return margin // 2, margin // 2
        row, column = torch.randint(0, margin + 1, (2,), generator=target.generator(f"jitter/{step}")).tolist()
        return row, column

    def window(self, x: Tensor, offsets: Sequence[tuple[int, int]]) -> Tensor:
        """The windows of the images `x` at each image's (row, column), of the size of the network's input."""
        height, width = self.shape[1:]
        if x.shape[2:] == (height, width):
            return x
        cut = [image[:, r : r + height, c : c + width] for image, (r, c) in zip(x, offsets, strict=True)]
        return torch.stack(cut)


def representations(
    network: Network, photos: Tensor, targets: Sequence[InversionTarget]
) -> dict[InversionTarget, Tensor]:
    """The units (1, …) of every target; without those that are all zero, whose error cannot be normalised."""
    with torch.no_grad():
        layers = network.activations(photos, list(dict.fromkeys(one.layer for one in targets)))
    found = {one: one.units.of(layers[one.layer][one.photo : one.photo + 1]) for one in targets}
    return {one: values for one, values in found.items() if bool(values.any())}


def restricted_metrics(found: Reconstruction, photo: Tensor) -> dict[str, float]:
    """What a reconstruction from some of a layer's units is measured by, against its photo (C, H, W).

    Of a neighbourhood with the receptive field F: `field`, the side of F as a share of the image's; `inside`, the share
    of the reconstruction's contrast in F; `effective_field`, the side of the effective field as a share of the side of
    F: how far the contrast in F spreads from the centre, over how far the photo's does. Of half of the channels:
    `colour_share` and `frequency`, see `deepinside.metrics.contrast`.
    """
    metrics: dict[str, float] = {}
    x, box = found.image, found.field
    if box is not None:
        side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        metrics |= {"field": side / math.sqrt(math.prod(x.shape[1:])), "inside": contrast.share_inside(x, box)}
        metrics["effective_field"] = contrast.spread(x, box) / (contrast.spread(photo, box) or 1.0)
    if found.target.units.channels != "all" and len(x) == 3:
        metrics |= {"colour_share": contrast.colour_share(x), "frequency": contrast.frequency(x)}
    return metrics


def has_two_groups(network: Network) -> bool:
    """Whether a convolution has two groups of channels, as CaffeNet's second."""
    return any(isinstance(module, nn.Conv2d) and module.groups == 2 for module in network.module.modules())


def halved(found: Sequence[Reconstruction]) -> tuple[str, ...]:
    """The deviation to report if the safeguard halved a step; it does not depend on the rest of the batch."""
    if all(one.step_scale == 1 for one in found):
        return ()
    # Differs from the paper: its step is one for all layers of its own networks.
    return ("the step was halved where the energy rose instead of falling; LAYER/step_scale says how far",)


def uses_alternatives(wanted: str | Sequence[str], network: Network) -> bool:
    """Whether the network does not have the first alternative of some layer."""
    first = [one.split("|")[0].strip() for one in ([wanted] if isinstance(wanted, str) else wanted) if "|" in one]
    return any(name not in {*network.layers, *network.synonyms} for name in first if not name.endswith("%"))


def reconstruction(network: Network, name: str, best: Reconstruction, kind: PanelKind) -> Panel:
    shown = (best.image + network.mean).cpu()  # the mean is added back for display
    boxes = None if best.field is None else torch.tensor([best.field], dtype=torch.float32)
    return Panel(name, shown, kind, f"error {100 * best.error:.1f} %", boxes)


def chosen_layers(wanted: str | Sequence[str], network: Network) -> dict[str, str]:
    """The layers to invert, displayed name to the network's name; each layer once, in the order of `wanted`.

    Displayed names are safe in file names. "all" leaves out layers that only change the shape. Raises DeepInsideError
    for a layer that the network does not have.
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
    """The first of the alternatives that the network has: its displayed name and the network's name."""
    *others, last = [name.strip() for name in request.split("|")]
    for name in others:
        try:
            return layer_called(name, network)
        except DeepInsideError:
            continue
    return layer_called(last, network)


def layer_called(name: str, network: Network) -> tuple[str, str]:
    """A layer's displayed name and the network's name, from any of its names or a relative depth such as "40%"."""
    share = re.fullmatch(r"(\d+)\s*%", name)
    if share is None:
        return name, network.resolve(name)
    layers = list(chosen_layers("all", network).values())
    layer = layers[min(max(round(int(share[1]) / 100 * len(layers)), 1), len(layers)) - 1]
    return layer, layer


def depth(network: Network, layer: str) -> float:
    """A layer's relative depth: its position among the network's layers divided by their number, in (0, 1]."""
    return (list(network.layers).index(layer) + 1) / len(network.layers)


def stride(network: Network, layer: str) -> int:
    """Pixels between neighbouring positions of a layer, or of the last layer before it that has positions."""
    layers = list(network.layers.values())
    before = layers[: list(network.layers).index(layer) + 1]
    maps = [one.shape for one in before if len(one.shape) == 3 and one.shape[1] * one.shape[2] > 1]
    return round(network.size[0] / maps[-1][1]) if maps else 1
