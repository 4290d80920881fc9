"""How an image is optimised: gradient ascent with momentum, Adam or L-BFGS, always upwards.

Every image of a batch is optimised as if it were alone, its gradient is even computed alone: kernels round otherwise
for other sizes of batch, and what differs in the last digit after one step differs visibly after many.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from typing import Literal, Protocol

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.settings import STRICT

Parts = Mapping[str, Tensor]


class Gain(Protocol):
    """What is raised: the total (N,) for images (N, C, H, W) at a step, and its parts by name, each (N,).

    `items` are the places of these images in the batch the optimisation was started with.
    """

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]: ...


Polish = Callable[[Tensor, int], Tensor]
"""What is done to the images (N, C, H, W) after a step, such as a blur or a projection."""


@plain_dataclass(frozen=True)
class Optimised:
    """The images (N, C, H, W) after the last step, and by name each part of the gain at every step, (N, steps)."""

    images: Tensor
    trace: Parts


class Optimiser(Protocol):
    """`maximise` raises `gain` from `start` and returns what came of it."""

    @abstractmethod
    def maximise(self, start: Tensor, gain: Gain, polish: Polish | None = None) -> Optimised: ...


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Momentum:
    """Gradient ascent: v ← momentum·v + rate·∇, x ← x + v.

    `schedule` lists (steps, rate) phases instead of one `steps` and `rate`; the momentum starts anew in each.
    With `rate_in="gradient"` (the papers') the rate multiplies the bare gradient. With "pixels" it multiplies the
    gradient divided by the largest root-mean-square any gradient of this image has had so far: no step alone changes
    an image by more than `rate` pixel levels, root mean square, so one rate serves networks of every scale.
    """

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: tuple[tuple[PositiveInt, PositiveFloat], ...] = ()
    rate_in: Literal["gradient", "pixels"] = "gradient"

    def maximise(self, start: Tensor, gain: Gain, polish: Polish | None = None) -> Optimised:
        """Climb from `start`; raises DeepInsideError on a zero gradient at the start and on NaN or infinity."""
        x, velocity, trace = start.clone(), torch.zeros_like(start), Trace()
        largest = start.new_zeros(len(start), 1, 1, 1)
        for step, (rate, fresh) in enumerate(rates(self.schedule or ((self.steps, self.rate),))):
            gradient, parts = climb(gain, x, step)
            trace.add(step, parts, gradient)
            largest = torch.maximum(largest, root_mean_square(gradient))
            scale = rate / largest if self.rate_in == "pixels" else rate
            velocity = scale * gradient + (0 if fresh else self.momentum * velocity)
            x = finish(x + velocity, step, polish)
        return trace.close(x)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaGrad:
    """G ← memory·G + ∇², v ← momentum·v + ∇ / (1/rate + √G), x ← x + v: AdaGrad with a memory that fades.

    Mahendran & Vedaldi 2016 (arXiv 1512.02017). Where gradients are large a step is about a pixel level before
    momentum, where they are small it is rate·∇. `schedule` lists (steps, rate) phases instead of one `steps` and
    `rate`; G and v start anew in each.
    """

    steps: PositiveInt = 300
    rate: PositiveFloat = 53.3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    memory: float = Field(default=0.9, ge=0, le=1)
    schedule: tuple[tuple[PositiveInt, PositiveFloat], ...] = ()

    def maximise(self, start: Tensor, gain: Gain, polish: Polish | None = None) -> Optimised:
        """Climb from `start`; raises DeepInsideError on a zero gradient at the start and on NaN or infinity."""
        x, trace = start.clone(), Trace()
        velocity, squares = torch.zeros_like(start), torch.zeros_like(start)
        for step, (rate, fresh) in enumerate(rates(self.schedule or ((self.steps, self.rate),))):
            gradient, parts = climb(gain, x, step)
            trace.add(step, parts, gradient)
            squares = gradient.square() + (0 if fresh else self.memory * squares)
            velocity = gradient / (1 / rate + squares.sqrt()) + (0 if fresh else self.momentum * velocity)
            x = finish(x + velocity, step, polish)
        return trace.close(x)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adam:
    """Kingma & Ba 2015, with PyTorch's constants; `rate` is about the change of a pixel level a step."""

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)

    def maximise(self, start: Tensor, gain: Gain, polish: Polish | None = None) -> Optimised:
        """Climb from `start`; raises DeepInsideError on a zero gradient at the start and on NaN or infinity."""
        x = start.clone().requires_grad_()
        adam = torch.optim.Adam([x], self.rate, (self.beta1, self.beta2), maximize=True)
        trace = Trace()
        for step in range(self.steps):
            x.grad, parts = climb(gain, x.detach(), step)
            trace.add(step, parts, x.grad)
            adam.step()
            x.data = finish(x.data, step, polish)
        return trace.close(x.detach())


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LBFGS:
    """Limited-memory BFGS with a strong Wolfe line search, PyTorch's, one image at a time.

    One at a time because its curvature estimate and its line search would otherwise mix the images of a batch.
    """

    steps: PositiveInt = 50
    history: PositiveInt = 10
    tolerance: NonNegativeFloat = 0.0

    def maximise(self, start: Tensor, gain: Gain, polish: Polish | None = None) -> Optimised:
        """Climb from `start`; raises DeepInsideError on a zero gradient at the start and on NaN or infinity."""
        climbed = [self._one(start[i : i + 1], gain, range(i, i + 1), polish) for i in range(len(start))]
        trace = {name: torch.cat([one.trace[name] for one in climbed]) for name in climbed[0].trace}
        return Optimised(torch.cat([one.images for one in climbed]), trace)

    def _one(self, start: Tensor, gain: Gain, items: range, polish: Polish | None) -> Optimised:
        x, trace = start.clone().requires_grad_(), Trace(items)
        lbfgs = self._solver(x)
        for step in range(self.steps):
            gradient, parts = climb(gain, x.detach(), step, items)
            trace.add(step, parts, gradient)
            lbfgs.step(lambda step=step: self._loss(x, gain, step, items))
            x.data = finish(x.data, step, polish)
        return trace.close(x.detach())

    def _solver(self, x: Tensor) -> torch.optim.LBFGS:
        return torch.optim.LBFGS(
            [x], max_iter=1, history_size=self.history, line_search_fn="strong_wolfe",
            tolerance_grad=self.tolerance, tolerance_change=self.tolerance, max_eval=25,
        )  # fmt: skip

    @staticmethod
    def _loss(x: Tensor, gain: Gain, step: int, items: range) -> Tensor:
        gradient, parts = climb(gain, x.detach(), step, items)
        x.grad = -gradient
        return -parts["gain"].sum()


