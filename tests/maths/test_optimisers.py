"""Optimisers against gains whose maximum is known, step by step where the rule is one line."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.maths.optimisers import LBFGS, AdaGrad, Adam, Momentum, Optimiser

ALL: tuple[Optimiser, ...] = (
    Momentum(steps=120, rate=0.05),
    Momentum(steps=120, rate=0.05, momentum=0),
    AdaGrad(steps=120, rate=1.0, momentum=0.5),
    Adam(steps=400, rate=0.05),
    LBFGS(steps=10),
)
PEAKS = torch.arange(24.0).view(2, 3, 2, 2) / 10 - 1


class Bowl:
    """gain = −slope·Σ (x − peak)²; remembers which steps and items it was asked for."""

    def __init__(self, peaks: Tensor = PEAKS, slope: float = 1.0) -> None:
        self.peaks, self.slope = peaks, slope
        self.asked: list[tuple[int, range]] = []

    def __call__(self, x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        self.asked.append((step, items))
        gain = -self.slope * (x - self.peaks[items.start : items.stop]).square().flatten(1).sum(1)
        return gain, {"score": gain}


def line(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
    """A gain whose gradient is the place of the item plus one, everywhere."""
    gain = torch.stack([(i + 1) * image.sum() for i, image in zip(items, x, strict=True)])
    return gain, {"score": gain}


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_the_top_is_found_and_traced(optimiser: Any) -> None:
    found = optimiser.maximise(torch.zeros_like(PEAKS), Bowl())
    assert (found.images - PEAKS).abs().max() < 0.02
    assert set(found.trace) == {"gain", "score", "gradient_norm"}
    assert all(values.shape == (2, optimiser.steps) for values in found.trace.values())
    assert torch.allclose(found.trace["score"][:, 0], -PEAKS.square().flatten(1).sum(1))
    assert torch.allclose(found.trace["gradient_norm"][:, 0], 2 * PEAKS.flatten(1).norm(dim=1))
    assert (found.trace["gain"][:, -1] > found.trace["gain"][:, 0]).all()


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_an_image_does_not_feel_the_others(optimiser: Any) -> None:
    together = optimiser.maximise(torch.zeros_like(PEAKS), Bowl())
    for i in range(2):
        alone = optimiser.maximise(torch.zeros_like(PEAKS[:1]), Bowl(PEAKS[i : i + 1]))
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.trace["gain"][0], together.trace["gain"][i])


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_the_gain_is_told_step_and_place(optimiser: Any) -> None:
    bowl = Bowl()
    optimiser.maximise(torch.zeros_like(PEAKS), bowl)
    assert {items for _, items in bowl.asked} == {range(0, 1), range(1, 2)}
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
    assert found.trace["gain"].shape == (1, 4)


def test_adagrad_is_its_formula_and_starts_anew() -> None:
    found = AdaGrad(schedule=((2, 1.0), (1, 0.5)), momentum=0.5, memory=0.5).maximise(torch.zeros(1, 1, 1, 1), line)
    first = 1 / (1 + 1)
    second = 1 / (1 + 1.5**0.5) + 0.5 * first
    assert found.images.item() == pytest.approx(first + second + 1 / (2 + 1))


@pytest.mark.parametrize("slope", [1e-6, 1.0, 1e6])
def test_a_rate_in_pixels_bounds_every_step_at_any_scale(slope: float) -> None:
    path: list[Tensor] = [torch.zeros_like(PEAKS)]
    optimiser = Momentum(steps=30, rate=0.3, momentum=0, rate_in="pixels")
    optimiser.maximise(path[0], Bowl(slope=slope), lambda x, step: (path.append(x), x)[1])
    moves = torch.stack([(b - a).square().flatten(1).mean(1).sqrt() for a, b in pairwise(path)])
    assert moves.max() <= 0.3 * (1 + 1e-5)
    assert moves[0].tolist() == pytest.approx([0.3, 0.3])
    assert (path[-1] - PEAKS).abs().max() < 0.05


def test_polish_follows_every_step() -> None:
    for optimiser in ALL:
        found = optimiser.maximise(torch.full_like(PEAKS, 0.1), Bowl(), lambda x, step: x.clamp(0, 0.25))
        assert found.images.min() >= 0 and found.images.max() == 0.25


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_a_dead_start_says_which_item_and_what_to_change(optimiser: Any) -> None:
    start = torch.zeros_like(PEAKS)
    start[1] = PEAKS[1]
    with pytest.raises(DeepInsideError, match=r"zero for item 1 .*technique\.start=noise"):
        optimiser.maximise(start, Bowl())


@pytest.mark.parametrize("optimiser", [Momentum(steps=300, rate=1e3), Momentum(steps=300, rate=1e3, momentum=0)])
def test_divergence_says_what_to_change(optimiser: Any) -> None:
    with pytest.raises(DeepInsideError, match=r"NaN or infinity by step \d+; lower technique\.optimiser\.rate"):
        optimiser.maximise(torch.zeros_like(PEAKS), Bowl())


@pytest.mark.parametrize("optimiser", ALL, ids=lambda o: type(o).__name__)
def test_a_score_that_is_no_number_stops(optimiser: Any) -> None:
    def broken(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
        gain = (x.flatten(1).sum(1) - 1).sqrt()
        return gain, {"score": gain}

    with pytest.raises(DeepInsideError, match="NaN or infinity"):
        optimiser.maximise(torch.zeros_like(PEAKS), broken)


@pytest.mark.parametrize(
    ("kind", "wrong"), [(Momentum, {"rate": -1}), (Momentum, {"momentum": 1}), (Adam, {"steps": 0}), (LBFGS, {"q": 1})]
)
def test_settings_are_checked(kind: Any, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)
