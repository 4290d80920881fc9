"""Claims of Simonyan, Vedaldi & Zisserman 2013, and of those who replicated it, as code."""

from dataclasses import replace

import torch
from torch import Tensor

from deepinside.attribution.gradients import forward_centre_crop, image_gradient
from deepinside.attribution.relu_rules import MASKS, ReluRule, ReluWithRule, find_relus, replace_relus, without_relus
from deepinside.claims.registry import Evidence, NotMeasuredError, claim
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import measure
from deepinside.segmentation.boxes import SIZES
from deepinside.targets import Target
from deepinside.types import Claim, ImageBatch, Seeds


@claim
def taylor_first_order(evidence: Evidence) -> Claim:
    """The order with which the error of S(I + d) ≈ S(I) + w·d vanishes, median over photos."""
    orders = taylor_orders(evidence.network, evidence.batch, evidence.seeds)
    if not len(orders):
        raise NotMeasuredError(NO_GRADIENT)
    order = orders.median().item()
    return Claim(
        "taylor_first_order",
        "Simonyan et al. 2013, eq. 3",
        "near a photo the first-order Taylor expansion approximates the class score: its error is of order above 1",
        order,
        "≥ 1.5",
        order >= 1.5,
    )


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
    with torch.no_grad():
        start = measure(exact, x, targets, "score")
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
def posterior_lowers_the_others(evidence: Evidence) -> Claim:
    """Share of the gain in log-odds, when the posterior is maximised, that comes from lower scores of other classes.

    Negative on every network tried (tinycaffenet and two trained on ImageNet): a class's features also raise the
    scores of similar classes. The paper mentions the mechanism as a possibility and does not measure it.
    """
    need_softmax(evidence.network)
    share = evidence.metric("posterior/log_odds_share_of_other_classes")
    return Claim(
        "posterior_lowers_the_others",
        "Simonyan et al. 2013, Sect. 2",
        "maximising the posterior raises it mostly by lowering the scores of other classes",
        share,
        "≥ 0.5",
        share >= 0.5,
    )


@claim
def posterior_shows_less(evidence: Evidence) -> Claim:
    """Class score of the images that maximise the posterior, divided by that of class models of the same contrast.

    Both images reach the contrast limit, so the class score measures how much of the class they show. Without the
    limit, the same claim would be a ratio of contrasts.
    """
    need_softmax(evidence.network)
    ratio = evidence.metric("posterior/score") / evidence.metric("score/score")
    return Claim(
        "posterior_shows_less",
        "Simonyan et al. 2013, Sect. 2",
        "images that maximise the posterior show the class less: at equal contrast their class score is lower",
        ratio,
        "≤ 0.5",
        ratio <= 0.5,
    )


@claim
def soft_max_mixes_classes(evidence: Evidence) -> Claim:
    """Rank correlation of the maps of the class score and of the posterior, mean over photos."""
    need_softmax(evidence.network)
    found = evidence.metric("rank_correlation/score~posterior")
    return Claim(
        "soft_max_mixes_classes",
        "keras-vis, 'Saliency' (soft-max swapped for linear)",
        "with the soft-max, the gradient also depends on the other classes: the two maps differ",
        found,
        "rank correlation ≤ 0.9",
        found <= 0.9,
    )


@claim
def ten_crops_agree_with_one(evidence: Evidence) -> Claim:
    """Rank correlation of the map averaged over ten crops with that of the centre crop, mean over photos."""
    found = evidence.metric("rank_correlation/ten~centre")
    return Claim(
        "ten_crops_agree_with_one",
        "Simonyan et al. 2013, Sect. 3.1",
        "ten crops change the map's detail, not its content: the average ranks pixels as the centre crop's map does",
        found,
        "rank correlation ≥ 0.5",
        found >= 0.5,
    )


@claim
def deconvnet_is_gradient_but_for_relu(evidence: Evidence) -> Claim:
    """Largest relative difference from autograd: the gradient's ReLU rule, and all rules without ReLUs."""
    if not list(find_relus(evidence.network.module, evidence.network.gates)):
        raise NotMeasuredError("the network has no ReLU, so all rules equal the gradient")
    found = rule_difference(evidence.network, evidence.batch)
    return Claim(
        "deconvnet_is_gradient_but_for_relu",
        "Simonyan et al. 2013, Sect. 4",
        "a DeconvNet equals the gradient except at ReLUs: equal with the gradient's rule, or without ReLUs",
        found,
        "≤ 1e-6",
        found <= 1e-6,
    )


