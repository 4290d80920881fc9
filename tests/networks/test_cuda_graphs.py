"""Replaying, with works run again in the place of recordings; on a GPU also with recordings."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor

from deepinside.networks.cuda_graphs import MOST_SHAPES, WORTH, Call, Replayed, Replays, recorded

GENERATOR = torch.Generator().manual_seed(0)


def again(works: Sequence[Call]) -> Sequence[Call]:
    for work in works:
        work()
    return works


def compute(x: Tensor) -> tuple[Tensor, ...]:
    hidden = (x * 3).tanh()
    return hidden, hidden.square().sum(1)


def photos(count: int = 2) -> Tensor:
    return torch.randn(count, 4, generator=GENERATOR).requires_grad_()


def gradients(outputs: tuple[Tensor, ...], x: Tensor) -> Tensor:
    above = [torch.linspace(-1, 1, values.numel()).view_as(values) for values in outputs]
    return torch.autograd.grad(outputs, x, above, retain_graph=True)[0]


def test_outputs_and_gradients_are_those_of_computing() -> None:
    replayed = Replayed(compute, photos(), again)
    assert replayed.right()
    for _ in range(3):
        x = photos()
        found, expected = replayed(x), compute(x)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
        assert torch.equal(gradients(found, x), gradients(expected, x))


def test_what_a_pass_gave_stays_and_each_goes_back_its_own_way() -> None:
    replayed = Replayed(compute, photos(), again)
    first, second = photos(), photos()
    one, other = replayed(first), replayed(second)
    kept = gradients(one, first)
    assert torch.equal(one[0], compute(first)[0])
    assert torch.equal(gradients(other, second), gradients(compute(second), second))
    assert torch.equal(kept, gradients(compute(first), first))
    assert torch.equal(gradients(one, first), kept)  # twice from one pass, as for several targets


def test_only_shapes_that_keep_coming_are_recorded() -> None:
    made: list[int] = []

    def record(works: Sequence[Call]) -> Sequence[Call]:
        made.append(len(works))
        return again(works)

    replays = Replays(compute, record)
    for calls in range(WORTH + 2):
        assert len(made) == (calls >= WORTH)
        replays(photos())
    replays(photos(3))
    assert len(made) == 1
    for count in range(4, 5 + MOST_SHAPES):
        for _ in range(WORTH):
            x = photos(count)
            assert torch.equal(replays(x)[1], compute(x)[1])
    assert len(made) == 2 + MOST_SHAPES


def test_what_cannot_be_recorded_or_is_not_right_is_computed() -> None:
    def refuse(works: Sequence[Call]) -> Sequence[Call]:
        raise RuntimeError("operation not permitted when stream is capturing")

    def forget(works: Sequence[Call]) -> Sequence[Call]:
        return [lambda: None for _ in again(works)]

    for record in (refuse, forget):
        replays = Replays(compute, record)
        for _ in range(WORTH + 1):
            x = photos()
            found = replays(x)
            assert torch.equal(found[0], compute(x)[0])
            assert torch.equal(gradients(found, x), gradients(compute(x), x))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_replays_a_network(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path).to(device="cuda")
    part = network.upto("fc8").part
    native = network.input.native(toys.photos(network, 4).pixels.cuda())
    replayed = Replayed(part.graph, native, recorded)
    assert replayed.right()
