"""Optimisers against gains whose maximum is known, step by step where the rule is one line."""

from collections.abc import Generator, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.optimisation import callbacks
from deepinside.optimisation.optimisers import (
    LBFGS,
    AdaGrad,
    Adam,
    DeadStartError,
    Momentum,
    OptimisationRequest,
    Optimised,
    Optimiser,
    TraceRecorder,
    run_requests,
)

ALL: tuple[Optimiser, ...] = (
    Momentum(steps=120, rate=0.05),
    Momentum(steps=120, rate=0.05, momentum=0),
    AdaGrad(steps=120, rate=1.0, momentum=0.5),
    Adam(steps=400, rate=0.05),
    LBFGS(steps=10),
)
PEAKS = torch.arange(24.0).view(2, 3, 2, 2) / 10 - 1


class Bowl:
    """objective = −slope·Σ (x − peak)²; remembers which steps and items it was asked for."""

    def __init__(self, peaks: Tensor = PEAKS, slope: float = 1.0) -> None:
        self.peaks, self.slope = peaks, slope
        self.asked: list[tuple[int, range]] = []

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked.append((step, items))
        objective = -self.slope * (x - self.peaks[items.start : items.stop]).square().flatten(1).sum(1)
        return objective, {"score": objective}


def line(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
    """A objective whose gradient is the place of the item plus one, everywhere."""
    objective = torch.stack([(i + 1) * image.sum() for i, image in zip(items, x, strict=True)])
    return objective, {"score": objective}


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_the_top_is_found_and_traced(optimiser: Any) -> None:
    found = optimiser.maximise(torch.zeros_like(PEAKS), Bowl())
    assert (found.images - PEAKS).abs().max() < 0.02
    assert set(found.trace) == {"objective", "score", "gradient_norm"}
    assert all(values.shape == (2, optimiser.steps) for values in found.trace.values())
    assert torch.allclose(found.trace["score"][:, 0], -PEAKS.square().flatten(1).sum(1))
    assert torch.allclose(found.trace["gradient_norm"][:, 0], 2 * PEAKS.flatten(1).norm(dim=1))
    assert (found.trace["objective"][:, -1] > found.trace["objective"][:, 0]).all()


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_an_image_does_not_feel_the_others(optimiser: Any) -> None:
    together = optimiser.maximise(torch.zeros_like(PEAKS), Bowl())
    for i in range(2):
        alone = optimiser.maximise(torch.zeros_like(PEAKS[:1]), Bowl(PEAKS[i : i + 1]))
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.trace["objective"][0], together.trace["objective"][i])


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_the_gain_is_told_step_and_place(optimiser: Any) -> None:
    bowl = Bowl()
    optimiser.maximise(torch.zeros_like(PEAKS), bowl)
    one_by_one = isinstance(optimiser, LBFGS)
    assert {items for _, items in bowl.asked} == ({range(0, 1), range(1, 2)} if one_by_one else {range(0, 2)})
    assert {step for step, _ in bowl.asked} == set(range(optimiser.steps))


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_the_start_is_left_alone(optimiser: Any) -> None:
    start = torch.zeros_like(PEAKS)
    optimiser.maximise(start, Bowl())
    assert torch.equal(start, torch.zeros_like(PEAKS)) and not start.requires_grad


def test_momentum_is_its_formula() -> None:
    found = Momentum(steps=3, rate=0.5, momentum=0.5).maximise(torch.zeros(1, 1, 1, 1), line)
    # velocities 0.5, 0.75, 0.875
    assert found.images.item() == pytest.approx(0.5 + 0.75 + 0.875)


def test_a_schedule_starts_the_momentum_anew() -> None:
    found = Momentum(schedule=((2, 1.0), (2, 0.1)), momentum=0.5).maximise(torch.zeros(1, 1, 1, 1), line)
    assert found.images.item() == pytest.approx(1 + 1.5 + 0.1 + 0.15)
    assert found.trace["objective"].shape == (1, 4)


