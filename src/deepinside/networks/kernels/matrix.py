"""Batch-invariant fully connected layer with frozen weights: forward pass and input gradient only."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from deepinside.networks.kernels.batch_invariance import BatchInvariant, Compute, in_blocks, padded_to_two
from deepinside.networks.kernels.packed_weights import PackedWeights

ROWS = 16  # the fixed block size, for which oneDNN packs the weights
ONEDNN = (torch.float32, torch.bfloat16)


class FullyConnected(nn.Linear):
    """y = x Wᵀ + b; x (N, inputs) to y (N, outputs).

    The library's matrix product rounds differently for every N, so the last digits of an image's score would depend on
    its batch. On a CPU, each row is computed as in a block of sixteen, forward and backward. Weights are packed for
    oneDNN once per direction, on first use, which also halves the time of sixteen rows. `backward_dtype` is the
    precision of the input gradient on a CPU if it is not that of the weights.
    """

    @classmethod
    def of(cls, layer: nn.Linear) -> "FullyConnected":
        """The same layer; the parameters are shared."""
        new = cls(layer.in_features, layer.out_features, bias=False, device="meta")
        new.weight, new.bias = layer.weight, layer.bias
        return new

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forwards, self._backwards = PackedWeights[Compute](), PackedWeights[Compute]()
        self._choices = (BatchInvariant(), BatchInvariant())
        self.backward_dtype: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.ndim != 2 or self.weight.requires_grad:
            return super().forward(x)
        result: Tensor = _Product.apply(x, self)
        return result

    def product(self, x: Tensor) -> Tensor:
        """(N, inputs) to (N, outputs)."""
        y = row_invariant(self._choices[0], self._forwards.of(self.weight, lambda: product(self.weight)), x)
        return y if self.bias is None else y.add_(self.bias)

    def back(self, above: Tensor) -> Tensor:
        """The gradient: (N, outputs) to (N, inputs). Computed in `backward_dtype` if set."""
        dtype = self.backward_dtype or self.weight.dtype
        compute = self._backwards.of(self.weight, lambda: product(self.weight.t().to(dtype)), dtype)
        return row_invariant(self._choices[1], compute, above.to(dtype)).to(above.dtype)


def row_invariant(choose: BatchInvariant, compute: Compute, x: Tensor) -> Tensor:
    """`compute(x)`, each row as in a block of sixteen."""
    fast = padded_to_two(compute) if len(x) == 1 else compute
    return choose(x.contiguous(), fast=fast, certain=in_blocks(compute, ROWS))


def by_onednn(weight: Tensor) -> bool:
    """Whether oneDNN supports this weight type on this machine."""
    return weight.dtype in ONEDNN and torch.backends.mkldnn.is_available()


def product(weight: Tensor) -> Compute:
    """x ↦ x Wᵀ, by oneDNN with packed weights where available."""
    if not by_onednn(weight):
        return lambda x: F.linear(x, weight)
    own = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, own, None, "none", [], "")


class _Product(torch.autograd.Function):
    """The layer's product and its input gradient; weights are frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FullyConnected) -> Tensor:
        ctx.layer = layer
        return layer.product(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(above), None
