"""The class model: the image a class score likes best (Simonyan et al. 2013, Sect. 2)."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.maths import regularisers
from deepinside.maths.batching import numbers_like
from deepinside.maths.objectives import Objective, check_objective, class_posterior, measure, outcomes
from deepinside.maths.optimisers import (
    LBFGS,
    AdaGrad,
    Adam,
    Climbs,
    Momentum,
    Optimised,
    Parts,
    Request,
    alone,
)
from deepinside.maths.passes import at_once
from deepinside.networks.network import Network, as_scores
from deepinside.networks.spec import Posterior
from deepinside.settings import STRICT
from deepinside.targets import Target, TargetRequest, resolve, target_notes
from deepinside.values import ImageBatch, Item, Panel, Seeds, Visual, safe_name, unique


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassModel:
    """arg max over I of S_c(I) − l2·‖I‖₂², I in zero-centred pixels, for every target in one batch.

    Everything after `start` departs from the paper and is off by default: `p_norm` weighs Σ|I|^6 and
    `total_variation` Σ TV², both subtracted; before each step the image is moved by up to `jitter` pixels, and
    after every `blur_every` steps it is blurred by `blur` pixels. The panel shown has the mean added back.
    """

    targets: tuple[TargetRequest, ...] = Field(min_length=1)
    objective: Objective = "score"
    l2: NonNegativeFloat = 1e-3
    start: Literal["zero", "mean", "noise", "photo"] = "zero"
    noise: PositiveFloat = 1.0
    p_norm: NonNegativeFloat = 0.0
    total_variation: NonNegativeFloat = 0.0
    jitter: NonNegativeInt = 0
    blur: NonNegativeFloat = 0.0
    blur_every: PositiveInt = 4
    optimiser: Momentum | AdaGrad | Adam | LBFGS = Field(default_factory=Momentum)

    def check(self, network: Network) -> None:
        """Raise DeepInsideError where the network does not know a target, or the objective is not defined for it."""
        for target in self.targets:
            check_objective(self.objective, resolve(target, network), network.target)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Visual:
        """One item a target: its class model, pixels 0-255, with the trace of every part of the gain."""
        return alone(self.climbs(network, batch, seeds))

    def climbs(self, network: Network, batch: ImageBatch, seeds: Seeds) -> Climbs[Visual]:
        """The same as a generator that asks for its one optimisation, so that runs of a sweep can share a batch."""
        targets = [resolve(target, network) for target in self.targets]
        gain = Climb(network, self.objective, tuple(Model(self, target, seeds) for target in targets))
        with torch.no_grad():
            start = self.begin(network, batch, targets, seeds)
        found = yield Request(self.optimiser, start, gain)
        metrics = numbers(network, start, found.images, targets)
        items = [item(network, found, i, *row) for i, row in enumerate(zip(targets, metrics, strict=True))]
        names = unique(item.name for item in items)  # ImageNet has two classes called crane
        named = (replace(item, name=name) for item, name in zip(items, names, strict=True))
        return Visual(tuple(named), self.departures())

    def begin(self, network: Network, batch: ImageBatch, targets: Sequence[Target], seeds: Seeds) -> Tensor:
        """The start images, (targets, C, H, W).

        zero: the zero image of zero-centred space, the paper's. mean: the training mean itself, as a network input.
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

    def departures(self) -> tuple[str, ...]:
        """Where these settings leave the paper, one sentence each."""
        said = {
            "maximises the posterior, not the class score": self.objective != "score",
            f"starts from {self.start}, not from the zero image": self.start != "zero",
            f"{self.jitter} px of jitter": self.jitter > 0,
            f"total variation weighted {self.total_variation:g}": self.total_variation > 0,
            f"sixth-power norm weighted {self.p_norm:g}": self.p_norm > 0,
            f"blurred by {self.blur:g} px every {self.blur_every} steps": self.blur > 0,
        }
        return tuple(sentence for sentence, differs in said.items() if differs)


@plain_dataclass(frozen=True)
class Model:
    """One class model to be found: its settings, its target, and where its random numbers come from."""

    settings: ClassModel
    target: Target
    seeds: Seeds

    def offset(self, step: int) -> tuple[int, int]:
        """Differs from the paper: the image is moved a little before every step, which favours broad shapes."""
        reach = self.settings.jitter
        if not reach:
            return 0, 0
        draw = torch.randint(-reach, reach + 1, (2,), generator=stream(self.seeds, self.target, f"jitter {step}"))
        return int(draw[0]), int(draw[1])

    def blurs_after(self, step: int) -> bool:
        return self.settings.blur > 0 and (step + 1) % self.settings.blur_every == 0


