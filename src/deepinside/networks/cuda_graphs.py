"""CUDA graphs: on a GPU, part of a network is recorded once per input shape and replayed with a single launch.

An optimisation runs the same kernels on the same shapes thousands of times, and launching the kernels of a small
network takes longer than running them. Follows torch.cuda.make_graphed_callables and "Accelerating PyTorch with CUDA
Graphs" (PyTorch 2021), with two differences: each pass returns its own tensors, which the next pass does not overwrite,
and a backward pass uses the forward pass it belongs to.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Call = Callable[[], None]
Compute = Callable[[Tensor], tuple[Tensor, ...]]
Recorder = Callable[[Sequence[Call]], Sequence[Call]]
"""Turns callables that always use the same memory into callables that replay them."""

WARM_UP = 3  # PyTorch's recommendation: libraries choose and set up kernels in the first runs
WORTH = 3  # record at the third call with one shape; fewer calls do not pay for it
MOST_SHAPES = 2  # shapes kept; each holds the activations of a batch
CLOSE = 1e-3


def recorded(calls: Sequence[Call]) -> Sequence[Call]:
    """Record each callable as a CUDA graph with shared memory. The callables run a few times first."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            for call in calls:
                call()
    torch.cuda.current_stream().wait_stream(stream)
    pool, graphs = torch.cuda.graph_pool_handle(), [torch.cuda.CUDAGraph() for _ in calls]
    for graph, call in zip(graphs, calls, strict=True):
        with torch.cuda.graph(graph, pool=pool):
            call()
    return [graph.replay for graph in graphs]


class Replayed:
    """A replayed version of `compute` and its gradient, for images of the shape of `sample`.

    Call it like `compute`; it works with autograd, and the caller owns the results.
    """

    def __init__(self, compute: Compute, sample: Tensor, record: Recorder = recorded) -> None:
        self.compute = compute
        self.x = sample.detach().clone().requires_grad_()
        self.pass_count = 0
        self._forwards()
        self.above = tuple(torch.ones_like(values) for values in self.outputs)
        self._replay_forward, self._replay_backward = record([self._forwards, self._backwards])

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = _Replay.apply(x, self)
        return found

    def run(self, x: Tensor) -> int:
        """Run a forward pass and return its number. Its activations stay in memory until the next pass."""
        self.x.detach().copy_(x)
        self._replay_forward()
        self.pass_count += 1
        return self.pass_count

    def back(self, above: Sequence[Tensor]) -> Tensor:
        """The input gradient of the last pass."""
        for place, values in zip(self.above, above, strict=True):
            place.copy_(values)
        self._replay_backward()
        return self.gradient.clone()

    def right(self) -> bool:
        """Whether replaying matches computing, outputs and gradient, on images other than the sample."""
        x = (self.x.detach() / 2 + 1).requires_grad_()
        expected, found = differentiated(self.compute, x), differentiated(self, x)
        return all(close(*pair) for pair in zip(found, expected, strict=True))

    def _forwards(self) -> None:
        with torch.enable_grad():
            self.outputs = self.compute(self.x)

    def _backwards(self) -> None:
        (self.gradient,) = torch.autograd.grad(self.outputs, self.x, self.above, retain_graph=True)


class _Replay(torch.autograd.Function):
    """A replayed pass. The backward pass repeats the forward pass if another one ran in between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, replayed: Replayed) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.replayed, ctx.number = replayed, replayed.run(x)
        return tuple(values.detach().clone() for values in replayed.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.number != ctx.replayed.pass_count:
            ctx.number = ctx.replayed.run(x)
        return ctx.replayed.back(above), None


def differentiated(compute: Compute, x: Tensor) -> tuple[Tensor, ...]:
    """The outputs, and the gradient of the sum of their squares."""
    with torch.enable_grad():
        outputs = compute(x)
        (gradient,) = torch.autograd.grad([values.square().sum() for values in outputs], x)
    return *outputs, gradient


def close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= CLOSE * expected.abs().max())


class Replays:
    """The recordings of one part of a network, for the input shapes that recur."""

    def __init__(self, compute: Compute, record: Recorder = recorded) -> None:
        self.compute, self.record = compute, record
        self._calls: dict[Any, int] = {}
        self._made: dict[Any, Compute] = {}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        shape = (tuple(x.shape), x.dtype, x.device)
        self._calls[shape] = self._calls.get(shape, 0) + 1
        if self._calls[shape] == WORTH:
            self._made[shape] = self._try(x)
            for oldest in list(self._made)[:-MOST_SHAPES]:
                del self._made[oldest], self._calls[oldest]
        return self._made.get(shape, self.compute)(x)

    def _try(self, x: Tensor) -> Compute:
        """A recording, or plain `compute` where recording fails or gives other numbers."""
        try:
            replayed = Replayed(self.compute, x, self.record)
            return replayed if replayed.right() else self.compute
        except RuntimeError:  # a synchronising operation cannot be recorded
            return self.compute