def test_adagrad_is_its_formula_and_starts_anew() -> None:
    found = AdaGrad(schedule=((2, 1.0), (1, 0.5)), momentum=0.5, memory=0.5).maximise(torch.zeros(1, 1, 1, 1), line)
    first = 1 / (1 + 1)
    second = 1 / (1 + 1.5**0.5) + 0.5 * first
    assert found.images.item() == pytest.approx(first + second + 1 / (2 + 1))


@pytest.mark.parametrize("slope", [1e-6, 1.0, 1e6])
def test_a_rate_in_pixels_bounds_every_step_at_any_scale(slope: float) -> None:
    path: list[Tensor] = [torch.zeros_like(PEAKS)]
    optimiser = Momentum(steps=30, rate=0.3, momentum=0, rate_in="pixels")
    optimiser.maximise(path[0], Bowl(slope=slope), lambda x, step, items: (path.append(x), x)[1])
    moves = torch.stack([(b - a).square().flatten(1).mean(1).sqrt() for a, b in pairwise(path)])
    assert moves.max() <= 0.3 * (1 + 1e-5)
    assert moves[0].tolist() == pytest.approx([0.3, 0.3])
    assert (path[-1] - PEAKS).abs().max() < 0.05


def test_polish_follows_every_step() -> None:
    for optimiser in ALL:
        found = optimiser.maximise(torch.full_like(PEAKS, 0.1), Bowl(), lambda x, step, items: x.clamp(0, 0.25))
        assert found.images.min() >= 0 and found.images.max() == 0.25


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_a_dead_start_says_which_item(optimiser: Any) -> None:
    start = torch.zeros_like(PEAKS)
    start[1] = PEAKS[1]
    with pytest.raises(DeadStartError, match="zero for item 1 ") as raised:
        optimiser.maximise(start, Bowl())
    assert raised.value.items == [1]


@pytest.mark.parametrize("optimiser", [Momentum(steps=300, rate=1e3), Momentum(steps=300, rate=1e3, momentum=0)])
def test_divergence_says_what_to_change(optimiser: Any) -> None:
    with pytest.raises(DeepInsideError, match=r"NaN or infinity by step \d+; lower technique\.optimiser\.rate"):
        optimiser.maximise(torch.zeros_like(PEAKS), Bowl())


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_a_score_that_is_no_number_stops(optimiser: Any) -> None:
    def broken(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        objective = (x.flatten(1).sum(1) - 1).sqrt()
        return objective, {"score": objective}

    with pytest.raises(DeepInsideError, match="NaN or infinity"):
        optimiser.maximise(torch.zeros_like(PEAKS), broken)


@pytest.mark.parametrize(
    ("kind", "wrong"), [(Momentum, {"rate": -1}), (Momentum, {"momentum": 1}), (Adam, {"steps": 0}), (LBFGS, {"q": 1})]
)
def test_settings_are_checked(kind: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


# ---- watched, interrupted and joined ----


class Memory(callbacks.Callback):
    """Keeps the snapshot after step `at`, as a file would hold it, and stops there; or gives one back."""

    def __init__(self, at: int = 0, known: callbacks.Snapshot | None = None) -> None:
        self.at, self.known = at, known
        self.numbers: list[tuple[int, int]] = []

    def restore(self) -> callbacks.Snapshot | None:
        return self.known

    def step(self, now: callbacks.Step) -> None:
        self.numbers.append((now.number, now.total))
        if now.number == self.at:
            buffer = BytesIO()
            torch.save(now.snapshot(), buffer)
            buffer.seek(0)
            self.known = torch.load(buffer, weights_only=True)
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 7, 13, 20])
@pytest.mark.parametrize(
    "optimiser",
    [
        Momentum(schedule=((8, 0.05), (12, 0.01)), rate_in="pixels"),
        AdaGrad(schedule=((8, 1.0), (12, 0.5))),
        Adam(steps=20, rate=0.05),
        LBFGS(steps=10),
    ],
    ids=lambda o: type(o).__name__,
)
def test_an_interrupted_climb_goes_on_to_the_same_bytes(optimiser: Any, at: int) -> None:
    whole = optimiser.maximise(torch.zeros_like(PEAKS), Bowl(slope=0.3))
    stopped = Memory(at)
    with pytest.raises(KeyboardInterrupt), callbacks.using_callback(stopped):
        optimiser.maximise(torch.zeros_like(PEAKS), Bowl(slope=0.3))
    bowl, going = Bowl(slope=0.3), Memory(known=stopped.known)
    with callbacks.using_callback(going):
        found = optimiser.maximise(torch.zeros_like(PEAKS), bowl)
    assert torch.equal(found.images, whole.images)
    assert found.trace.keys() == whole.trace.keys()
    assert all(torch.equal(found.trace[name], whole.trace[name]) for name in whole.trace)
    assert going.numbers == [(number, 20) for number in range(at + 1, 21)]
    assert at < 20 or not bowl.asked


