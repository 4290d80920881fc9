"""The randomisation test: does a map change when the network's weights are randomised?

Adebayo et al. 2018, "Sanity Checks for Saliency Maps", Sect. 3.1: weights are replaced by random ones layer by layer,
from the class scores down (cascading), and the map is compared with that of the trained network. A map that does not
change does not depend on the weights, so it cannot explain them.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deepinside.attribution.gradients import forward_centre_crop, image_gradient
from deepinside.attribution.relu_rules import ReluRule, check_rule, rule_notes, with_rule
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError, UnsuitableSettingError
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank, rank_correlation, ssim
from deepinside.networks.network import Network
from deepinside.targets import Target, TargetRequest, check, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput, safe_name


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Randomisation:
    """Saliency maps (largest absolute value over channels) while the network's weights are randomised from the top.

    `target` is a class, group, unit, "top1" or "true", found on the trained network. `rules` are those of
    `deepinside.attribution.relu_rules` to compare. `stages` maps at most are made, the layers spread evenly over them.
    """

    target: TargetRequest = "top1"
    rules: tuple[ReluRule, ...] = Field(default=("gradient", "guided", "deconvnet"), min_length=1)
    stages: PositiveInt = 8

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
        found = {rule: {name: maps(one, rule, x, targets) for name, one in networks.items()} for rule in self.rules}
        shown = (x + network.mean).cpu()
        rules = {rule: rule_notes(network, rule, targets[0].layer) for rule in self.rules}
        predictions = [of_photo(p, network, *row) for p, *row in zip(batch.photos, scores, targets, strict=True)]
        items = [
            replace(
                item(p, shown[i], rule, found[rule], i, (*target_notes(p, targets[i]), *rules[rule])),
                prediction=predictions[i],
            )
            for i, p in enumerate(batch.photos)
            for rule in self.rules
        ]
        return TechniqueOutput(tuple(items))

    def randomise(self, network: Network, top: str, seeds: Seeds) -> dict[str, Network]:
        """The networks of all stages by the lowest layer that is random; each stage takes over the one before."""
        networks: dict[str, Network] = {}
        for layers in cascade(network, top, self.stages):
            network = networks[layers[-1]] = randomised(network, layers, seeds)
        return networks


def maps(network: Network, rule: ReluRule, x: Tensor, targets: Sequence[Target]) -> Tensor:
    """M_ij = max over channels of |w_ijc|, (N, H, W), by the rule."""
    ruled = network if rule == "gradient" else with_rule(network, rule)[0]
    return image_gradient(ruled, x, targets).abs().amax(1).cpu()


def cascade(network: Network, top: str, stages: int) -> list[tuple[str, ...]]:
    """The layers with weights from `top` down, in `stages` parts at most, one for each stage to add."""
    places = list(network.layers)
    below = places[: places.index(top) + 1]
    weighted = [name for name in reversed(below) if has_weights(network.module_of(name))]
    if not weighted:
        raise DeepInsideError(f"randomisation: expected layers with weights below {top}, found none.")
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
    photo: Photo, shown: Tensor, rule: ReluRule, found: Mapping[str, Tensor], index: int, said: tuple[str, ...]
) -> Item:
    """One photo's maps by one rule, and their similarity to the trained network's at every stage and on average."""
    (_, own), *after = [(name, values[index]) for name, values in found.items()]
    ranks = torch.tensor([compared(rank_correlation, own, other) for _, other in after])
    structure = torch.tensor([compared(ssim, own, other) for _, other in after])
    panels = [Panel("photo", shown, "photo", photo.stem), Panel("trained", own, "magnitude", blank=blank(own))]
    for (layer, other), rank in zip(after, ranks.tolist(), strict=True):
        words = "" if math.isnan(rank) else f"{rank:.2f}"
        panels.append(Panel(f"down_to_{safe_name(layer)}", other, "magnitude", words, blank=blank(other)))
    metrics = {**summary(f"{rule}/rank_correlation", ranks), **summary(f"{rule}/ssim", structure)}
    trace = {"rank_correlation": ranks, "ssim": structure}
    return Item(f"{photo.stem}_{rule}", f"{photo.stem}, {rule}", tuple(panels), metrics, trace, said)


def compared(measure: Callable[[Tensor, Tensor], float], own: Tensor, other: Tensor) -> float:
    """The similarity of two maps; NaN if one of them is blank."""
    return math.nan if blank(own, other) else measure(own, other)


def summary(name: str, values: Tensor) -> dict[str, float]:
    """The mean over the stages, the first stage (the top layer alone) and the last (every layer), of those there are.

    Stages with a blank map (NaN) are left out.
    """
    there = values[~values.isnan()]
    found = {"top": values[:1], "all": values[-1:], "mean": there}
    return {f"{name}_{which}": some.mean().item() for which, some in found.items() if some.isfinite().any()}
