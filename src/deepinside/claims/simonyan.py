"""Claims of Simonyan, Vedaldi & Zisserman 2013, and of those who replicated it, as code."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deepinside.attribution.gradients import forward_centre_crop, image_gradient
from deepinside.attribution.relu_rules import MASKS, ReluRule, ReluWithRule, find_relus, replace_relus, without_relus
from deepinside.claims.registry import Evidence, Measurement, NotMeasuredError, claim
from deepinside.metrics.intervals import Values, share
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import measure
from deepinside.segmentation.boxes import SIZES
from deepinside.targets import Target
from deepinside.techniques.saliency import Saliency
from deepinside.types import ImageBatch, Photo, Seeds


@claim
def taylor_first_order(evidence: Evidence) -> Measurement:
    """The order with which the error of S(I + d) ≈ S(I) + w·d vanishes, median over the photos of the first batch."""
    orders = taylor_orders(evidence.network, evidence.batch, evidence.seeds)
    if not len(orders):
        raise NotMeasuredError(NO_GRADIENT)
    return Measurement(orders.numpy()[:, None], median)


def median(values: Values) -> Values:
    """The median of the first column."""
    return np.asarray(np.median(values[..., 0], -1))


NO_GRADIENT = "the gradient of every photo's class score is zero everywhere"
ROUNDING = 1e-11
"""Relative error of a float64 score below which a difference counts as rounding error."""


def taylor_orders(network: Network, batch: ImageBatch, seeds: Seeds) -> Tensor:
    """The log-log slope of |S(I + t·d) − S(I) − t·w·d| over t for each photo with a gradient, in float64.

    A ReLU network is piecewise linear, apart from LRN: the error is of second order between kinks and of first order
    at a kink. Steps are 1/16 to 1/1024 of an intensity along a random direction. On a linear piece only rounding error
    remains; the order then counts as at least 2. Photos with a zero gradient are left out: a constant score equals its
    expansion.
    """
    exact = network.to(dtype=torch.float64)
    forward, targets = forward_centre_crop(exact, replace(batch, pixels=batch.pixels.double()), "top1")
    x, slope_of = forward.x.detach(), forward.gradient(targets)
    start = forward.objective(targets).detach()
    draws = [torch.randn(x.shape[1:], generator=seeds.generator(photo.number, "taylor")) for photo in batch.photos]
    direction = torch.stack(draws).to(x)
    slope = (slope_of * direction).flatten(1).sum(1)
    steps = torch.tensor([2.0**-k for k in range(4, 11, 2)], dtype=torch.float64)
    errors = torch.stack([taylor_error(exact, x, direction, t, start, slope, targets) for t in steps.tolist()])
    rounding = ROUNDING * start.abs().clamp(min=1)
    orders = fit_slope(steps.log(), errors.maximum(rounding).log())
    alive = slope_of.flatten(1).any(1)
    return orders.where(errors[-1] > rounding, orders.clamp(min=2))[alive]


def taylor_error(
    network: Network, x: Tensor, direction: Tensor, t: float, start: Tensor, slope: Tensor, targets: list[Target]
) -> Tensor:
    with torch.no_grad():
        return (measure(network, x + t * direction, targets, "score") - start - t * slope).abs()


def fit_slope(x: Tensor, y: Tensor) -> Tensor:
    """Least-squares slope of each column of `y` (K, N) over `x` (K,)."""
    centred = x - x.mean()
    return (centred[:, None] * (y - y.mean(0))).sum(0) / centred.square().sum()


def need_softmax(network: Network) -> None:
    """Raise NotMeasuredError for a network whose posterior is a sigmoid for each class."""
    if network.posterior != "softmax":
        raise NotMeasuredError("the network's posteriors are sigmoids of single classes, so they do not mix classes")


@claim
def posterior_lowers_the_others(evidence: Evidence) -> Measurement:
    """Share of the gain in log-odds, when the posterior is maximised, that comes from lower scores of other classes.

    Negative on every network tried (tinycaffenet and two trained on ImageNet): a class's features also raise the
    scores of similar classes. The paper mentions the mechanism as a possibility and does not measure it.
    """
    need_softmax(evidence.network)
    return Measurement(evidence.values("posterior/log_odds_share_of_other_classes"))


@claim
def posterior_shows_less(evidence: Evidence) -> Measurement:
    """Class score of the images that maximise the posterior, divided by that of class models of the same contrast.

    Both images reach the contrast limit, so the class score measures how much of the class they show. Without the
    limit, the same claim would be a ratio of contrasts. The ratio cannot exceed 1 where both optimisations converge.
    """
    need_softmax(evidence.network)
    return Measurement(evidence.values("posterior/score", "score/score"), ratio_of_means)


def ratio_of_means(values: Values) -> Values:
    """The mean of the first column divided by that of the second."""
    return np.asarray(values[..., 0].mean(-1) / values[..., 1].mean(-1))


@claim
def class_models_are_confident(evidence: Evidence) -> Measurement:
    """The posterior of the class, for the class model of each class."""
    return Measurement(evidence.values("paper/posterior"))


@claim
def class_models_transfer(evidence: Evidence) -> Measurement:
    """Whether another network has each class model's class as its first answer."""
    if evidence.judge is None:
        raise NotMeasuredError("it needs another network; set judge=NETWORK")
    return Measurement(evidence.values("paper/judge_top1"), share)


