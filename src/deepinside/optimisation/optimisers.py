"""How an image is optimised: gradient ascent with momentum, Adam or L-BFGS, always upwards.

Every image of a batch is optimised as if it were alone: which others stand beside it changes nothing, to the last
digit, where the network's kernels round alike for every size of batch (see `deepinside.networks.kernels`).
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
"""What a rule carries from step to step besides the images, such as a velocity."""
Schedule = tuple[tuple[PositiveInt, PositiveFloat], ...]


class ObjectiveFunction(Protocol):
    """What is raised: the total (N,) for images (N, C, H, W) at a step, and its parts by name, each (N,).

    `items` are the places of these images in the batch the optimisation was started with.
    """

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, Parts]: ...


class BatchableObjective(ObjectiveFunction, Protocol):
    """A gain that can take others' images into its batch: those with an equal `kind`."""

    @property
    def kind(self) -> Hashable: ...

    def join(self, others: Sequence[Self]) -> Self:
        """One gain for this one's images and then those of `others`, in order."""
        ...

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        """What becomes of the images (N, C, H, W) after a step."""
        ...


PostStep = Callable[[Tensor, int, range], Tensor]
"""What is done to the images (N, C, H, W) after a step, such as a blur or a projection; the last are their places."""


@plain_dataclass(frozen=True)
class Optimised:
    """The images (N, C, H, W) after the last step, and by name each part of the gain at every step, (N, steps)."""

    images: Tensor
    trace: Parts

    def part(self, items: range) -> "Optimised":
        """What was found for some of the images."""
        cut = slice(items.start, items.stop)
        return Optimised(self.images[cut], {name: values[cut] for name, values in self.trace.items()})


