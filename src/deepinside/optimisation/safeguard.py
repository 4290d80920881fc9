"""Halves the optimiser's step for images whose energy rises, so that one step size works everywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepinside.optimisation.optimisers import OptimiserState, Parts, Stepwise

WORSE = 4.0  # with momentum, the energy of a stable optimisation rises to at most three times its minimum
NEGLIGIBLE = 1e-3  # as a share of the initial energy; below it, rises are ignored


@dataclass(frozen=True)
class Safeguarded(Stepwise):
    """`rule` with a step that is halved, image by image, where it is unstable. The objective is minus an energy ≥ 0.

    An image is unstable if its energy is not finite, or exceeds both `WORSE` times its minimum in this phase and
    `NEGLIGIBLE` times its initial value. The image then returns to where its energy was lowest, its momentum is reset,
    and its step is half as long from then on. The results of stable images are the same bytes as without the safeguard.
    The trace entry "step_scale" (N, steps) is an image's step as a share of the rule's step.
    """

    rule: Stepwise

    refuses_divergence = False

    @property
    def divergence_advice(self) -> str:
        return self.rule.divergence_advice

    def length(self) -> int:
        return self.rule.length()

    def starts_phase(self, step: int) -> bool:
        return self.rule.starts_phase(step)

    def initial_state(self, start: Tensor) -> OptimiserState:
        unknown = start.new_full((len(start),), torch.inf)
        safeguard = {"best": start, "least": unknown, "first": unknown, "scale": torch.ones_like(unknown)}
        return {**{f"rule/{name}": values for name, values in self.rule.initial_state(start).items()}, **safeguard}

    def trace_entries(self, state: OptimiserState) -> Parts:
        return {"step_scale": state["scale"]}

    def advance(
        self, x: Tensor, state: OptimiserState, gradient: Tensor, objective: Tensor, step: int
    ) -> tuple[Tensor, OptimiserState]:
        first = -objective if step == 0 else state["first"]
        worse = is_worse(-objective, state["least"], first)
        better = ~worse & ((-objective < state["least"]) | self.starts_phase(step))
        best, least = select(better, x, state["best"]), torch.where(better, -objective, state["least"])
        rule = {name.removeprefix("rule/"): v for name, v in state.items() if name.startswith("rule/")}
        updated, new = self.rule.update(x, rule, gradient, step)
        rule = {name: select(worse, torch.zeros_like(values), values) for name, values in new.items()}
        scale = state["scale"]
        stepped = select(scale < 1, x + per_image(scale, x) * (updated - x), updated)
        safeguard = {"best": best, "least": least, "first": first, "scale": torch.where(worse, scale / 2, scale)}
        return select(worse, best, stepped), {**{f"rule/{name}": v for name, v in rule.items()}, **safeguard}

    def final_images(self, x: Tensor, state: OptimiserState) -> Tensor:
        """The last images, or the best ones where the step was halved or the last image is not finite."""
        finite = x.flatten(1).isfinite().all(1)
        return select((state["scale"] < 1) | ~finite, state["best"], x)


def is_worse(energy: Tensor, least: Tensor, first: Tensor) -> Tensor:
    """(N,): whether an image's energy has risen too far; a comparison with NaN is false."""
    return ~(energy <= torch.maximum(WORSE * least, NEGLIGIBLE * first)) & first.isfinite()


def select(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Image by image, `first` where `condition` (N,) is true, else `second`."""
    return torch.where(per_image(condition, second), first, second)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
