"""Max-pooling that remembers where the largest values are, also for windows that extend beyond the edge."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.kernels.late import compiled_pays, exact
from deepinside.networks.kernels.layout import LAYOUT
from deepinside.networks.spec import Layer

LARGEST = 255
"""Places in a window that a byte can hold."""


class MaxPooling(nn.MaxPool2d):
    """Max-pooling of (N, C, H, W), with an optional fused ReLU.

    PyTorch keeps eight bytes for every largest value and fills the gradient with zeros before it writes it.
    """

    @classmethod
    def of(cls, layer: nn.MaxPool2d) -> "MaxPooling":
        """The same layer."""
        return cls(layer.kernel_size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode)

    def forward(self, x: Tensor, rectified: bool = False) -> Tensor:
        """The largest values of the windows of `x`, followed by a ReLU if `rectified`."""
        if compiled_pays(x):
            result: Tensor = _Pool.apply(x, self, rectified)
            return result
        result = super().forward(exact(x))  # sums of a gradient in half precision are rounded once
        return (F.relu(result) if rectified else result).to(x.dtype)

    def windows(self) -> tuple[tuple[int, ...], ...]:
        """Rows and columns of a window, of the stride and of the padding."""
        return _two(self.kernel_size), _two(self.stride), _two(self.padding)

    def size_of(self, size: torch.Size) -> tuple[int, ...]:
        """Height and width of the output for an input of `size`, as PyTorch counts them."""
        return tuple(starts(self.ceil_mode, *axis) for axis in zip(size, *self.windows(), strict=True))


def starts(ceil_mode: bool, size: int, window: int, stride: int, padding: int) -> int:
    """The number of windows along an axis. The last must start within the image or the padding before it."""
    free = size + 2 * padding - window
    count = (free + (stride - 1 if ceil_mode else 0)) // stride + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def fits(layer: nn.MaxPool2d) -> bool:
    """Whether `MaxPooling` can replace the layer."""
    rows, columns = _two(layer.kernel_size)
    return set(_two(layer.dilation)) == {1} and not layer.return_indices and rows * columns <= LARGEST


class _Pool(torch.autograd.Function):
    """The pooling and its gradient. Only the places of the largest values are kept for it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pooling: MaxPooling, rectified: bool) -> Tensor:
        from deepinside.networks.kernels.compiled import lines, share_threads
        from deepinside.networks.kernels.max_windows import largest

        share_threads()
        x = x.detach().contiguous(memory_format=LAYOUT)
        ctx.shape, ctx.windows = x.shape, pooling.windows()
        found = torch.empty((*x.shape[:2], *pooling.size_of(x.shape[2:])), dtype=x.dtype, memory_format=LAYOUT)
        winners = torch.empty(found.shape, dtype=torch.uint8, memory_format=LAYOUT)
        sizes = (tuple(x.shape[2:]), *ctx.windows, tuple(found.shape[2:]))
        largest(lines(x), lines(found), lines(winners), np.float32(0 if rectified else -np.inf), *sizes)
        ctx.save_for_backward(winners)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None]:
        from deepinside.networks.kernels.compiled import lines, share_threads
        from deepinside.networks.kernels.max_windows import largest_back

        share_threads()
        (winners,) = ctx.saved_tensors
        above = above.contiguous(memory_format=LAYOUT)
        found = torch.empty(ctx.shape, dtype=above.dtype, memory_format=LAYOUT)
        sizes = (tuple(ctx.shape[2:]), *ctx.windows, tuple(above.shape[2:]))
        largest_back(lines(above), lines(winners), lines(found), *sizes)
        return found, None, None


def drop_padding(module: fx.GraphModule, layers: Mapping[str, Layer]) -> None:
    """Replace a −∞ padding at the lower and right edges, with the pooling after it, by `ceil_mode`. In place."""
    for node in list(module.graph.nodes):
        pooling, padding = _module(module, node), _module(module, _before(node))
        if isinstance(pooling, nn.MaxPool2d) and _at_far_edges(padding) and _reaches(node, pooling, layers):
            pooling.ceil_mode = True
            node.replace_input_with(_before(node), _before(_before(node)))
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _before(node: fx.Node) -> fx.Node:
    """The node's first input node, or the node itself if it has none."""
    return node.all_input_nodes[0] if node.all_input_nodes else node


def _module(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _at_far_edges(padding: nn.Module | None) -> bool:
    """Whether this pads with −∞, below and to the right only (onnx2torch's own padding module)."""
    left, _, top, *further = getattr(padding, "pads", (1, 1, 1))
    return (left, top) == (0, 0) and len(further) == 1 and getattr(padding, "constant_value", 0) == -float("inf")


def _reaches(node: fx.Node, pooling: nn.MaxPool2d, layers: Mapping[str, Layer]) -> bool:
    """Whether `ceil_mode` on the unpadded map gives the same windows."""
    before, found = (layers.get(str(one.meta.get("layer"))) for one in (_before(_before(node)), node))
    if before is None or found is None or any(_two(pooling.padding)):
        return False
    windows, strides = _two(pooling.kernel_size), _two(pooling.stride)
    sides = zip(before.shape[1:], windows, strides, strict=True)
    ends = tuple(starts(True, *axis, 0) for axis in sides)
    touching = all(stride <= window for window, stride in zip(windows, strides, strict=True))
    return touching and set(_two(pooling.dilation)) == {1} and ends == found.shape[1:]


def _two(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)
