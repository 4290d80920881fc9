"""What is measured: one piece of work, the ways it is done, and what came out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.timing import Patience, Work, in_turn, ratio, spread

OURS = "deepinside"
OURS_BF16 = "deepinside bf16"
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
    step to step. `why` says how it is used. A way that is not `exact` is asked for the rank correlation instead. A
    `part` is no other way of doing it, but something that our own does, too: its ratio is its share of the time.
    `beside` names our way that it is compared with, one of its own precision. `layout_of` names the way that does the
    same in the usual memory format.
    """

    name: str
    work: Work
    numbers: Callable[[Any], Tensor] | None = as_tensor
    why: str = ""
    exact: bool = True
    part: bool = False
    trial: Work | None = None
    beside: str = OURS
    layout_of: str = ""

    def compared(self) -> Tensor | None:
        return None if self.numbers is None else self.numbers((self.trial or self.work)())


@dataclass(frozen=True)
class Task:
    """One piece of work. Its first way is deepinside's own, beside which all others are put.

    One call of a way does `units` of what `unit` names. `operations` are the floating-point operations of the
    network's convolutions and matrix products in one call. Every way's numbers must be those of `truth`, in float64,
    or of the first way where there is none; `plain` are plain PyTorch's in float32, which nothing can be asked to be
    much nearer to the truth than. `patience` is its own, where less was not asked for.
    """

    name: str
    title: str
    unit: str
    units: int
    ways: tuple[Way, ...]
    operations: float | None = None
    tolerance: float = EXACT
    truth: Callable[[], Tensor] | None = None
    plain: Callable[[], Tensor] | None = None
    patience: Patience | None = None
    note: str = ""

    def record(self, patience: Patience, product: tuple[Work, float]) -> dict[str, Any]:
        return measure(self, patience, product)


def measure(task: Task, patience: Patience, product: tuple[Work, float]) -> dict[str, Any]:
    """The record of a task: for each way how far its numbers are off, its time a unit, and its ratio to ours.

    A way whose numbers are off is not timed, and nothing is if they are ours. The machine's own matrix product is done
    in every round, too.
    """
    agreed = agreements(task)
    right = {way.name: way.work for way in task.ways if agreed[way.name]["agrees"]}
    works = right if task.ways[0].name in right else {}
    least = min([patience, task.patience or patience], key=lambda one: one.most)
    times = in_turn(works | {PRODUCT: product[0]}, least)
    kept = ("why", "part", "exact", "beside", "layout_of")
    ways = {way.name: {**{key: getattr(way, key) for key in kept}, **agreed[way.name]} for way in task.ways}
    for way in task.ways:
        if way.name in works:
            ways[way.name] |= timed(task, way, times, product[1])
    return {
        "title": task.title, "unit": task.unit, "units": task.units, "rounds": len(times[PRODUCT]), "note": task.note,
        "operations": task.operations, "product_flops": vars(spread(product[1] / times[PRODUCT])),
        "ways": ways,
    }  # fmt: skip


def timed(task: Task, way: Way, times: Mapping[str, np.ndarray], operations: float) -> dict[str, Any]:
    """What the times of one way say; `operations` are those of the matrix product."""
    mine, ours = times[way.name], times[way.beside]
    found: dict[str, Any] = {"seconds": vars(spread(mine / task.units)), "ratio": vars(ratio(mine, ours))}
    if task.operations:
        found["share_of_product"] = vars(spread((task.operations / mine) / (operations / times[PRODUCT])))
    if not way.exact and way.beside == OURS:  # an approximation of ours
        found["gain"] = vars(ratio(ours, mine))
    return found


def agreements(task: Task) -> dict[str, dict[str, Any]]:
    """By way: whether its numbers are right, and how far off they are.

    They are where the median item's are. Some items are further off, whoever computes them: among its millions of
    ReLUs one input is always so close to zero that its sign depends on the order of summation. In a
    deep network that holds for every item. Then plain PyTorch's float32 is looked at, and a way may be off by twice
    as much, if that is still small (`COARSEST`): by the root mean square, for the largest difference is that of one
    ReLU, and by the mean of the items, for few of them make no median.
    """
    wanted = task.truth() if task.truth else task.ways[0].compared()
    others = task.ways if task.truth else task.ways[1:]
    off = {task.ways[0].name: {"difference": 0.0, "worst": 0.0}, **{way.name: compared(way, wanted) for way in others}}
    tolerance = task.tolerance
    exact = [off[way.name]["difference"] or 0.0 for way in task.ways if way.exact]
    if max(exact) > tolerance and task.plain and wanted is not None:
        grain = float(root_mean_square_differences(task.plain(), wanted).mean())
        tolerance = max(tolerance, min(2 * grain, COARSEST))
        for way in others:
            off[way.name]["difference"] = off[way.name].get("root_mean_square")
    for way in task.ways:
        agrees = not way.exact or (off[way.name]["difference"] or 0.0) <= tolerance
        off[way.name] |= {"agrees": agrees, "tolerance": tolerance}
    return off


def compared(way: Way, wanted: Tensor | None) -> dict[str, Any]:
    """How far a way's numbers are off: the median item and the worst; None where it is only a part of the work."""
    numbers = way.compared()
    if numbers is None or wanted is None:
        return {"difference": None}
    each = differences(numbers, wanted)
    mean = float(root_mean_square_differences(numbers, wanted).mean())
    found = {"difference": float(each.median()), "worst": float(each.max()), "root_mean_square": mean}
    return found if way.exact else found | {"rank_correlation": rank_correlation(numbers, wanted)}


def differences(found: Tensor, wanted: Tensor) -> Tensor:
    """(N,): each item's largest difference, relative to its largest number wanted; infinite where shapes differ."""
    if found.shape != wanted.shape:
        return torch.full((len(wanted),), torch.inf)
    largest = wanted.flatten(1).abs().amax(1)
    return (found - wanted).flatten(1).abs().amax(1) / largest.clamp(min=1e-30)


def root_mean_square_differences(found: Tensor, wanted: Tensor) -> Tensor:
    """(N,): each item's, relative to that of its numbers wanted; infinite where shapes differ."""
    if found.shape != wanted.shape:
        return torch.full((len(wanted),), torch.inf)
    return (found - wanted).flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1).clamp(min=1e-30)


def rank_correlation(found: Tensor, wanted: Tensor) -> float:
    """Spearman's, of each photo's map, the largest magnitude over channels (N, C, H, W); the mean over photos."""
    a, b = (values.float().abs().amax(1).flatten(1) for values in (found, wanted))
    ranks = [values.argsort(1).argsort(1).double() for values in (a, b)]
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*ranks, strict=True)]).mean())
