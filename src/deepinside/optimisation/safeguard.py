"""A step that is unstable on one network or layer is halved there, so that an optimisation converges everywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepinside.optimisation.optimisers import OptimiserState, Parts, Stepwise

WORSE = 4.0  # momentum alone lets a stable energy rise to three times its least
NEGLIGIBLE = 1e-3  # of the energy at the start: below that share an energy may swing as it will


@dataclass(frozen=True)
class Safeguarded(Stepwise):
    """`rule` for a gain that is minus an energy ≥ 0, with the step halved image by image where the rule is unstable.

    Where an image's energy is not finite, or exceeds both `WORSE` times its least since the phase began and
    `NEGLIGIBLE` times that at the start, the image goes back to where its energy was least, its momentum starts
    anew, and from then on it moves half as far a step. An image that this never happens to gets the rule's own bytes.
    The part "step_scale" of the trace (N, steps) says how far an image moved, as a share of the rule's step.
    """

    rule: Stepwise

    diverging_is_refused = False

    def length(self) -> int:
        return self.rule.length()

    def starts_phase(self, step: int) -> bool:
        return self.rule.starts_phase(step)

    def begin(self, start: Tensor) -> OptimiserState:
        unknown = start.new_full((len(start),), torch.inf)
        own = {"best": start, "least": unknown, "first": unknown, "scale": torch.ones_like(unknown)}
        return {**{f"rule/{name}": values for name, values in self.rule.begin(start).items()}, **own}

    def noted(self, memory: OptimiserState) -> Parts:
        return {"step_scale": memory["scale"]}

    def advance(
        self, x: Tensor, memory: OptimiserState, gradient: Tensor, gain: Tensor, step: int
    ) -> tuple[Tensor, OptimiserState]:
        first = -gain if step == 0 else memory["first"]
        worse = is_worse(-gain, memory["least"], first)
        better = ~worse & ((-gain < memory["least"]) | self.starts_phase(step))
        best, least = chosen(better, x, memory["best"]), torch.where(better, -gain, memory["least"])
        rule = {name.removeprefix("rule/"): v for name, v in memory.items() if name.startswith("rule/")}
        moved, kept = self.rule.move(x, rule, gradient, step)
        rule = {name: chosen(worse, torch.zeros_like(values), values) for name, values in kept.items()}
        scale = memory["scale"]
        stepped = chosen(scale < 1, x + per_image(scale, x) * (moved - x), moved)
        own = {"best": best, "least": least, "first": first, "scale": torch.where(worse, scale / 2, scale)}
        return chosen(worse, best, stepped), {**{f"rule/{name}": v for name, v in rule.items()}, **own}

    def outcome(self, x: Tensor, memory: OptimiserState) -> Tensor:
        """The last images; the best instead where the step had to be halved or the last is not finite."""
        finite = x.flatten(1).isfinite().all(1)
        return chosen((memory["scale"] < 1) | ~finite, memory["best"], x)


def is_worse(energy: Tensor, least: Tensor, first: Tensor) -> Tensor:
    """(N,): whether an image has left the way down; a comparison with NaN is false."""
    return ~(energy <= torch.maximum(WORSE * least, NEGLIGIBLE * first)) & first.isfinite()


def chosen(which: Tensor, ones: Tensor, others: Tensor) -> Tensor:
    """Image by image, `ones` where `which` (N,) says so."""
    return torch.where(per_image(which, others), ones, others)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))
