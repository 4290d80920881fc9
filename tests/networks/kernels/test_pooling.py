"""Pooling over the edge, against the padded pooling that it takes the place of."""

from pathlib import Path

import graphs
import pytest
import torch
from torch import nn

from deepinside.networks.kernels import use_fast_kernels
from deepinside.networks.onnx.convert import convert
from deepinside.networks.onnx.graph import prepare_graph, read
from deepinside.networks.spec import InputConvention

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("size", "pads", "dropped"),
    [
        ((16, 16), [0, 0, 1, 1], True),
        ((15, 16), [0, 0, 0, 1], True),
        ((17, 17), [0, 0, 2, 2], False),  # one more window, which rounding up does not give
        ((16, 16), [1, 1, 0, 0], False),
        ((16, 16), [0, 0, 2, 2], True),  # more than the last window needs
        ((15, 15), [1, 1, 1, 1], False),  # what PyTorch pads by itself
    ],
)
def test_the_largest_values_and_their_gradients_stay(
    size: tuple[int, int], pads: list[int], dropped: bool, tmp_path: Path
) -> None:
    height, width = ((side + pads[i] + pads[i + 2] - 3) // 2 + 1 for i, side in enumerate(size))
    nodes = [
        graphs.node("Relu", "data_0", "relu_1"),
        graphs.node("MaxPool", "relu_1", "pool_1", kernel_shape=[3, 3], strides=[2, 2], pads=pads),
        graphs.node("Flatten", "pool_1", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 w", "score_1", transB=1),
    ]
    weights = {"w": torch.randn(2, 3 * height * width, generator=GENERATOR).numpy()}
    model = graphs.model(nodes, weights, output="score_1", shape=("N", 3, *size), opset=13)
    convention = InputConvention(size=size, mean=(104, 117, 123))
    spec = graphs.save(model, tmp_path, target="score", output="scores", input=convention)
    prepared = prepare_graph(read(spec.local_file), spec)
    plain = convert(prepared)
    quick = use_fast_kernels(convert(prepared), {layer.name: layer for layer in prepared.layers})
    (pooling,) = (part for part in quick.modules() if isinstance(part, nn.MaxPool2d))
    assert pooling.ceil_mode is dropped
    x = torch.randn(4, 3, *size, generator=GENERATOR).requires_grad_()
    scores, expected = quick(x), plain(x)
    torch.testing.assert_close(scores, expected)
    (found,), (wanted,) = (torch.autograd.grad(values.sum(), x) for values in (scores, expected))
    torch.testing.assert_close(found, wanted)