def rule_difference(network: Network, batch: ImageBatch) -> float:
    """The largest relative difference between gradients that should be equal, for the top class of every photo.

    Compared are the gradient's rule at every ReLU with autograd, and on the network without ReLUs every rule with
    autograd.
    """
    forward, targets = forward_centre_crop(network, batch, "top1")
    x = forward.x.detach()
    linear = without_relus(network)
    if not image_gradient(network, x, targets).any():
        raise NotMeasuredError(NO_GRADIENT)
    pairs = [(ruled(network, "gradient"), network), *((ruled(linear, rule), linear) for rule in MASKS)]
    return max(relative_difference(one, other, x, targets) for one, other in pairs)


def ruled(network: Network, rule: ReluRule) -> Network:
    """`network` with the rule at every ReLU, if it has any."""
    return replace_relus(network, lambda ceiling: ReluWithRule(rule, ceiling))[0]


def relative_difference(one: Network, other: Network, x: Tensor, targets: list[Target]) -> float:
    """max |w₁ − w₂| / max |w₂| over all photos, where w is the gradient of the target's score by the photo."""
    first, second = image_gradient(one, x, targets), image_gradient(other, x, targets)
    return ((first - second).abs().max() / second.abs().max().clamp(min=1e-30)).item()


BASELINES = ("whole_image", "centre", "random")
"""Network-free baselines; see `deepinside.segmentation.graph_cut.baselines`."""


@claim
def saliency_localises_better_than_baselines(evidence: Evidence) -> Claim:
    """GraphCut's share of correct boxes minus that of the best network-free baseline; the smaller lead of two sizes.

    Only objects that cover less than half of their photo count: for larger ones the full photo is a correct box
    (IoU ≥ 0.5), which no method can beat. The claim's sentence reports the lead at every size.
    """
    leads = leads_by_size(evidence)
    possible = [lead for size, lead in leads.items() if size != SIZES[2]]
    if not possible:
        raise NotMeasuredError(
            "every object covers at least half of its photo, so the full photo is always a correct box"
        )
    worst = min(possible)
    return Claim(
        "saliency_localises_better_than_baselines",
        "Simonyan et al. 2013, Sect. 3.2",
        "saliency and GraphCut localise objects below half of the photo better than network-free baselines; "
        f"lead in correct boxes: {', '.join(f'{size} {lead:+.3f}' for size, lead in leads.items())}",
        worst,
        "> 0 at both sizes below half",
        worst > 0,
    )


@claim
def saliency_localises_small_objects(evidence: Evidence) -> Claim:
    """The same lead for the smallest objects only."""
    leads = leads_by_size(evidence)
    smallest = next(iter(leads))
    return Claim(
        "saliency_localises_small_objects",
        "Simonyan et al. 2013, Sect. 3.2",
        f"saliency and GraphCut localise small objects ({smallest}) better than network-free baselines",
        leads[smallest],
        "> 0",
        leads[smallest] > 0,
    )


@claim
def saliency_points_at_the_object(evidence: Evidence) -> Claim:
    """The boxes' share of the map's sum, divided by their share of the photo's area, mean over photos."""
    if "concentration" not in evidence.metrics:
        raise NotMeasuredError(NO_BOXES)
    found = evidence.metric("concentration")
    return Claim(
        "saliency_points_at_the_object",
        "Simonyan et al. 2013, Sect. 3",
        "the map marks the object: the object's box contains more of its sum than of a constant map's",
        found,
        "> 1",
        found > 1,
    )


NO_BOXES = "these photos have no box annotations; set images.root and images.annotations"


def leads_by_size(evidence: Evidence) -> dict[str, float]:
    """GraphCut's share of correct boxes minus that of the best of `BASELINES`, by object size, smallest first.

    Raises NotMeasuredError if no photo has boxes.
    """
    groups = {group: values for group, values in evidence.by_group.items() if "graph_cut/right" in values}
    if not groups:
        raise NotMeasuredError(NO_BOXES)
    return {
        group: values["graph_cut/right"] - max(values[f"{name}/right"] for name in BASELINES)
        for group, values in groups.items()
    }