@claim
def class_model_from_noise_scores_the_same(evidence: Evidence) -> Measurement:
    """Class score of class models that start from noise, divided by that of those that start from zero."""
    return Measurement(evidence.values("noise/score", "zero/score"), ratio_of_means)


@claim
def class_model_from_a_photo_scores_the_same(evidence: Evidence) -> Measurement:
    """Class score of class models that start from a photo, divided by that of those that start from zero."""
    return Measurement(evidence.values("photo/score", "zero/score"), ratio_of_means)


@claim
def soft_max_mixes_classes(evidence: Evidence) -> Measurement:
    """Rank correlation of the maps of the class score and of the posterior."""
    need_softmax(evidence.network)
    return Measurement(evidence.values("rank_correlation/score~posterior"))


@claim
def ten_crops_agree_with_one(evidence: Evidence) -> Measurement:
    """Rank correlation of the map averaged over ten crops with that of the centre crop."""
    return Measurement(evidence.values("rank_correlation/ten~centre"))


@claim
def saliency_is_class_specific(evidence: Evidence) -> Measurement:
    """Rank correlation of one photo's maps for cats and for dogs."""
    return Measurement(evidence.values("rank_correlation/cats~dogs"))


@claim
def saliency_costs_one_backward_pass(evidence: Evidence) -> Measurement:
    """The number of backward passes through the network that the map of one crop takes."""
    found = [t for t in evidence.techniques.values() if isinstance(t, Saliency) and t.crops == "centre"]
    if not found:
        raise NotMeasuredError("it needs a variant with technique.crops=centre")
    counts = [backward_passes(found[0], evidence.network, photo, evidence.seeds) for photo in evidence.batch.photos]
    return Measurement(np.array(counts, dtype=np.float64)[:, None], largest, exact=True)


def backward_passes(technique: Saliency, network: Network, photo: Photo, seeds: Seeds) -> int:
    """The number of backward passes that reach the network's input while the technique maps one photo."""
    gradients: list[Tensor] = []
    counting = copy.copy(network)
    # the network is frozen; the copy passes every input through a function that notes its backward passes
    object.__setattr__(
        counting, "activations", lambda x, layers: network.activations(BackwardCounter.apply(x, gradients), layers)
    )
    technique(counting, ImageBatch((photo,), photo.pixels[None].to(network.mean)), seeds)
    return len(gradients)


