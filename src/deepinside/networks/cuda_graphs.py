"""On a GPU, a part of a network recorded once for a shape and replayed: one launch where there were hundreds.

An optimisation runs the same kernels on the same shapes thousands of times, and a small network's kernels take less
time than their launches. After torch.cuda.make_graphed_callables and "Accelerating PyTorch with CUDA Graphs" (PyTorch
2021), but with results of their own: there, what a pass returned is overwritten by the next, and a backward pass
belongs to the last forward pass, whichever it came from.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Work = Callable[[], None]
Compute = Callable[[Tensor], tuple[Tensor, ...]]
Record = Callable[[Sequence[Work]], Sequence[Work]]
"""From works that always read and write the same memory to what repeats each of them."""

WARM_UP = 3  # as PyTorch's documentation has it: libraries choose and set up their kernels in the first runs
WORTH = 3  # the call of one shape that is recorded; fewer are not worth it
KEPT = 2  # shapes; each holds the activations of a batch
CLOSE = 1e-3


def recorded(works: Sequence[Work]) -> Sequence[Work]:
    """The works' kernels as CUDA graphs that share their memory; the works are run some times on the way."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            for work in works:
                work()
    torch.cuda.current_stream().wait_stream(stream)
    pool, graphs = torch.cuda.graph_pool_handle(), [torch.cuda.CUDAGraph() for _ in works]
    for graph, work in zip(graphs, works, strict=True):
        with torch.cuda.graph(graph, pool=pool):
            work()
    return [graph.replay for graph in graphs]


class Replayed:
    """`compute` from images of the shape of `sample` to its outputs, and back to the images, by replaying.

    Called as `compute` is, within autograd; results are the caller's own.
    """

    def __init__(self, compute: Compute, sample: Tensor, record: Record = recorded) -> None:
        self.compute = compute
        self.x = sample.detach().clone().requires_grad_()
        self.passes = 0
        self._forwards()
        self.above = tuple(torch.ones_like(values) for values in self.outputs)
        self._again, self._back = record([self._forwards, self._backwards])

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        found: tuple[Tensor, ...] = _Replay.apply(x, self)
        return found

    def run(self, x: Tensor) -> int:
        """Forwards; the number of this pass, whose traces lie in memory until the next."""
        self.x.detach().copy_(x)
        self._again()
        self.passes += 1
        return self.passes

    def back(self, above: Sequence[Tensor]) -> Tensor:
        """Backwards from the outputs of the last pass."""
        for place, values in zip(self.above, above, strict=True):
            place.copy_(values)
        self._back()
        return self.gradient.clone()

    def right(self) -> bool:
        """Whether replaying gives what computing does, outputs and gradient, for other images than it was made with."""
        x = (self.x.detach() / 2 + 1).requires_grad_()
        expected, found = differentiated(self.compute, x), differentiated(self, x)
        return all(close(*pair) for pair in zip(found, expected, strict=True))

    def _forwards(self) -> None:
        with torch.enable_grad():
            self.outputs = self.compute(self.x)

    def _backwards(self) -> None:
        (self.gradient,) = torch.autograd.grad(self.outputs, self.x, self.above, retain_graph=True)


class _Replay(torch.autograd.Function):
    """A replayed pass; its own is repeated before going back if another has been since."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, replayed: Replayed) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x)
        ctx.replayed, ctx.number = replayed, replayed.run(x)
        return tuple(values.detach().clone() for values in replayed.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if ctx.number != ctx.replayed.passes:
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
    """The recordings of one part of a network, made for the shapes that keep coming."""

    def __init__(self, compute: Compute, record: Record = recorded) -> None:
        self.compute, self.record = compute, record
        self._seen: dict[Any, int] = {}
        self._made: dict[Any, Compute] = {}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        shape = (tuple(x.shape), x.dtype, x.device)
        self._seen[shape] = self._seen.get(shape, 0) + 1
        if self._seen[shape] == WORTH:
            self._made[shape] = self._try(x)
            for oldest in list(self._made)[:-KEPT]:
                del self._made[oldest], self._seen[oldest]
        return self._made.get(shape, self.compute)(x)

    def _try(self, x: Tensor) -> Compute:
        """A recording, or the way without where that cannot be made or is not right."""
        try:
            replayed = Replayed(self.compute, x, self.record)
            return replayed if replayed.right() else self.compute
        except RuntimeError:  # something in the graph waits for the device, which cannot be recorded
            return self.compute
