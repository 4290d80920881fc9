"""What is measured: one piece of work, the ways it is done, and what came out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.timing import Patience, Work, in_turn, ratio, spread

OURS = "deepinside"
PRODUCT = "matrix product"
COARSEST = 0.2
EXACT, CLIMBED = 1e-4, 1e-3  # of the largest value; an optimisation carries roundings on from step to step


def as_tensor(found: Any) -> Tensor:
    return found


@dataclass(frozen=True)
class Way:
    """One way of doing the work: `work` does it, `numbers` makes of its outcome what all ways must agree in;
    None where it is only a part of it.

    `trial` is a shorter version whose outcome is compared where that of `work` is not, because roundings grow from
    step to step. `why` says how it is used. A way that is not `exact` is asked for the rank correlation instead.
    """

    name: str
    work: Work
    numbers: Callable[[Any], Tensor] | None = as_tensor
    why: str = ""
    exact: bool = True
    trial: Work | None = None

    def compared(self) -> Tensor | None:
        return None if self.numbers is None else self.numbers((self.trial or self.work)())


@dataclass(frozen=True)
class Task:
    """One piece of work. Its first way is deepinside's own, beside which all others are put.

    One call of a way does `units` of what `unit` names. `operations` are the floating-point operations of the
    network's convolutions and matrix products in one call. `grain` finds out how far float32 itself is from float64
    here, by plain PyTorch; nothing can be asked to agree better than that. `patience` is its own, where less was not
    asked for.
    """

    name: str
    title: str
    unit: str
    units: int
    ways: tuple[Way, ...]
    operations: float | None = None
    tolerance: float = EXACT
    grain: Callable[[], float] | None = None
    patience: Patience | None = None
    note: str = ""

    def record(self, patience: Patience, product: tuple[Work, float]) -> dict[str, Any]:
        return measure(self, patience, product)


def measure(task: Task, patience: Patience, product: tuple[Work, float]) -> dict[str, Any]:
    """The record of a task: for each way how far its numbers are off, its time a unit, and its ratio to ours.

    A way whose numbers are off is not timed. The machine's own matrix product is done in every round, too.
    """
    agreed = agreements(task)
    works = {way.name: way.work for way in task.ways if agreed[way.name]["agrees"]}
    least = min([patience, task.patience or patience], key=lambda one: one.most)
    times = in_turn(works | {PRODUCT: product[0]}, least)
    ours = times[task.ways[0].name]
    ways = {}
    for way in task.ways:
        ways[way.name] = {"why": way.why, **agreed[way.name]}
        if way.name in works:
            mine = times[way.name]
            ways[way.name] |= {"seconds": vars(spread(mine / task.units)), "ratio": vars(ratio(mine, ours))}
            if task.operations:
                rate = (task.operations / mine) / (product[1] / times[PRODUCT])
                ways[way.name]["share_of_product"] = vars(spread(rate))
            if not way.exact:  # an approximation of ours, which is put beside the others as well
                ways[way.name]["beside"] = {
                    other.name: vars(ratio(times[other.name], mine)) for other in task.ways[1:] if other.name in works
                }
    return {
        "title": task.title, "unit": task.unit, "units": task.units, "rounds": len(ours), "note": task.note,
        "operations": task.operations, "product_flops": vars(spread(product[1] / times[PRODUCT])),
        "ways": ways,
    }  # fmt: skip


def agreements(task: Task) -> dict[str, dict[str, Any]]:
    """By way: whether its numbers are those of the first, and how far off they are.

    They agree where the median item does. Some items differ more, whoever computes them: among its millions of
    rectifiers one stands at zero to within rounding, and is open in one way of adding up and shut in another. In a
    deep network that holds for every item; then float32 by plain PyTorch is asked how far it is from float64, and a
    way may be off by twice that, if it is still small (`COARSEST`).
    """
    first, *others = task.ways
    wanted = first.compared()
    found: dict[str, dict[str, Any]] = {first.name: {"agrees": True, "difference": 0.0, "worst": 0.0}}
    tolerance = task.tolerance
    for way in others:
        numbers = way.compared()
        if numbers is None or wanted is None:
            found[way.name] = {"agrees": True, "difference": None}
            continue
        each = differences(numbers, wanted)
        off = float(each.median())
        if way.exact and off > tolerance == task.tolerance and task.grain:
            tolerance = max(tolerance, min(2 * task.grain(), COARSEST))
        found[way.name] = {"agrees": off <= tolerance or not way.exact, "difference": off, "worst": float(each.max())}
        found[way.name] |= {"tolerance": tolerance}
        if not way.exact:
            found[way.name]["rank_correlation"] = rank_correlation(numbers, wanted)
    return found


def differences(found: Tensor, wanted: Tensor) -> Tensor:
    """(N,): each item's largest difference, relative to its largest number wanted; infinite where shapes differ."""
    if found.shape != wanted.shape:
        return torch.full((len(wanted),), torch.inf)
    largest = wanted.flatten(1).abs().amax(1)
    return (found - wanted).flatten(1).abs().amax(1) / largest.clamp(min=1e-30)


def rank_correlation(found: Tensor, wanted: Tensor) -> float:
    """Spearman's, of each photo's map, the largest magnitude over channels (N, C, H, W); the mean over photos."""
    a, b = (values.float().abs().amax(1).flatten(1) for values in (found, wanted))
    ranks = [values.argsort(1).argsort(1).double() for values in (a, b)]
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*ranks, strict=True)]).mean())
