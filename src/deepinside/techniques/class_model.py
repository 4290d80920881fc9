"""The class model: the image that maximises a class score (Simonyan et al. 2013, Sect. 2)."""

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.networks.micro_batches import micro_batch_size
from deepinside.networks.network import Network, as_scores
from deepinside.networks.spec import Posterior
from deepinside.optimisation import regularisers
from deepinside.optimisation.batching import numbers_like
from deepinside.optimisation.objectives import Objective, check_objective, class_posterior, measure, objective_values
from deepinside.optimisation.optimisers import (
    LBFGS,
    AdaGrad,
    Adam,
    Momentum,
    OptimisationRequest,
    OptimisationRequests,
    Optimised,
    Parts,
    root_mean_square,
    run_requests,
)
from deepinside.optimisation.parametrisation import Parametrisation, along, limit_contrast, multiplier
from deepinside.optimisation.regularisers import Placement
from deepinside.targets import Target, TargetRequest, resolve, target_notes
from deepinside.types import ImageBatch, Item, Panel, PanelKind, Seeds, TechniqueOutput, safe_name, unique

MID_GREY = 127.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassModel:
    """arg max over I of S_c(I) subject to RMS(I) ≤ contrast, I mean-subtracted, for all targets in one batch.

    `contrast` is in intensities (0–255). The solutions are those of the paper's S_c(I) − λ‖I‖₂²: λ is the constraint's
    multiplier, and the item's metric `equivalent_l2` reports it. Set `l2` (λ) to use the penalty instead; `contrast`
    then has no effect.

    Everything after `start` deviates from the paper and is off by default. `jitter` (a fraction of the side),
    `rotation` (degrees) and `scaling` (a fraction) are the largest random transforms before each step.
    `total_variation` is the size of a descent step on the image's total variation after each step, `p_norm` weighs a
    penalty Σ|I|^6, and `blur` (pixels) blurs after every `blur_every` steps. `parametrisation: fourier` ascends in
    Fourier coefficients with decorrelated colours (Olah et al. 2017). The panel shows the image with the mean added
    back; `display: min_max` shows it about mid-grey instead, and stretched to the full range instead of clipped.
    """

    targets: tuple[TargetRequest, ...] = Field(min_length=1)
    objective: Objective = "score"
    contrast: PositiveFloat = 25.0
    l2: NonNegativeFloat | None = None
    start: Literal["zero", "mean", "noise", "photo"] = "zero"
    noise: PositiveFloat = 1.0
    parametrisation: Parametrisation = "pixels"
    p_norm: NonNegativeFloat = 0.0
    total_variation: NonNegativeFloat = 0.0
    jitter: float = Field(default=0.0, ge=0, lt=0.5)
    rotation: NonNegativeFloat = 0.0
    scaling: float = Field(default=0.0, ge=0, lt=1)
    blur: NonNegativeFloat = 0.0
    blur_every: PositiveInt = 4
    display: Literal["clip", "min_max"] = "clip"
    optimiser: Momentum | AdaGrad | Adam | LBFGS = Field(default_factory=Momentum)

    @property
    def limit(self) -> float | None:
        """The contrast limit; None if the penalty `l2` is used instead."""
        return self.contrast if self.l2 is None else None

    @property
    def transforms(self) -> bool:
        """Whether images are rotated or scaled before each step."""
        return self.rotation > 0 or self.scaling > 0

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have a target, or the objective is not defined for it."""
        if isinstance(self.optimiser, LBFGS) and (self.l2 is None or self.parametrisation != "pixels"):
            raise DeepInsideError(
                "technique.optimiser: lbfgs needs a penalty and pixels, found a contrast limit or Fourier "
                "coefficients; set technique.l2 and technique.parametrisation=pixels, or use another optimiser."
            )
        for target in self.targets:
            check_objective(self.objective, resolve(target, network), network.target)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per target: its class model, intensities 0–255, with the trace of every part of the objective."""
        return run_requests(self.optimisation_requests(network, batch, seeds))

    def optimisation_requests(
        self, network: Network, batch: ImageBatch, seeds: Seeds
    ) -> OptimisationRequests[TechniqueOutput]:
        """The same as a generator of optimisation requests, so that runs of a sweep can share a batch."""
        targets = [resolve(target, network) for target in self.targets]
        objective = ClassScoreObjective(
            network, self.objective, tuple(ClassModelSpec(self, target, seeds) for target in targets)
        )
        with torch.no_grad():
            start = self.begin(network, batch, targets, seeds)
        found = yield OptimisationRequest(self.optimiser, start, objective)
        metrics = numbers(self, network, start, found.images, targets)
        items = [item(self, network, found, i, *row) for i, row in enumerate(zip(targets, metrics, strict=True))]
        names = unique(item.name for item in items)  # ImageNet has two classes called crane
        named = (replace(item, name=name) for item, name in zip(items, names, strict=True))
        return TechniqueOutput(tuple(named), self.deviations())

    def begin(self, network: Network, batch: ImageBatch, targets: Sequence[Target], seeds: Seeds) -> Tensor:
        """The start images, (targets, C, H, W).

        zero: zero mean-subtracted pixels, as in the paper. mean: the mean itself as mean-subtracted pixels.
        noise: uniform in [0, `noise`). photo: the first photo of `images`.
        """
        zero = network.mean.new_zeros(len(targets), len(network.mean), *network.size)
        if self.start == "mean":
            return zero + network.mean
        if self.start == "noise":
            noise = [torch.rand(zero.shape[1:], generator=stream(seeds, target, "start")) for target in targets]
            return self.noise * torch.stack(noise).to(zero)
        if self.start == "photo":
            return zero + photo(batch)
        return zero

    def deviations(self) -> tuple[str, ...]:
        """Deviations from the paper, one sentence each."""
        said = {
            "maximises the posterior, not the class score": self.objective != "score",
            f"starts from {self.start}, not from the zero image": self.start != "zero",
            "ascends in Fourier coefficients with decorrelated colours": self.parametrisation == "fourier",
            f"jitter of up to {self.jitter:.1%} of the side": self.jitter > 0,
            f"rotation by up to {self.rotation:g}°": self.rotation > 0,
            f"scaling by up to {self.scaling:.0%}": self.scaling > 0,
            f"a total-variation step of {self.total_variation:g}": self.total_variation > 0,
            f"sixth-power norm weighted {self.p_norm:g}": self.p_norm > 0,
            f"blurred by {self.blur:g} px every {self.blur_every} steps": self.blur > 0,
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class ClassModelSpec:
    """One class model: its settings, target and random streams."""

    settings: ClassModel
    target: Target
    seeds: Seeds

    def draws(self, step: int, count: int) -> list[float]:
        """`count` random numbers between −1 and 1 for this step, from the target's own stream."""
        return (2 * torch.rand(count, generator=stream(self.seeds, self.target, f"jitter {step}")) - 1).tolist()

    def offset(self, step: int, size: tuple[int, int]) -> tuple[int, int]:
        """Differs from the paper: the image is shifted a little before every step, which favours large shapes."""
        reach = self.settings.jitter * min(size)
        down, right = self.draws(step, 2) if reach else (0.0, 0.0)
        return round(down * reach), round(right * reach)

    def placement(self, step: int) -> Placement:
        """Differs from the paper: the image is also rotated and scaled a little before every step."""
        down, right, angle, scale = self.draws(step, 4)
        settings = self.settings
        turn = math.radians(angle * settings.rotation)
        return Placement(turn, 1 + scale * settings.scaling, down * settings.jitter, right * settings.jitter)

    def after_step(self, x: Tensor, step: int) -> Tensor:
        """The image (1, C, H, W) after a step's smoothing, blur and contrast limit."""
        settings = self.settings
        if settings.total_variation:
            x = regularisers.diffuse(x, settings.total_variation)
        if settings.blur > 0 and (step + 1) % settings.blur_every == 0:
            x = regularisers.blur(x, settings.blur)
        return x if settings.limit is None else limit_contrast(x, settings.limit)


@plain_dataclass(frozen=True)
class ClassScoreObjective:
    """The objective: each class model's score minus its own penalties, transformed by its own random stream."""

    network: Network
    objective: Objective
    models: tuple[ClassModelSpec, ...]

    @property
    def kind(self) -> Hashable:
        first = self.models[0].settings
        return self.network, self.objective, first.l2 is None, first.parametrisation, first.transforms

    def join(self, others: Sequence["ClassScoreObjective"]) -> "ClassScoreObjective":
        return replace(self, models=sum((other.models for other in others), self.models))

    def dead_start_advice(self, items: Sequence[int]) -> str:
        return "set technique.start=noise and technique.noise=50, or take a target before the last ReLU"

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]:
        models = self.models[items.start : items.stop]
        x = torch.cat([along(one, m.settings.limit, m.settings.parametrisation) for one, m in pairs(x, models)])
        score = measure(self.network, self.perturbed(x, step, models), [m.target for m in models], self.objective)
        penalty = penalties(x, [model.settings for model in models])
        return score - penalty, {"score": score, "regulariser": penalty}

    def perturbed(self, x: Tensor, step: int, models: Sequence[ClassModelSpec]) -> Tensor:
        """The network's input in this step: the images randomly rotated, scaled and shifted."""
        if any(model.settings.transforms for model in models):
            return regularisers.transform(x, [model.placement(step) for model in models])
        if any(model.settings.jitter for model in models):
            return regularisers.shift(x, [model.offset(step, self.network.size) for model in models])
        return x

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        """The images after a step: smoothed, blurred, and scaled back to the contrast limit."""
        models = self.models[items.start : items.stop]
        return torch.cat([model.after_step(image, step) for image, model in pairs(x, models)])


