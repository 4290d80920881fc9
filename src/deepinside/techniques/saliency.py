"""The saliency map: how much each pixel matters to the class score (Simonyan et al. 2013, Sect. 3.1).

With another rule for the ReLUs, the same code computes DeconvNet and guided back-propagation maps (Sect. 4), of a class
or of a unit of any layer. The gradient can be averaged over noisy copies of the photo (SmoothGrad) or along the path
from a baseline (integrated gradients).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.averaging import Average, IntegratedGradients, Windows, average_windows, completeness_error
from deepinside.attribution.gradients import (
    Crop,
    ForwardPass,
    average_over_crops,
    centre_crop,
    in_micro_batches,
    ten_crops,
)
from deepinside.attribution.relu_rules import ReluRule, check_rule, count_relus, rule_notes, with_rule
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import Objective, check_objective, is_saturated, probability
from deepinside.targets import PER_PHOTO, Target, TargetRequest, check, check_even, for_batch, target_notes
from deepinside.types import ImageBatch, Item, Panel, PanelKind, Photo, Seeds, TechniqueOutput, safe_name, unique

Show = Literal["magnitude", "signed", "colour", "input_times_gradient"]


def magnitude(gradient: Tensor, _: Tensor) -> Tensor:
    """M_ij = max over channels of |w_ijc|, for grey photos |w_ij|; (N, H, W). Simonyan et al. 2013, Sect. 3.1."""
    return gradient.abs().amax(1)


def signed(gradient: Tensor, _: Tensor) -> Tensor:
    """The sum of w over channels, (N, H, W), keeping its sign: where a brighter pixel raises the score."""
    return gradient.sum(1)


def input_times_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    """Σ over channels of w·I, (N, H, W), I mean-subtracted: each pixel's term of the linearised score (eq. 3)."""
    return (gradient * x).sum(1)


def colour(gradient: Tensor, _: Tensor) -> Tensor:
    """w itself, (N, C, H, W), with its signs: DeconvNet pictures are displayed like this, about mid-grey."""
    return gradient


