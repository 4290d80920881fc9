"""The randomisation test: does a map change when the network's weights are randomised?

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", Sect. 3.1: weights are replaced by random ones layer by layer,
from the class scores down (cascading), and the map is compared with that of the trained network. A map that does not
change does not depend on the weights, so it cannot explain them.

Its critics: a cascade from the top leaves the lower layers intact, which keep the photo's edges, so the order matters
(Binder et al. 2023, "Shortcomings of Top-Down Randomization-Based Sanity Checks"); similarity of noisy maps measures
their noise, which averaging removes (sMPRT), and comparing each map's entropy needs no similarity (eMPRT; both Hedström
et al. 2024, "A Fresh Look at Sanity Checks for Saliency Maps").
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deepinside.attribution.averaging import Average, attributions
from deepinside.attribution.gradients import forward_centre_crop
from deepinside.attribution.relu_rules import ReluRule, check_rule, rule_notes, with_rule
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError, UnsuitableSettingError
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank, entropy, rank_correlation, ssim
from deepinside.networks.network import Network
from deepinside.targets import Target, TargetRequest, check, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput, safe_name

Order = Literal["top_down", "bottom_up", "independent"]
PANEL_PREFIX: dict[Order, str] = {"top_down": "down_to", "bottom_up": "up_to", "independent": "only"}
STAGE_NAMES: dict[Order, tuple[str, str]] = {
    "top_down": ("top", "all"),
    "bottom_up": ("bottom", "all"),
    "independent": ("top", "bottom"),
}
"""What the metrics of the first and the last stage are called."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Randomisation:
    """Saliency maps (largest absolute value over channels) while the network's weights are randomised.

    `target` is a class, group, unit, "top1" or "true", found on the trained network. `rules` are those of
    `deepinside.attribution.relu_rules` to compare. `stages` maps at most are made, the layers spread evenly over them.
    `order` says which layers a stage randomises: those from the class scores down ("top_down"), from the photo up
    ("bottom_up"), or its own alone ("independent"). `average` as in `deepinside.attribution.averaging`; "smooth_grad"
    gives sMPRT.
    """

    target: TargetRequest = "top1"
    rules: tuple[ReluRule, ...] = Field(default=("gradient", "guided", "deconvnet"), min_length=1)
    stages: PositiveInt = 8
    order: Order = "top_down"
    average: Average = None

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network does not have the target, or a rule has no ReLU to act on."""
        target = check(self.target, network)
        try:
            for rule in self.rules:
                check_rule(network, rule, [network.target if target is None else target.layer])
        except UnsuitableSettingError as error:
            raise UnsuitableSettingError(error.problem, "rules", ("gradient",)) from None

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo and rule: its map, the map after each stage, and their similarity at every stage."""
        if not len(batch):
            return TechniqueOutput(())
        forward, targets = forward_centre_crop(network, batch, self.target)
        x, scores = forward.x.detach(), forward.scores.cpu()
        del forward  # frees its activations
        networks = {"trained": network, **self.randomise(network, targets[0].layer, seeds)}
        crop = replace(batch, pixels=x)
        found = {
            rule: {name: self.maps(one, rule, crop, targets, seeds) for name, one in networks.items()}
            for rule in self.rules
        }
        shown = (x + network.mean).cpu()
        rules = {rule: rule_notes(network, rule, targets[0].layer) for rule in self.rules}
        predictions = [of_photo(p, network, *row) for p, *row in zip(batch.photos, scores, targets, strict=True)]
        items = [
            replace(
                item(p, shown[i], rule, found[rule], i, (*target_notes(p, targets[i]), *rules[rule]), self.order),
                prediction=predictions[i],
            )
            for i, p in enumerate(batch.photos)
            for rule in self.rules
        ]
        return TechniqueOutput(tuple(items))

    def randomise(self, network: Network, top: str, seeds: Seeds) -> dict[str, Network]:
        """The networks of all stages by the layer that each reaches; in a cascade each takes over the one before."""
        networks: dict[str, Network] = {}
        latest = network
        for layers in cascade(network, top, self.stages, self.order):
            start = network if self.order == "independent" else latest
            latest = networks[layers[-1]] = randomised(start, layers, seeds)
        return networks

    def maps(
        self, network: Network, rule: ReluRule, batch: ImageBatch, targets: Sequence[Target], seeds: Seeds
    ) -> Tensor:
        """M_ij = max over channels of |w_ijc|, (N, H, W), by the rule; the same noise for every network."""
        ruled = network if rule == "gradient" else with_rule(network, rule)[0]
        return attributions(ruled, batch, targets, self.average, seeds).abs().amax(1).cpu()