class BackwardCounter(torch.autograd.Function):
    """The identity; appends every gradient that passes through it to a list."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradients: list[Tensor]) -> Tensor:
        ctx.gradients = gradients
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *signal: Tensor) -> tuple[Tensor, None]:
        ctx.gradients.append(signal[0])
        return signal[0], None


@claim
def saliency_marks_what_the_score_needs(evidence: Evidence) -> Measurement:
    """Area under the deletion curve by the gradient map minus that by a random order of the pixels."""
    return difference(evidence, "gradient/deletion_area", "gradient/random_deletion_area")


@claim
def saliency_marks_what_suffices(evidence: Evidence) -> Measurement:
    """Area under the insertion curve by the gradient map minus that by a random order of the pixels."""
    return difference(evidence, "gradient/insertion_area", "gradient/random_insertion_area")


def difference(evidence: Evidence, first: str, second: str) -> Measurement:
    """The mean difference of two metrics of the same items."""
    values = evidence.values(first, second)
    return Measurement(values[:, :1] - values[:, 1:])


@claim
def deconvnet_differs_at_relu(evidence: Evidence) -> Measurement:
    """Rank correlation of the gradient's map and the DeconvNet's."""
    return Measurement(evidence.values("rank_correlation/gradient~deconvnet"))


@claim
def guided_maps_are_more_concentrated(evidence: Evidence) -> Measurement:
    """Spread of the guided map minus that of the gradient (1: every pixel counts alike)."""
    return difference(evidence, "guided/map_spread", "gradient/map_spread")


@claim
def deconvnet_is_gradient_but_for_relu(evidence: Evidence) -> Measurement:
    """Largest relative difference from autograd: the gradient's ReLU rule, and all rules without ReLUs."""
    if not list(find_relus(evidence.network.module, evidence.network.gates)):
        raise NotMeasuredError("the network has no ReLU, so all rules equal the gradient")
    found = rule_differences(evidence.network, evidence.batch)
    return Measurement(found.numpy()[:, None], largest, exact=True)


def largest(values: Values) -> Values:
    """The largest value of the first column."""
    return np.asarray(values[..., 0].max(-1))


def rule_differences(network: Network, batch: ImageBatch) -> Tensor:
    """(N,): each photo's largest relative difference between gradients that should be equal, for its top class.

    Compared are the gradient's rule at every ReLU with autograd, and on the network without ReLUs every rule with
    autograd.
    """
    forward, targets = forward_centre_crop(network, batch, "top1")
    x = forward.x.detach()
    linear = without_relus(network)
    if not image_gradient(network, x, targets).any():
        raise NotMeasuredError(NO_GRADIENT)
    pairs = [(ruled(network, "gradient"), network), *((ruled(linear, rule), linear) for rule in MASKS)]
    return torch.stack([relative_difference(one, other, x, targets) for one, other in pairs]).amax(0).double().cpu()


def ruled(network: Network, rule: ReluRule) -> Network:
    """`network` with the rule at every ReLU, if it has any."""
    return replace_relus(network, lambda ceiling: ReluWithRule(rule, ceiling))[0]


def relative_difference(one: Network, other: Network, x: Tensor, targets: list[Target]) -> Tensor:
    """(N,): max |w₁ − w₂| / max |w₂| of each photo, where w is the gradient of the target's score by the photo."""
    first, second = (image_gradient(network, x, targets).flatten(1) for network in (one, other))
    return (first - second).abs().amax(1) / second.abs().amax(1).clamp(min=1e-30)


BASELINES = ("whole_image", "centre", "random")
"""Network-free baselines; see `deepinside.segmentation.graph_cut.baselines`."""


@claim
def saliency_localises_better_than_baselines(evidence: Evidence) -> Measurement:
    """GraphCut's share of correct boxes minus that of the best network-free baseline; the smaller lead of two sizes.

    Only objects that cover less than half of their photo count: for larger ones the full photo is a correct box
    (IoU ≥ 0.5), which no method can beat.
    """
    found = boxes_by_size(evidence)
    possible = [values for size, values in found.items() if size != SIZES[2]]
    if not possible:
        raise NotMeasuredError(
            "every object covers at least half of its photo, so the full photo is always a correct box"
        )
    return Measurement(np.concatenate(padded(possible)), smallest_lead)