class Stepwise:
    """A rule that moves all images of a batch once a step. Raises DeepInsideError on a zero gradient at the start and
    on NaN or infinity."""

    diverging_is_refused = True

    def length(self) -> int:
        """How many steps it takes."""
        raise NotImplementedError

    def begin(self, start: Tensor) -> OptimiserState:
        """Its memory before the first step."""
        raise NotImplementedError

    def move(self, x: Tensor, memory: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        """The images after this step, and its memory."""
        raise NotImplementedError

    def starts_phase(self, step: int) -> bool:
        """Whether this step is the first of a phase, at whose rate the rule starts anew."""
        return step == 0

    def noted(self, memory: OptimiserState) -> Parts:
        """What the trace keeps of its memory at every step, each (N,)."""
        return {}

    def advance(
        self, x: Tensor, memory: OptimiserState, gradient: Tensor, gain: Tensor, step: int
    ) -> tuple[Tensor, OptimiserState]:
        """As `move`, for rules that look at the gain (N,), too."""
        return self.move(x, memory, gradient, step)

    def outcome(self, x: Tensor, memory: OptimiserState) -> Tensor:
        """The images that were found, from those after the last step."""
        return x

    def maximise(self, start: Tensor, gain: ObjectiveFunction, polish: PostStep | None = None) -> Optimised:
        """Climb from `start` (N, C, H, W); a climb that a watcher remembers goes on where it was left."""
        known = callbacks.restore() or {"step": 0, "images": start, "memory": self.begin(start), "trace": {}}
        memory, trace = on_device(known["memory"], start), TraceRecorder(on_device(known["trace"], start))
        x = known["images"].to(start).clone()
        for step in range(known["step"], self.length()):
            gradient, parts = objective_gradient(gain, x, step, range(len(x)))
            trace.add(step, {**parts, **self.noted(memory)}, gradient, refuse=self.diverging_is_refused)
            x, memory = self.advance(x, memory, gradient, parts["gain"], step)
            x = x if polish is None else polish(x, step, range(len(x)))
            state = partial(snapshot, step + 1, x, memory, trace)
            callbacks.notify(callbacks.Step(step + 1, self.length(), x, trace.rows[-1], state))
        return trace.close(self.outcome(x, memory))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Momentum(Stepwise):
    """Gradient ascent: v ← momentum·v + rate·∇, x ← x + v.

    `schedule` lists (steps, rate) phases instead of one `steps` and `rate`; the momentum starts anew in each.
    With `rate_in="gradient"` (the papers') the rate multiplies the bare gradient. With "pixels" it multiplies the
    gradient divided by the largest root-mean-square any gradient of this image has had so far: no step alone changes
    an image by more than `rate` pixel levels, root mean square, so one rate serves networks of every scale.
    """

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    momentum: float = Field(default=0.9, ge=0, lt=1)
    schedule: Schedule = ()
    rate_in: Literal["gradient", "pixels"] = "gradient"

    def length(self) -> int:
        return length(self.schedule) or self.steps

    def starts_phase(self, step: int) -> bool:
        return phase(self.schedule or ((self.steps, self.rate),), step)[1]

    def begin(self, start: Tensor) -> OptimiserState:
        return {"velocity": torch.zeros_like(start), "largest": start.new_zeros(len(start), 1, 1, 1)}

    def move(self, x: Tensor, memory: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        rate, fresh = phase(self.schedule or ((self.steps, self.rate),), step)
        largest = torch.maximum(memory["largest"], root_mean_square(gradient))
        scale = rate / largest if self.rate_in == "pixels" else rate
        velocity = scale * gradient + (0 if fresh else self.momentum * memory["velocity"])
        return x + velocity, {"velocity": velocity, "largest": largest}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AdaGrad(Stepwise):
    """G ← memory·G + ∇², v ← momentum·v + ∇ / (1/rate + √G), x ← x + v: AdaGrad with a memory that fades.

    Mahendran & Vedaldi 2016 (arXiv 1512.02017). Where gradients are large a step is about a pixel level before
    momentum, where they are small it is rate·∇. `schedule` lists (steps, rate) phases instead of one `steps` and
    `rate`; G and v start anew in each.
    """

    steps: PositiveInt = 300
    rate: PositiveFloat = 53.3
    momentum: float = Field(default=0.9, ge=0, lt=1)
    memory: float = Field(default=0.9, ge=0, le=1)
    schedule: Schedule = ()

    def length(self) -> int:
        return length(self.schedule) or self.steps

    def starts_phase(self, step: int) -> bool:
        return phase(self.schedule or ((self.steps, self.rate),), step)[1]

    def begin(self, start: Tensor) -> OptimiserState:
        return {"velocity": torch.zeros_like(start), "squares": torch.zeros_like(start)}

    def move(self, x: Tensor, memory: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        rate, fresh = phase(self.schedule or ((self.steps, self.rate),), step)
        squares = gradient.square() + (0 if fresh else self.memory * memory["squares"])
        before = 0 if fresh else self.momentum * memory["velocity"]
        velocity = gradient / (1 / rate + squares.sqrt()) + before
        return x + velocity, {"velocity": velocity, "squares": squares}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adam(Stepwise):
    """Kingma & Ba 2015, with PyTorch's constants; `rate` is about the change of a pixel level a step."""

    steps: PositiveInt = 200
    rate: PositiveFloat = 1.0
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)

    def length(self) -> int:
        return self.steps

    def begin(self, start: Tensor) -> OptimiserState:
        return {"mean": torch.zeros_like(start), "square": torch.zeros_like(start)}

    def move(self, x: Tensor, memory: OptimiserState, gradient: Tensor, step: int) -> tuple[Tensor, OptimiserState]:
        mean = memory["mean"].lerp(gradient, 1 - self.beta1)
        square = (memory["square"] * self.beta2).addcmul(gradient, gradient, value=1 - self.beta2)
        spread = square.sqrt() / math.sqrt(1 - self.beta2 ** (step + 1)) + 1e-8
        rate = self.rate / (1 - self.beta1 ** (step + 1))
        return x.addcdiv(mean, spread, value=rate), {"mean": mean, "square": square}


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LBFGS:
    """Limited-memory BFGS with a strong Wolfe line search, PyTorch's, one image at a time.

    One at a time because its curvature estimate and its line search would otherwise mix the images of a batch.
    """

    steps: PositiveInt = 50
    history: PositiveInt = 10
    tolerance: NonNegativeFloat = 0.0

    def maximise(self, start: Tensor, gain: ObjectiveFunction, polish: PostStep | None = None) -> Optimised:
        """Climb from `start` (N, C, H, W); a climb that a watcher remembers goes on where it was left.

        Raises DeepInsideError on a zero gradient at the start and on NaN or infinity.
        """
        known = callbacks.restore() or {"step": 0, "images": start, "memory": {}, "trace": {}}
        images, trace = known["images"].to(start).clone(), TraceRecorder(on_device(known["trace"], start))
        first, done = divmod(known["step"], self.steps)
        for i in range(first, len(start)):
            self._one(i, images, trace, gain, polish, done=done, memory=known["memory"] if done else {})
            done = 0
        return trace.close(images)

    def _one(
        self,
        i: int,
        images: Tensor,
        trace: "TraceRecorder",
        gain: ObjectiveFunction,
        polish: PostStep | None,
        *,
        done: int,
        memory: Any,
    ) -> None:
        """Climb with image number `i` of `images`, in place, from step `done` on."""
        items = range(i, i + 1)
        x = images[i : i + 1].clone().requires_grad_()
        lbfgs = self._solver(x, memory)
        for step in range(done, self.steps):
            gradient, parts = objective_gradient(gain, x.detach(), step, items)
            trace.add(step, parts, gradient, first=i)
            lbfgs.step(lambda step=step: self._loss(x, gain, step, items))
            x.data = x.data if polish is None else polish(x.data, step, items)
            images[i] = x.data[0]
            number = i * self.steps + step + 1
            state = partial(snapshot, number, images, lbfgs.state_dict()["state"], trace)
            callbacks.notify(callbacks.Step(number, len(images) * self.steps, images, trace.rows[-1], state))

    def _solver(self, x: Tensor, memory: Any) -> torch.optim.LBFGS:
        lbfgs = torch.optim.LBFGS(
            [x], max_iter=1, history_size=self.history, line_search_fn="strong_wolfe",
            tolerance_grad=self.tolerance, tolerance_change=self.tolerance, max_eval=25,
        )  # fmt: skip
        lbfgs.load_state_dict({**lbfgs.state_dict(), "state": memory})
        return lbfgs

    @staticmethod
    def _loss(x: Tensor, gain: ObjectiveFunction, step: int, items: range) -> Tensor:
        gradient, parts = objective_gradient(gain, x.detach(), step, items)
        x.grad = -gradient
        return -parts["gain"].sum()


Optimiser = Momentum | AdaGrad | Adam | LBFGS


@plain_dataclass(frozen=True)
class OptimisationRequest:
    """An optimisation that a technique asks for: from `start` (N, C, H, W), what `gain` says, by `optimiser`."""

    optimiser: Stepwise | LBFGS
    start: Tensor
    gain: BatchableObjective

    def answer(self) -> Optimised:
        """Do it."""
        return self.optimiser.maximise(self.start, self.gain, self.gain.post_step)

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can be joined: the same rule, images of one size, gains of one kind."""
        return self.optimiser, self.start.shape[1:], self.gain.kind

    def join(self, others: Sequence["OptimisationRequest"]) -> "OptimisationRequest":
        """One request for the images of this one and then those of `others`."""
        start = torch.cat([self.start, *(other.start for other in others)])
        return OptimisationRequest(self.optimiser, start, self.gain.join([other.gain for other in others]))


OptimisationRequests = Generator[OptimisationRequest, Optimised, Output]
"""A technique in the middle of its work: it asks for optimisations, is sent what they found, and returns its result."""


def run_requests(climbs: OptimisationRequests[Output]) -> Output:
    """The technique's result, each of its requests answered by itself."""
    try:
        request = next(climbs)
        while True:
            request = climbs.send(request.answer())
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


def objective_gradient(gain: ObjectiveFunction, x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
    """The gradient of the gain at `x`, (N, C, H, W), and the gain's parts, with the total under "gain"."""
    several = micro_batch_size((x.shape[2], x.shape[3]))
    portions = [range(i, min(i + several, len(x))) for i in range(0, len(x), several)]
    climbed = [micro_batch_gradient(gain, x[p.start : p.stop], step, items[p.start : p.stop]) for p in portions]
    if len(climbed) == 1:
        return climbed[0]
    gradients, parts = zip(*climbed, strict=True)
    return torch.cat(gradients), {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def micro_batch_gradient(
    gain: ObjectiveFunction, x: Tensor, step: int, items: range
) -> tuple[Tensor, dict[str, Tensor]]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        total, parts = gain(x, step, items)
        (gradient,) = torch.autograd.grad(total.sum(), x)
    return gradient, {"gain": total.detach(), **{name: part.detach() for name, part in parts.items()}}


class TraceRecorder:
    """Collects the parts of the gain and the gradient's norm by step, and stops what goes wrong."""

    CHECK_EVERY = 50  # a look at the numbers waits for the device, so not every step
    TOGETHER = 50  # many small tensors between large ones that come and go would leave no room for these to come back

    def __init__(self, known: Parts) -> None:
        self.before = [known] if known else []
        self.rows: list[dict[str, Tensor]] = []

    def add(self, step: int, parts: Parts, gradient: Tensor, *, first: int = 0, refuse: bool = True) -> None:
        """One step of the images whose first is number `first`; NaN and infinity stop it unless `refuse` is false."""
        if step == 0:
            refuse_dead_start(gradient, first)
        if len(self.rows) == self.TOGETHER:
            self.before.append(stacked(self.rows))
            self.rows = []
        self.rows.append({**parts, "gradient_norm": gradient.flatten(1).norm(dim=1)})
        if refuse and step % self.CHECK_EVERY == 0:
            refuse_divergence(self.rows[-1]["gradient_norm"], step)

    def stacked(self) -> dict[str, Tensor]:
        """By part, (rows, images of a row)."""
        parts = [*self.before, *([stacked(self.rows)] if self.rows else [])]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def close(self, images: Tensor) -> Optimised:
        """The outcome, the trace sorted by image; raises DeepInsideError where an image is not finite."""
        found = self.stacked()
        refuse_divergence(images, len(found["gain"]))
        return Optimised(images, {name: in_order(values, len(images)) for name, values in found.items()})


def stacked(rows: Sequence[Parts]) -> dict[str, Tensor]:
    """By part, (rows, images of a row)."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def in_order(values: Tensor, images: int) -> Tensor:
    """(images, steps) from rows of k images each, (rows, k), the rows of one group of images following each other."""
    k = values.shape[1]
    return values.view(images // k, -1, k).transpose(1, 2).reshape(images, -1)


def snapshot(step: int, images: Tensor, memory: Any, trace: TraceRecorder) -> callbacks.Snapshot:
    return {"step": step, "images": images, "memory": memory, "trace": trace.stacked()}


def on_device(known: Mapping[str, Tensor], like: Tensor) -> Mapping[str, Tensor]:
    return {name: values.to(like.device) for name, values in known.items()}


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
            f"optimisation: NaN or infinity by step {step}; lower technique.optimiser.rate (a tenth is a good "
            "try), or choose another rule, such as technique/optimiser=adam."
        )