def cascade(network: Network, top: str, stages: int, order: Order = "top_down") -> list[tuple[str, ...]]:
    """The layers with weights from `top` down, or up to it, in `stages` parts at most, one for each stage."""
    places = list(network.layers)
    below = places[: places.index(top) + 1]
    weighted = [name for name in reversed(below) if has_weights(network.module_of(name))]
    if not weighted:
        raise DeepInsideError(f"randomisation: expected layers with weights below {top}, found none.")
    if order == "bottom_up":
        weighted.reverse()
    ends = torch.linspace(1, len(weighted), min(stages, len(weighted))).round().long().tolist()
    return [tuple(weighted[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def has_weights(module: nn.Module | None) -> bool:
    return module is not None and any(parameter.numel() for parameter in module.parameters())


def randomised(network: Network, layers: Sequence[str], seeds: Seeds) -> Network:
    """A network whose `layers` have random weights; the others are shared with `network`, which stays as it is."""

    def choose(layer: str, module: nn.Module) -> nn.Module | None:
        return reinitialised(module, seeds.generator(0, f"randomise/{layer}")) if layer in layers else None

    return network.with_modules(choose)


def reinitialised(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy whose parameters are drawn from normal distributions with the mean and deviation of the old ones.

    This keeps the scale of the activations.
    """
    new = copy.deepcopy(module)
    for parameter in new.parameters():
        deviation, mean = torch.std_mean(parameter, correction=0)
        parameter.data = mean + deviation * torch.randn(parameter.shape, generator=generator).to(parameter)
    return new


def item(
    photo: Photo, shown: Tensor, rule: ReluRule, found: Mapping[str, Tensor], index: int, said: tuple[str, ...],
    order: Order = "top_down",
) -> Item:  # fmt: skip
    """One photo's maps by one rule, and their similarity to the trained network's at every stage and on average."""
    (_, own), *after = [(name, values[index]) for name, values in found.items()]
    ranks = torch.tensor([compared(rank_correlation, own, other) for _, other in after])
    structure = torch.tensor([compared(ssim, own, other) for _, other in after])
    rises = torch.tensor([compared(entropy_rise, own, other) for _, other in after])
    panels = [Panel("photo", shown, "photo", photo.stem), Panel("trained", own, "magnitude", blank=blank(own))]
    for (layer, other), rank in zip(after, ranks.tolist(), strict=True):
        words = "" if math.isnan(rank) else f"{rank:.2f}"
        panels.append(Panel(f"{PANEL_PREFIX[order]}_{safe_name(layer)}", other, "magnitude", words, blank=blank(other)))
    trace = {"rank_correlation": ranks, "ssim": structure, "entropy_rise": rises}
    metrics = {k: v for name, values in trace.items() for k, v in summary(f"{rule}/{name}", values, order).items()}
    return Item(f"{photo.stem}_{rule}", f"{photo.stem}, {rule}", tuple(panels), metrics, trace, said)


def compared(measure: Callable[[Tensor, Tensor], float], own: Tensor, other: Tensor) -> float:
    """The similarity of two maps; NaN if one of them is blank."""
    return math.nan if blank(own, other) else measure(own, other)


def entropy_rise(own: Tensor, other: Tensor) -> float:
    """(H_random − H_trained) / H_trained of the maps' entropies (eMPRT, Hedström et al. 2024); NaN if undefined."""
    trained = entropy(own)
    return (entropy(other) - trained) / trained if trained else math.nan


def summary(name: str, values: Tensor, order: Order = "top_down") -> dict[str, float]:
    """The mean over the stages, the first stage and the last, of those there are; from the top: one layer, and all.

    Stages with a blank map (NaN) are left out.
    """
    there = values[~values.isnan()]
    first, last = STAGE_NAMES[order]
    found = {first: values[:1], last: values[-1:], "mean": there}
    return {f"{name}_{which}": some.mean().item() for which, some in found.items() if some.isfinite().any()}
