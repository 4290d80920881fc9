"""Optimisers that maximise an objective over images: gradient ascent with momentum, AdaGrad, Adam and L-BFGS.

The images of a batch are optimised independently. Results do not depend on the rest of the batch, to the last digit,
if the network's kernels are batch-invariant (see `deepinside.networks.kernels`).
"""

import math
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import partial
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.networks.micro_batches import micro_batch_size
from deepinside.optimisation import callbacks

Output = TypeVar("Output")
Parts = Mapping[str, Tensor]
OptimiserState = Mapping[str, Tensor]
"""What an optimiser keeps between steps in addition to the images, such as a velocity."""
Schedule = tuple[tuple[PositiveInt, PositiveFloat], ...]


class ObjectiveFunction(Protocol):
    """What is maximised: the total (N,) for images (N, C, H, W) at a step, and its parts by name, each (N,).

    `items` are the positions of these images in the batch that the optimisation started with.
    """

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]: ...


class BatchableObjective(ObjectiveFunction, Protocol):
    """An objective that can be joined with others of an equal `kind` into one batch."""

    @property
    def kind(self) -> Hashable: ...

    def join(self, others: Sequence[Self]) -> Self:
        """One objective for the images of this one, followed by those of `others`, in order."""
        ...

    def dead_start_advice(self, items: Sequence[int]) -> str:
        """What to change where the first gradient of these images of the batch is zero, as part of a sentence."""
        ...

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        """The images (N, C, H, W) after what follows a step, such as a blur or a projection."""
        ...


PostStep = Callable[[Tensor, int, range], Tensor]
"""Applied to the images (N, C, H, W) after a step, such as a blur or a projection; arguments: images, step, items."""


@plain_dataclass(frozen=True)
class Optimised:
    """The images (N, C, H, W) after the last step, and by name each part of the objective, (N, steps)."""

    images: Tensor
    trace: Parts

    def part(self, items: range) -> "Optimised":
        """The result for some of the images."""
        cut = slice(items.start, items.stop)
        return Optimised(self.images[cut], {name: values[cut] for name, values in self.trace.items()})