def pairs(x: Tensor, models: Sequence[ClassModelSpec]) -> Iterator[tuple[Tensor, ClassModelSpec]]:
    """Each image (1, C, H, W) with its model."""
    return zip(x.split(1), models, strict=True)


def penalties(x: Tensor, settings: Sequence[ClassModel]) -> Tensor:
    """(N,): the penalty of each image, by its own weights; zero under a contrast limit alone."""
    penalty = numbers_like([one.l2 or 0.0 for one in settings], x) * regularisers.squared_norm(x)
    if any(one.p_norm for one in settings):
        penalty = penalty + numbers_like([one.p_norm for one in settings], x) * regularisers.p_norm(x, 6)
    return penalty


def stream(seeds: Seeds, target: Target, name: str) -> torch.Generator:
    """A target's own random stream, independent of the other targets."""
    return seeds.generator(target.channels[0], f"{name} of {target.name} in {target.layer}")


def photo(batch: ImageBatch) -> Tensor:
    """The first photo, (C, H, W); raises DeepInsideError if there is none."""
    if not len(batch):
        raise DeepInsideError("technique.start=photo: expected a photo to start from, found none; set images.root.")
    return batch.pixels[0]


def item(
    settings: ClassModel, network: Network, found: Optimised, index: int, target: Target, metrics: dict[str, float]
) -> Item:
    """One class model with its metrics; the mean is added back for display, as in the paper."""
    trace = {name: values[index] for name, values in found.trace.items()}
    kind: PanelKind = "photo" if settings.display == "clip" else "stretched"
    # stretching would exaggerate the mean's colour
    shown = (found.images[index] + (network.mean if kind == "photo" else MID_GREY)).cpu()
    probability = f", {100 * metrics['posterior']:.0f} %" if "posterior" in metrics else ""
    panel = Panel("class_model", shown, kind, f"score {metrics['score']:.1f}{probability}")
    return Item(
        safe_name(target.name),
        target.name,
        (panel,),
        metrics,
        trace,
        target_notes(None, target),
        depicts=depicted(target, network),
    )


