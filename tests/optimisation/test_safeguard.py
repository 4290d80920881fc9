"""The safeguard on a bowl whose stable rates are known: momentum 0.9 needs rate·curvature < 3.8."""

from typing import Any

import pytest
import torch
from torch import Tensor

from deepinside.optimisation import callbacks
from deepinside.optimisation.optimisers import AdaGrad, Momentum
from deepinside.optimisation.safeguard import Safeguarded

RULE = Safeguarded(Momentum(steps=300, rate=1.0))
START = torch.full((2, 1, 2, 2), 8.0)
CURVATURES = torch.tensor([0.002, 100.0])


def bowl(x: Tensor, step: int, items: range) -> tuple[Tensor, dict[str, Tensor]]:
    curvature = CURVATURES[items.start : items.stop]
    return -curvature * x.square().flatten(1).sum(1) / 2, {}


def test_only_the_unstable_image_is_slowed_and_both_arrive() -> None:
    found = RULE.maximise(START, bowl)
    alone = RULE.rule.maximise(START[:1], bowl)
    assert torch.equal(found.images[0], alone.images[0])
    assert found.trace["step_scale"].amin(1)[0] == 1
    assert found.trace["step_scale"].amin(1)[1] <= 1 / 32
    assert (found.images.abs().amax((1, 2, 3)) < 0.1 * 8).all()


@pytest.mark.parametrize("rate", [1e3, 1e9, 1e30])
def test_no_rate_ends_in_nan(rate: float) -> None:
    found = Safeguarded(Momentum(steps=300, rate=rate)).maximise(START, bowl)
    assert found.images.isfinite().all()


@pytest.mark.parametrize("rule", [Momentum(steps=60, rate=1.0), AdaGrad(steps=60, rate=50.0)])
def test_one_that_was_interrupted_goes_on_to_the_same_bytes(rule: Any) -> None:
    class Half(callbacks.Callback):
        kept: Any = None

        def step(self, now: callbacks.Step) -> None:
            if now.number == 13:
                snapshot = now.snapshot()
                copied = {name: values.clone() for name, values in snapshot["state"].items()}
                self.kept = {**snapshot, "images": snapshot["images"].clone(), "state": copied}

    class Later(callbacks.Callback):
        def __init__(self, kept: Any) -> None:
            self.kept = kept

        def restore(self) -> Any:
            return self.kept

    half = Half()
    with callbacks.using_callback(half):
        whole = Safeguarded(rule).maximise(START, bowl)
    with callbacks.using_callback(Later(half.kept)):
        rest = Safeguarded(rule).maximise(START, bowl)
    assert torch.equal(whole.images, rest.images)
    assert all(torch.equal(whole.trace[name], rest.trace[name]) for name in whole.trace)