def rates(schedule: tuple[tuple[int, float], ...]) -> Iterator[tuple[float, bool]]:
    """The rate of every step, and whether it is the first of its phase."""
    for steps, rate in schedule:
        for step in range(steps):
            yield rate, step == 0


def root_mean_square(x: Tensor) -> Tensor:
    """(N, 1, 1, 1), each image's on its own: see above on rounding."""
    return torch.stack([image.square().mean().sqrt() for image in x]).view(-1, 1, 1, 1)


def climb(gain: Gain, x: Tensor, step: int, items: range | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of the gain at `x`, (N, C, H, W), and the gain's parts, with the total under "gain"."""
    places = items or range(len(x))
    climbed = [climb_one(gain, x[i : i + 1], step, places[i : i + 1]) for i in range(len(x))]
    gradients, parts = zip(*climbed, strict=True)
    return torch.cat(gradients), {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def climb_one(gain: Gain, x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        total, parts = gain(x, step, items)
        (gradient,) = torch.autograd.grad(total.sum(), x)
    return gradient, {"gain": total.detach(), **{name: part.detach() for name, part in parts.items()}}


def finish(x: Tensor, step: int, polish: Polish | None) -> Tensor:
    return x if polish is None else polish(x, step)


class Trace:
    """Collects the parts of the gain and the gradient's norm by step, and stops what goes wrong."""

    CHECK_EVERY = 50  # a look at the numbers waits for the device, so not every step

    def __init__(self, items: range | None = None) -> None:
        self.rows: list[dict[str, Tensor]] = []
        self.first = items[0] if items else 0

    def add(self, step: int, parts: Parts, gradient: Tensor) -> None:
        if step == 0:
            refuse_dead_start(gradient, self.first)
        self.rows.append({**parts, "gradient_norm": gradient.flatten(1).norm(dim=1)})
        if step % self.CHECK_EVERY == 0:
            refuse_divergence(self.rows[-1]["gradient_norm"], step)

    def close(self, images: Tensor) -> Optimised:
        refuse_divergence(images, len(self.rows))
        return Optimised(images, {name: torch.stack([row[name] for row in self.rows], 1) for name in self.rows[0]})


def refuse_dead_start(gradient: Tensor, first: int) -> None:
    """Raise where an image's gradient is exactly zero: no step would ever move it. `first` is the first one's place."""
    dead = (gradient.flatten(1).abs().amax(1) == 0).nonzero().flatten().tolist()
    if dead:
        raise DeepInsideError(
            f"optimisation: the gradient at the start is zero for item {first + dead[0]} "
            f"({len(dead)} of {len(gradient)}), so it can never move; "
            "start from technique.start=noise or take a target before the last rectifier."
        )


def refuse_divergence(values: Tensor, step: int) -> None:
    if not values.isfinite().all():
        raise DeepInsideError(
            f"optimisation: NaN or infinity by step {step}; lower technique.optimiser.rate (a tenth is a good try) "
            "or strengthen technique.l2."
        )