@plain_dataclass(frozen=True)
class Climb:
    """The gain of class models: of each its score minus its own penalties, with jitter from its own stream."""

    network: Network
    objective: Objective
    models: tuple[Model, ...]

    @property
    def kind(self) -> Hashable:
        return self.network, self.objective

    def join(self, others: Sequence["Climb"]) -> "Climb":
        return replace(self, models=sum((other.models for other in others), self.models))

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]:
        models = self.models[items.start : items.stop]
        seen = x
        if any(model.settings.jitter for model in models):
            seen = regularisers.shift(x, [model.offset(step) for model in models])
        score = measure(self.network, seen, [model.target for model in models], self.objective)
        penalty = penalties(x, [model.settings for model in models])
        return score - penalty, {"score": score, "regulariser": penalty}

    def polish(self, x: Tensor, step: int, items: range) -> Tensor:
        """Every image blurred whose turn it is."""
        models = self.models[items.start : items.stop]
        if not any(model.blurs_after(step) for model in models):
            return x
        one_by_one = zip(x.split(1), models, strict=True)
        return torch.cat([regularisers.blur(i, m.settings.blur) if m.blurs_after(step) else i for i, m in one_by_one])


def penalties(x: Tensor, settings: Sequence[ClassModel]) -> Tensor:
    """(N,): what is subtracted from the score of each image, by its own weights."""
    weights = {name: [getattr(one, name) for one in settings] for name in ("l2", "total_variation", "p_norm")}
    penalty = numbers_like(weights["l2"], x) * regularisers.squared_norm(x)
    if any(weights["total_variation"]):
        penalty = penalty + numbers_like(weights["total_variation"], x) * regularisers.total_variation(x)
    if any(weights["p_norm"]):
        penalty = penalty + numbers_like(weights["p_norm"], x) * regularisers.p_norm(x, 6)
    return penalty


def stream(seeds: Seeds, target: Target, name: str) -> torch.Generator:
    """A target's own stream of random numbers, whatever other targets stand before it."""
    return seeds.generator(target.channels[0], f"{name} of {target.name} in {target.layer}")


def photo(batch: ImageBatch) -> Tensor:
    """The first photo, (C, H, W); raises DeepInsideError where there is none."""
    if not len(batch):
        raise DeepInsideError("technique.start=photo: expected a photo to start from, found none; set images.root.")
    return batch.pixels[0]


def item(network: Network, found: Optimised, index: int, target: Target, metrics: dict[str, float]) -> Item:
    """One class model with its numbers: what the network says of the image after the last step."""
    trace = {name: values[index] for name, values in found.trace.items()}
    # the training mean is added back for display, as in the paper
    shown = (found.images[index] + network.mean).cpu()
    panel = Panel("class_model", shown, "photo", f"score {metrics['score']:.1f}")
    return Item(safe_name(target.name), target.name, (panel,), metrics, trace, target_notes(None, target))


def numbers(network: Network, start: Tensor, images: Tensor, targets: Sequence[Target]) -> Iterator[dict[str, float]]:
    """By image what the network says of it, and its size; for a class also how its posterior was gained."""
    after = seen(network, images, {network.target, *(target.layer for target in targets)})
    before, scores = (as_scores(one[network.target]) for one in (seen(network, start, {network.target}), after))
    values = outcomes(after, targets, "score", network).tolist()
    for i, target in enumerate(targets):
        metrics = {"score": values[i], "rms": images[i].square().mean().sqrt().item()}
        if target.layer == network.target and len(target.channels) < network.classes:
            metrics |= against_others(before[i : i + 1], scores[i : i + 1], target, network.posterior)
        yield metrics


def seen(network: Network, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
    """The activations of many images at once, as many in a pass as an optimisation takes."""
    names = sorted(layers)
    with torch.no_grad():
        passes = [network.activations(some, names) for some in images.split(at_once(network.size))]
    return {name: torch.cat([one[name] for one in passes]) for name in names}


def against_others(before: Tensor, after: Tensor, target: Target, posterior: Posterior) -> dict[str, float]:
    """The posterior at the end, and the share of the gained log-odds that came from lowering all other classes; from
    class scores (1, classes) at the start and at the end.

    The log-odds of a class are log Σ exp of its scores minus log Σ exp of the others'; they grow by what the first
    term gains and by what the second loses. Simonyan et al. 2013, Sect. 2, on the posterior.
    """
    first, last = (class_posterior(scores, target, posterior)[0] for scores in (before, after))
    gained = (last[0] - last[1]) - (first[0] - first[1])
    known = bool(gained) and posterior == "softmax"  # a sigmoid does not look at other classes
    share = {"share_by_lowering_others": ((first[1] - last[1]) / gained).item()} if known else {}
    return {"posterior": last.softmax(0)[0].item(), **share}