@claim
def saliency_localises_small_objects(evidence: Evidence) -> Measurement:
    """The same lead for the smallest objects only."""
    return Measurement(next(iter(boxes_by_size(evidence).values())), smallest_lead)


@claim
def saliency_points_at_the_object(evidence: Evidence) -> Measurement:
    """The boxes' share of the map's sum, divided by their share of the photo's area."""
    if "concentration" not in evidence.columns:
        raise NotMeasuredError(NO_BOXES)
    return Measurement(evidence.values("concentration"))


@claim
def saliency_points_more_than_a_centre_prior(evidence: Evidence) -> Measurement:
    """The boxes' share of the map's sum minus their share of the sum of a Gaussian at the centre."""
    return lead_in_mass(evidence, "mass_centre")


@claim
def saliency_points_more_than_edges(evidence: Evidence) -> Measurement:
    """The boxes' share of the map's sum minus their share of the sum of the photo's Sobel magnitude."""
    return lead_in_mass(evidence, "mass_edges")


def lead_in_mass(evidence: Evidence, baseline: str) -> Measurement:
    """The mean of `mass_inside` minus that of a baseline. Raises NotMeasuredError if no photo has boxes."""
    if "mass_inside" not in evidence.columns:
        raise NotMeasuredError(NO_BOXES)
    return difference(evidence, "mass_inside", baseline)


@claim
def saliency_points_better_than_the_centre(evidence: Evidence) -> Measurement:
    """The pointing game: hits of the map's maximum minus hits of the photo's centre."""
    if "pointing" not in evidence.columns:
        raise NotMeasuredError(NO_BOXES)
    return difference(evidence, "pointing", "pointing_centre")


@claim
def saliency_localises_by_top5(evidence: Evidence) -> Measurement:
    """ILSVRC's top-5 localisation error of GraphCut's boxes."""
    if "graph_cut/top5_error" not in evidence.columns:
        raise NotMeasuredError(NO_BOXES)
    return Measurement(evidence.values("graph_cut/top5_error"), share)


NO_BOXES = "these photos have no box annotations; set images.root and images.annotations"


def boxes_by_size(evidence: Evidence) -> dict[str, Values]:
    """(photos, 1 + baselines) by object size, smallest first: whether GraphCut's box and each of `BASELINES` is right.

    Raises NotMeasuredError if no photo has boxes.
    """
    if "graph_cut/right" not in evidence.columns:
        raise NotMeasuredError(NO_BOXES)
    table = np.stack([evidence.columns[f"{name}/right"] for name in ("graph_cut", *BASELINES)], 1)
    groups = np.array([group or "" for group in evidence.groups])
    return {size: table[groups == size] for size in sorted({*groups} - {""})}


def padded(tables: Sequence[Values]) -> list[Values]:
    """Each table (rows, k) in its own k of the k · len(tables) columns; the others are NaN."""
    widths = [table.shape[1] for table in tables]
    return [
        np.pad(table, ((0, 0), (sum(widths[:i]), sum(widths[i + 1 :]))), constant_values=np.nan)
        for i, table in enumerate(tables)
    ]


def smallest_lead(values: Values) -> Values:
    """For columns of GraphCut and the baselines, once per size: the smallest lead over the best baseline.

    A size without a photo, as in some resamples, does not count.
    """
    counts = (~np.isnan(values)).sum(-2)
    shares = np.nansum(values, -2) / np.where(counts, counts, np.nan)
    by_size = shares.reshape(*shares.shape[:-1], -1, 1 + len(BASELINES))
    return np.asarray(np.fmin.reduce(by_size[..., 0] - by_size[..., 1:].max(-1), -1))