def depicted(target: Target, network: Network) -> str | None:
    """The WordNet id or name of the class that the image should show; None for groups and units."""
    if target.layer != network.target or len(target.channels) != 1 or not network.labels:
        return None
    label = network.labels[target.channels[0]]
    return label.wnid or label.name


def numbers(
    settings: ClassModel, network: Network, start: Tensor, images: Tensor, targets: Sequence[Target]
) -> Iterator[dict[str, float]]:
    """The metrics of each image: its score, contrast and λ; for a class also its posterior (`against_others`)."""
    after = network_view(network, images, {network.target, *(target.layer for target in targets)})
    before, scores = (as_scores(one[network.target]) for one in (network_view(network, start, {network.target}), after))
    values = objective_values(after, targets, "score", network).tolist()
    weights = [] if settings.l2 is not None else equivalent_l2(settings, network, images, targets).tolist()
    for i, target in enumerate(targets):
        metrics = {"score": values[i], "contrast": root_mean_square(images[i : i + 1]).item()}
        metrics |= {"equivalent_l2": weights[i]} if weights else {}
        if target.layer == network.target and len(target.channels) < network.classes:
            metrics |= against_others(before[i : i + 1], scores[i : i + 1], target, network.posterior)
        yield metrics


def equivalent_l2(settings: ClassModel, network: Network, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """(N,): the λ for which each image is a stationary point of S − λ‖I‖², from ∇S = 2λI; 0 if the limit is slack."""
    several = micro_batch_size(network.size)
    found = []
    for first in range(0, len(images), several):
        x = images[first : first + several].detach().requires_grad_()
        with torch.enable_grad():
            value = measure(network, x, targets[first : first + several], settings.objective)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        found.append(multiplier(gradient, x.detach()).flatten().clamp(min=0) / 2)
    return torch.cat(found)


def network_view(network: Network, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The activations of many images, in micro-batches."""
    names = sorted(layers)
    with torch.no_grad():
        batches = [network.activations(some, names) for some in images.split(micro_batch_size(network.size))]
    return {name: torch.cat([one[name] for one in batches]) for name in names}


def against_others(before: Tensor, after: Tensor, target: Target, posterior: Posterior) -> dict[str, float]:
    """The posterior at the end, and the share of the gained log-odds that came from lowering all other classes; from
    class scores (1, classes) at the start and at the end.

    The log-odds of a class are log Σ exp of its scores minus log Σ exp of the others'; they grow by what the first
    term gains and by what the second loses. Simonyan et al. 2013, Sect. 2, on the posterior.
    """
    first, last = (class_posterior(scores, target, posterior)[0] for scores in (before, after))
    gained = (last[0] - last[1]) - (first[0] - first[1])
    known = bool(gained) and posterior == "softmax"  # a sigmoid does not depend on other classes
    share = {"log_odds_share_of_other_classes": ((first[1] - last[1]) / gained).item()} if known else {}
    return {"posterior": last.softmax(0)[0].item(), **share}