def test_watchers_are_told_of_every_step_and_only_in_their_block() -> None:
    outer, inner = Memory(), Memory()
    with callbacks.using_callback(outer):
        with callbacks.using_callback(inner):
            ALL[0].maximise(torch.zeros_like(PEAKS), Bowl())
        ALL[0].maximise(torch.zeros_like(PEAKS), Bowl())
    ALL[0].maximise(torch.zeros_like(PEAKS), Bowl())
    assert inner.numbers == [(number, 120) for number in range(1, 121)]
    assert outer.numbers == inner.numbers * 2


class Peak(Bowl):
    """A bowl that takes others into its batch."""

    kind = "peak"

    def join(self, others: Sequence["Peak"]) -> "Peak":
        return Peak(torch.cat([self.peaks, *(other.peaks for other in others)]))

    def post_step(self, x: Tensor, step: int, items: range) -> Tensor:
        return x.clamp(max=1.0)


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_joined_requests_find_what_each_finds_alone(optimiser: Any) -> None:
    requests = [
        OptimisationRequest(optimiser, torch.zeros_like(peaks), Peak(peaks)) for peaks in (PEAKS, PEAKS[:1] / 2)
    ]
    assert requests[0].kind == requests[1].kind
    both = requests[0].join(requests[1:]).answer()
    for request, items in zip(requests, (range(0, 2), range(2, 3)), strict=True):
        single, part = request.answer(), both.part(items)
        assert torch.equal(single.images, part.images)
        assert all(torch.equal(single.trace[name], part.trace[name]) for name in single.trace)


def test_a_technique_alone_is_sent_what_it_asks_for() -> None:
    def technique() -> Generator[OptimisationRequest, Optimised, float]:
        first = yield OptimisationRequest(ALL[0], torch.zeros_like(PEAKS), Peak(PEAKS))
        second = yield OptimisationRequest(ALL[0], first.images, Peak(PEAKS + 0.1))
        return (second.images - first.images).mean().item()

    assert run_requests(technique()) == pytest.approx(0.1 * 9 / 12, abs=0.05)


def test_a_long_trace_keeps_every_step_once_and_few_tensors() -> None:
    count = 2 * TraceRecorder.BLOCK + 7
    whole, again = TraceRecorder({}, PEAKS, "lower the rate"), TraceRecorder({}, PEAKS, "lower the rate")
    for step in range(count):
        if step == TraceRecorder.BLOCK + 3:  # as after a snapshot
            again = TraceRecorder(again.stacked(), PEAKS, "lower the rate")
        for trace in (whole, again):
            trace.add(step, {"objective": torch.tensor([step, -step])}, torch.ones(2, 1, 1, 1))
    assert torch.equal(whole.stacked()["objective"], torch.arange(count)[:, None] * torch.tensor([1, -1]))
    assert whole.stacked().keys() == again.stacked().keys() == {"objective", "gradient_norm"}
    assert all(torch.equal(values, again.stacked()[name]) for name, values in whole.stacked().items())
    assert len(whole.blocks) == 2 and len(whole.rows) == 7