class Stepwise:
    """An optimiser that updates all images of a batch in every step. Raises DeepInsideError if the first gradient is
    zero, or on NaN or infinity."""

    refuses_divergence = True

    @property
    def divergence_advice(self) -> str:
        """What to change after NaN or infinity, as part of a sentence."""
        return lower("rate")

    def length(self) -> int:
        """The number of steps."""
        raise NotImplementedError

    def initial_state(self, start: Tensor) -> OptimiserState:
        """The state before the first step."""
        raise NotImplementedError

    def update(self, x: Tensor, state: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        """The images and the state after this step."""
        raise NotImplementedError

    def starts_phase(self, step: int) -> bool:
        """Whether this step is the first of a phase, where the state is reset."""
        return step == 0

    def trace_entries(self, state: OptimiserState) -> Parts:
        """Parts of the state that the trace records at every step, each (N,)."""
        return {}

    def advance(
        self, x: Tensor, state: OptimiserState, gradient: Tensor, objective: Tensor, step: int
    ) -> tuple[Tensor, OptimiserState]:
        """As `update`, for optimisers that also use the objective's value (N,)."""
        return self.update(x, state, gradient, step)

    def final_images(self, x: Tensor, state: OptimiserState) -> Tensor:
        """The result, from the images after the last step."""
        return x

    def maximise(self, start: Tensor, objective: ObjectiveFunction, post_step: PostStep | None = None) -> Optimised:
        """Maximise from `start` (N, C, H, W), or from a callback's snapshot if it has one."""
        known = callbacks.restore() or {"step": 0, "images": start, "state": self.initial_state(start), "trace": {}}
        state, trace = on_device(known["state"], start), TraceRecorder(known["trace"], start, self.divergence_advice)
        x = known["images"].to(start).clone()
        for step in range(known["step"], self.length()):
            gradient, parts = objective_gradient(objective, x, step, range(len(x)))
            trace.add(step, {**parts, **self.trace_entries(state)}, gradient, refuse=self.refuses_divergence)
            x, state = self.advance(x, state, gradient, parts["objective"], step)
            x = x if post_step is None else post_step(x, step, range(len(x)))
            make_snapshot = partial(snapshot, step + 1, x, state, trace)
            callbacks.notify(callbacks.Step(step + 1, self.length(), x, trace.rows[-1], make_snapshot))
        return trace.close(self.final_images(x, state))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Momentum(Stepwise):
    """Gradient ascent: v ← momentum·v + rate·∇, x ← x + v.

    `schedule` lists (steps, rate) phases instead of one `steps` and `rate`; the momentum is reset at the start of each.
    With `rate_in="gradient"` (as in the papers) the rate multiplies the gradient. With "pixels" the gradient is first
    divided by its largest root mean square so far, image by image. A single step then changes an image by at most
    `rate` intensities (root mean square), so one rate suits networks of every scale.
    """

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Schedule = ()
    rate_in: Literal["gradient", "pixels"] = "gradient"

    @property
    def divergence_advice(self) -> str:
        return lower("schedule" if self.schedule else "rate")

    def length(self) -> int:
        return length(self.schedule) or self.steps

    def starts_phase(self, step: int) -> bool:
        return phase(self.schedule or ((self.steps, self.rate),), step)[1]

    def initial_state(self, start: Tensor) -> OptimiserState:
        return {"velocity": torch.zeros_like(start), "largest": start.new_zeros(len(start), 1, 1, 1)}

    def update(self, x: Tensor, state: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        rate, fresh = phase(self.schedule or ((self.steps, self.rate),), step)
        largest = torch.maximum(state["largest"], root_mean_square(gradient))
        scale = rate / largest if self.rate_in == "pixels" else rate
        velocity = scale * gradient + (0 if fresh else self.momentum * state["velocity"])
        return x + velocity, {"velocity": velocity, "largest": largest}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaGrad(Stepwise):
    """G ← memory·G + ∇², v ← momentum·v + ∇ / (1/rate + √G), x ← x + v: AdaGrad with exponential decay.

    Mahendran & Vedaldi 2016 (arXiv 1512.02017). Where gradients are large, a step is about one intensity before
    momentum; where they are small, it is rate·∇. `schedule` lists (steps, rate) phases instead of one `steps` and
    `rate`; G and v are reset at the start of each.
    """

    steps: PositiveInt = 300
    rate: PositiveFloat = 53.3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    memory: float = Field(default=0.9, ge=0, le=1)
    schedule: Schedule = ()

    @property
    def divergence_advice(self) -> str:
        return lower("schedule" if self.schedule else "rate")

    def length(self) -> int:
        return length(self.schedule) or self.steps

    def starts_phase(self, step: int) -> bool:
        return phase(self.schedule or ((self.steps, self.rate),), step)[1]

    def initial_state(self, start: Tensor) -> OptimiserState:
        return {"velocity": torch.zeros_like(start), "squares": torch.zeros_like(start)}

    def update(self, x: Tensor, state: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        rate, fresh = phase(self.schedule or ((self.steps, self.rate),), step)
        squares = gradient.square() + (0 if fresh else self.memory * state["squares"])
        before = 0 if fresh else self.momentum * state["velocity"]
        velocity = gradient / (1 / rate + squares.sqrt()) + before
        return x + velocity, {"velocity": velocity, "squares": squares}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adam(Stepwise):
    """Kingma & Ba 2015, with PyTorch's constants; `rate` is about the change per step in intensities."""

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)

    def length(self) -> int:
        return self.steps

    def initial_state(self, start: Tensor) -> OptimiserState:
        return {"mean": torch.zeros_like(start), "square": torch.zeros_like(start)}

    def update(self, x: Tensor, state: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        mean = state["mean"].lerp(gradient, 1 - self.beta1)
        square = (state["square"] * self.beta2).addcmul(gradient, gradient, value=1 - self.beta2)
        spread = square.sqrt() / math.sqrt(1 - self.beta2 ** (step + 1)) + 1e-8
        rate = self.rate / (1 - self.beta1 ** (step + 1))
        return x.addcdiv(mean, spread, value=rate), {"mean": mean, "square": square}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LBFGS:
    """PyTorch's limited-memory BFGS with a strong Wolfe line search.

    Images are optimised one at a time, because the curvature estimate and the line search would mix those of a batch.
    """

    steps: PositiveInt = 50
    history: PositiveInt = 10
    tolerance: NonNegativeFloat = 0.0

    divergence_advice = "choose another optimiser, such as technique/optimiser=adam"

    def maximise(self, start: Tensor, objective: ObjectiveFunction, post_step: PostStep | None = None) -> Optimised:
        """Maximise from `start` (N, C, H, W), or from a callback's snapshot if it has one.

        Raises DeepInsideError if the first gradient is zero, or on NaN or infinity.
        """
        known = callbacks.restore() or {"step": 0, "images": start, "state": {}, "trace": {}}
        images = known["images"].to(start).clone()
        trace = TraceRecorder(known["trace"], start, self.divergence_advice)
        first, done = divmod(known["step"], self.steps)
        for i in range(first, len(start)):
            self._one(i, images, trace, objective, post_step, done=done, state=known["state"] if done else {})
            done = 0
        return trace.close(images)

    def _one(
        self,
        i: int,
        images: Tensor,
        trace: "TraceRecorder",
        objective: ObjectiveFunction,
        post_step: PostStep | None,
        *,
        done: int,
        state: Any,
    ) -> None:
        """Optimise image number `i` of `images`, in place, from step `done` on."""
        items = range(i, i + 1)
        x = images[i : i + 1].clone().requires_grad_()
        lbfgs = self._solver(x, state)
        for step in range(done, self.steps):
            gradient, parts = objective_gradient(objective, x.detach(), step, items)
            trace.add(step, parts, gradient, first=i)
            lbfgs.step(lambda step=step: self._loss(x, objective, step, items))
            x.data = x.data if post_step is None else post_step(x.data, step, items)
            images[i] = x.data[0]
            number = i * self.steps + step + 1
            make_snapshot = partial(snapshot, number, images, lbfgs.state_dict()["state"], trace)
            callbacks.notify(callbacks.Step(number, len(images) * self.steps, images, trace.rows[-1], make_snapshot))

    def _solver(self, x: Tensor, state: Any) -> torch.optim.LBFGS:
        lbfgs = torch.optim.LBFGS(
            [x], max_iter=1, history_size=self.history, line_search_fn="strong_wolfe",
            tolerance_grad=self.tolerance, tolerance_change=self.tolerance, max_eval=25,
        )  # fmt: skip
        lbfgs.load_state_dict({**lbfgs.state_dict(), "state": state})
        return lbfgs

    @staticmethod
    def _loss(x: Tensor, objective: ObjectiveFunction, step: int, items: range) -> Tensor:
        gradient, parts = objective_gradient(objective, x.detach(), step, items)
        x.grad = -gradient
        return -parts["objective"].sum()


Optimiser = Momentum | AdaGrad | Adam | LBFGS


@plain_dataclass(frozen=True)
class OptimisationRequest:
    """An optimisation that a technique requests: maximise `objective` from `start` (N, C, H, W) with `optimiser`."""

    optimiser: Stepwise | LBFGS
    start: Tensor
    objective: BatchableObjective

    def answer(self) -> Optimised:
        """Run the optimisation."""
        try:
            return self.optimiser.maximise(self.start, self.objective, self.objective.post_step)
        except DeadStartError as error:
            raise DeepInsideError(f"{error}; {self.objective.dead_start_advice(error.items)}.") from None

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can be joined: the same optimiser, image size and kind of objective."""
        return self.optimiser, self.start.shape[1:], self.objective.kind

    def join(self, others: Sequence["OptimisationRequest"]) -> "OptimisationRequest":
        """One request for the images of this one, followed by those of `others`."""
        start = torch.cat([self.start, *(other.start for other in others)])
        return OptimisationRequest(self.optimiser, start, self.objective.join([other.objective for other in others]))


OptimisationRequests = Generator[OptimisationRequest, Optimised, Output]
"""A technique as a generator: it yields requests, receives their results, and returns its output."""


def run_requests(requests: OptimisationRequests[Output]) -> Output:
    """The technique's output, with each of its requests answered separately."""
    try:
        request = next(requests)
        while True:
            request = requests.send(request.answer())
    except StopIteration as end:
        return end.value


def length(schedule: Schedule) -> int:
    return sum(steps for steps, _ in schedule)


def phase(schedule: Schedule, step: int) -> tuple[float, bool]:
    """The rate of a step, and whether it is the first of its phase."""
    for steps, rate in schedule:
        if step < steps:
            return rate, step == 0
        step -= steps
    raise IndexError(step)


def root_mean_square(x: Tensor) -> Tensor:
    """(N, 1, 1, 1), of each image."""
    return x.square().flatten(1).mean(1).sqrt().view(-1, 1, 1, 1)


def objective_gradient(
    objective: ObjectiveFunction, x: Tensor, step: int, items: range
) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of the objective at `x`, (N, C, H, W), and the objective's parts; the total is "objective"."""
    several = micro_batch_size((x.shape[2], x.shape[3]))
    portions = [range(i, min(i + several, len(x))) for i in range(0, len(x), several)]
    results = [micro_batch_gradient(objective, x[p.start : p.stop], step, items[p.start : p.stop]) for p in portions]
    if len(results) == 1:
        return results[0]
    gradients, parts = zip(*results, strict=True)
    return torch.cat(gradients), {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def micro_batch_gradient(
    objective: ObjectiveFunction, x: Tensor, step: int, items: range
) -> tuple[Tensor, dict[str, Tensor]]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        total, parts = objective(x, step, items)
        (gradient,) = torch.autograd.grad(total.sum(), x)
    return gradient, {"objective": total.detach(), **{name: part.detach() for name, part in parts.items()}}


class TraceRecorder:
    """Records the parts of the objective and the gradient's norm at every step, and raises on NaN or infinity."""

    CHECK_EVERY = 50  # reading the numbers waits for the device, so not in every step
    BLOCK = 50  # rows are stacked in blocks: many small tensors between large ones would fragment the memory

    def __init__(self, known: Parts, like: Tensor, divergence_advice: str) -> None:
        self.blocks = [on_device(known, like)] if known else []
        self.advice = divergence_advice
        self.rows: list[dict[str, Tensor]] = []

    def add(self, step: int, parts: Parts, gradient: Tensor, *, first: int = 0, refuse: bool = True) -> None:
        """Record a step; `first` is the number of the first image. NaN and infinity raise unless `refuse` is false."""
        if step == 0:
            refuse_dead_start(gradient, first)
        if len(self.rows) == self.BLOCK:
            self.blocks.append(stacked(self.rows))
            self.rows = []
        self.rows.append({**parts, "gradient_norm": gradient.flatten(1).norm(dim=1)})
        if refuse and step % self.CHECK_EVERY == 0:
            refuse_divergence(self.rows[-1]["gradient_norm"], step, self.advice)

    def stacked(self) -> dict[str, Tensor]:
        """Each part by name, (rows, images of a row)."""
        parts = [*self.blocks, *([stacked(self.rows)] if self.rows else [])]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def close(self, images: Tensor) -> Optimised:
        """The result, with the trace sorted by image; raises DeepInsideError if an image is not finite."""
        trace = self.stacked()
        refuse_divergence(images, len(trace["objective"]), self.advice)
        return Optimised(images, {name: in_order(values, len(images)) for name, values in trace.items()})


def stacked(rows: Sequence[Parts]) -> dict[str, Tensor]:
    """Each part by name, (rows, images of a row)."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def in_order(values: Tensor, images: int) -> Tensor:
    """(images, steps) from rows of k images each, (rows, k), where the rows of each group of images are consecutive."""
    k = values.shape[1]
    return values.view(images // k, -1, k).transpose(1, 2).reshape(images, -1)


def snapshot(step: int, images: Tensor, state: Any, trace: TraceRecorder) -> callbacks.Snapshot:
    return {"step": step, "images": images, "state": state, "trace": trace.stacked()}


def on_device(known: Mapping[str, Tensor], like: Tensor) -> Mapping[str, Tensor]:
    return {name: values.to(like.device) for name, values in known.items()}


class DeadStartError(DeepInsideError):
    """The first gradient of the images number `items` is exactly zero, so that no step can change them."""

    def __init__(self, items: Sequence[int], count: int) -> None:
        self.items = items
        super().__init__(
            f"optimisation: the gradient at the start is zero for item {items[0]} ({len(items)} of {count}), so no "
            "step can change it"
        )


def refuse_dead_start(gradient: Tensor, first: int) -> None:
    dead = (gradient.flatten(1).abs().amax(1) == 0).nonzero().flatten().tolist()
    if dead:
        raise DeadStartError([first + place for place in dead], len(gradient))


def refuse_divergence(values: Tensor, step: int, advice: str) -> None:
    if not values.isfinite().all():
        raise DeepInsideError(f"optimisation: NaN or infinity by step {step}; {advice}.")


def lower(key: str) -> str:
    """The advice to take smaller steps."""
    rate = "technique.optimiser.rate" if key == "rate" else "the rates in technique.optimiser.schedule"
    return f"lower {rate} (try a tenth)"