REDUCTIONS: dict[Show, Callable[[Tensor, Tensor], Tensor]] = {
    "magnitude": magnitude,
    "signed": signed,
    "colour": colour,
    "input_times_gradient": input_times_gradient,
}
"""From the gradient (N, C, H, W) at x (N, C, H, W) to a map (N, H, W), or (N, C, H, W) in colour."""
LOOKS: dict[Show, PanelKind] = {
    "magnitude": "magnitude",
    "signed": "signed",
    "colour": "colour",
    "input_times_gradient": "signed",
}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Saliency:
    """w = ∂S_c/∂I at each photo, reduced to one map; over one centre crop or averaged over the paper's ten.

    `target` is a class, group or unit (see `deepinside.targets`), "top1", "topK" for K maps per photo, "true", or
    several of these. An `objective` other than "score" differentiates through the soft-max, like tools that do not
    remove it. A `relu_rule` other than "gradient" applies to every ReLU (see `attribution.relu_rules`).

    `average` replaces the gradient by its mean over versions of the photo: "smooth_grad" or "integrated_gradients", or
    a kind with its keys, such as `{kind: smooth_grad, samples: 16, sigma: 0.2}` (see `attribution.averaging`).
    """

    target: TargetRequest | tuple[TargetRequest, ...] = "top1"
    objective: Objective = "score"
    show: Show = "magnitude"
    crops: Literal["centre", "ten"] = "centre"
    relu_rule: ReluRule = "gradient"
    average: Average = None

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have a target, the objective is not defined for it, or the
        rule has no ReLU to act on."""
        if isinstance(self.average, IntegratedGradients) and self.show == "input_times_gradient":
            raise DeepInsideError(
                "show: expected signed, since integrated gradients are multiplied by the input already, "
                "found input_times_gradient."
            )
        for request in self.requests():
            check_even(request)
            target = check(request, network)
            if target is not None:
                check_objective(self.objective, target, network.target)
            check_rule(network, self.relu_rule, [network.target if target is None else target.layer])

    def requests(self) -> tuple[str | int, ...]:
        return self.target if isinstance(self.target, tuple) else (self.target,)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo: the photo, and one map (H, W), or (3, H, W) in colour, for each of its targets."""
        if not len(batch):
            return TechniqueOutput(())
        photo_size = (batch.pixels.shape[2], batch.pixels.shape[3])
        crops = (ten_crops if self.crops == "ten" else centre_crop)(photo_size, network.size)
        modified = network if self.relu_rule == "gradient" else with_rule(network, self.relu_rule)[0]
        (centre,) = centre_crop(photo_size, network.size)
        forward = ForwardPass(
            modified, centre.cut(batch.pixels, network.size), [network.target]
        )  # a rule changes no score
        scores = forward.scores
        names, targets = self.find_targets(network, batch, scores)
        layers = dict.fromkeys(target.layer for target in targets[0])
        check_rule(network, self.relu_rule, layers)
        counts = [count_relus(network, layer) for layer in layers]
        notes = tuple(note for layer in layers for note in rule_notes(network, self.relu_rule, layer))
        target_rows = list(zip(*targets, strict=True))
        further = [{"relu_count": float(min(counts))}] * len(batch)
        if self.average is None:
            known = self.known_maps(forward, centre, target_rows)
            del forward  # frees its activations
        else:
            del forward
            windows = average_windows(modified, batch, target_rows, crops, self.average, seeds, self.objective)
            known = self.reduced_windows(windows, batch.pixels, network.size)
            errors = self.completeness_errors(network, batch.pixels, windows[centre][0], targets)
            further = [{**one, **error} for one, error in zip(further, errors, strict=True)]
        maps = self.averaged(modified, batch.pixels, target_rows, crops, known)
        rows = zip(batch.photos, names, targets, zip(*maps, strict=True), scores, strict=True)
        items = tuple(self.item(network, *row, more, notes) for row, more in zip(rows, further, strict=True))
        return TechniqueOutput(items, self.deviations())

    def find_targets(
        self, network: Network, batch: ImageBatch, scores: Tensor
    ) -> tuple[list[list[str]], list[list[Target]]]:
        """By photo: the panels' names and the targets."""
        requests = self.requests()
        found = [for_batch(request, network, batch, scores) for request in requests]
        targets = [[target for part in row for target in part] for row in zip(*found, strict=True)]
        names = [
            unique(panel_name(request, target) for request, part in zip(requests, row, strict=True) for target in part)
            for row in zip(*found, strict=True)
        ]
        return names if len(targets[0]) > 1 else [["saliency"] for _ in names], targets

    def maps(self, network: Network, x: Tensor, targets: Sequence[Target], crops: Sequence[Crop]) -> Tensor:
        """One map per photo, (N, H, W) or (N, C, H, W), for one target per photo."""
        return self.averaged(network, x, [targets], crops, {})[0]

    def averaged(
        self,
        network: Network,
        x: Tensor,
        target_rows: Sequence[Sequence[Target]],
        crops: Sequence[Crop],
        known: Windows,
    ) -> list[Tensor]:
        """For each row of targets one map per photo, averaged over crops; `known` has the maps of some crops."""
        found = dict(known)
        for group in in_micro_batches([crop for crop in crops if crop not in found], len(x), network.size):
            found |= self.crop_maps(network, x, group, target_rows)
        photo_size = (x.shape[2], x.shape[3])
        return [
            average_over_crops([found[crop][row] for crop in crops], crops, photo_size)
            for row in range(len(target_rows))
        ]

    def reduced_windows(self, windows: Windows, x: Tensor, size: tuple[int, int]) -> Windows:
        reduce = REDUCTIONS[self.show]
        return {crop: [reduce(row, crop.cut(x, size)) for row in rows] for crop, rows in windows.items()}

    def completeness_errors(
        self, network: Network, x: Tensor, attribution: Tensor, targets: Sequence[Sequence[Target]]
    ) -> list[dict[str, float]]:
        """By photo: the relative error of the integral for its first target, from the centre crop's attributions.

        The axiom of completeness (Sundararajan et al. 2017, Sect. 3) is about gradients, not about other ReLU rules.
        """
        if not isinstance(self.average, IntegratedGradients) or self.relu_rule != "gradient":
            return [{} for _ in targets]
        (centre,) = centre_crop((x.shape[2], x.shape[3]), network.size)
        window, first = centre.cut(x, network.size), [row[0] for row in targets]
        errors = completeness_error(network, window, attribution, first, self.average, self.objective)
        return [{"completeness_error": error} for error in errors.tolist()]

    def known_maps(self, forward: ForwardPass, crop: Crop, target_rows: Sequence[Sequence[Target]]) -> Windows:
        """The maps of a crop from its forward pass; empty if that lacks the layer of a target."""
        if any(target.layer not in forward.activations for row in target_rows for target in row):
            return {}
        return {crop: [self.reduced(forward, row) for row in target_rows]}

    def crop_maps(
        self, network: Network, x: Tensor, crops: Sequence[Crop], target_rows: Sequence[Sequence[Target]]
    ) -> Windows:
        """The maps of some crops, in one forward pass."""
        windows = torch.cat([crop.cut(x, network.size) for crop in crops])
        forward = ForwardPass(network, windows, (target.layer for row in target_rows for target in row))
        maps = [self.reduced(forward, [*row] * len(crops)).split(len(x)) for row in target_rows]
        return {crop: [of_row[place] for of_row in maps] for place, crop in enumerate(crops)}

    def reduced(self, forward: ForwardPass, targets: Sequence[Target]) -> Tensor:
        return REDUCTIONS[self.show](forward.gradient(targets, self.objective), forward.x.detach())

    def item(
        self, network: Network, photo: Photo, names: Sequence[str], targets: Sequence[Target], maps: Sequence[Tensor],
        scores: Tensor, further: Mapping[str, float], notes: tuple[str, ...],
    ) -> Item:  # fmt: skip
        shown = Panel("photo", network.input.to_intensities(photo.pixels).cpu(), "photo", photo.stem)
        parts = zip(names, maps, targets, strict=True)
        blanks = [self.why_blank(network, target, values, scores) for values, target in zip(maps, targets, strict=True)]
        panels = [
            Panel(name, values.cpu(), LOOKS[self.show], target.name, blank=blank)
            for (name, values, target), blank in zip(parts, blanks, strict=True)
        ]
        metrics = {**dict(numbers(network, targets, maps, scores)), **further}
        said = (*target_notes(photo, *targets), *notes)
        prediction = of_photo(photo, network, scores, targets[0])
        return Item(photo.stem, photo.stem, (shown, *panels), metrics, notes=said, prediction=prediction)

    def why_blank(self, network: Network, target: Target, values: Tensor, scores: Tensor) -> str:
        """Why a map is uninformative, as far as can be determined; empty for other maps."""
        saturated = self.objective != "score" and target.layer == network.target
        if saturated and is_saturated(probability(scores, target, network.posterior)):
            return "rounding, the posterior is saturated"
        found = blank(values)
        if found and self.relu_rule != "gradient":
            return f"{found}, no signal passes all ReLUs by the rule of {self.relu_rule}"
        return found

    def deviations(self) -> tuple[str, ...]:
        """Deviations from the paper, one sentence each."""
        said = {
            "differentiates through the soft-max, not the class score": self.objective != "score",
            f"the ReLUs use the rule {self.relu_rule}, not gradient": (self.relu_rule != "gradient"),
            f"averages the gradient: {self.average}": self.average is not None,
            "keeps the gradient's sign": self.show != "magnitude",
            "one centre crop, not the average of ten": self.crops != "ten",
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


def panel_name(request: str | int, target: Target) -> str:
    """The name of one map of several: the request if it stands for one map per photo, else the class."""
    if ":" in target.name:  # a unit's name is unique
        return safe_name(target.name)
    return f"saliency_{safe_name(str(request) if request in PER_PHOTO else target.name)}"


def numbers(
    network: Network, targets: Sequence[Target], maps: Sequence[Tensor], scores: Tensor
) -> Iterator[tuple[str, float]]:
    """The first target's score and posterior, if it is a class, and its map's maximum and spread."""
    first = targets[0]
    if first.layer == network.target:
        yield "score", scores[list(first.channels)].mean().item()
        yield "posterior", probability(scores, first, network.posterior)
    yield "map_max", maps[0].abs().max().item()
    if blank(maps[0]):
        return
    # 1 if all pixels are equal, 1/pixels if a single pixel is not zero
    spread = maps[0].abs().sum().square() / maps[0].square().sum().clamp(min=1e-30) / maps[0].numel()
    yield "map_spread", spread.item()
