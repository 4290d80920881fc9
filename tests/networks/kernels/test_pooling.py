"""The fast pooling against PyTorch's, and pooling over the edge against the padded pooling that it replaces."""

from pathlib import Path

import graphs
import pytest
import torch
from torch import nn

from deepinside.networks.kernels import pooling, use_fast_kernels
from deepinside.networks.kernels.pooling import MaxPooling, fits
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


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "keys",
    [
        {"kernel_size": 3, "stride": 2, "ceil_mode": True},
        {"kernel_size": 2},
        {"kernel_size": (3, 2), "stride": (1, 2), "padding": (1, 0)},
        {"kernel_size": 5, "stride": 3, "padding": 2, "ceil_mode": True},
        {"kernel_size": 2, "stride": 3},
    ],
)
@pytest.mark.parametrize("size", [(7, 9), (16, 13)])
def test_values_and_gradients_are_those_of_pytorch(
    size: tuple[int, int], keys: dict[str, int], dtype: torch.dtype, rectified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = nn.MaxPool2d(**keys)
    # few different values: windows have ties
    x = torch.randn(3, 20, *size, generator=GENERATOR).mul(2).round().to(dtype).requires_grad_()
    expected = layer(x)
    expected = expected.relu() if rectified else expected
    above = torch.randn(expected.shape, generator=GENERATOR).to(dtype)
    (wanted,) = torch.autograd.grad(expected, x, above)
    backs = []
    for compiled in (False, True):
        monkeypatch.setattr(pooling, "compiled_pays", lambda x, yes=compiled: yes and x.dtype != torch.float64)
        found = MaxPooling.of(layer)(x, rectified)
        assert torch.equal(found, expected)
        backs += torch.autograd.grad(found, x, above)
    assert torch.equal(*backs), "a run changes over in the middle"
    if dtype == torch.bfloat16:  # PyTorch rounds every sum of two
        torch.testing.assert_close(backs[0], wanted, rtol=0.02, atol=0.02)
    else:
        assert torch.equal(backs[0], wanted)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_nan_is_the_largest(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooling, "compiled_pays", lambda _: compiled)
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 1, 1] = torch.nan
    assert MaxPooling(2)(x, rectified=True).isnan().tolist() == [[[[True, False], [False, False]]]]


@pytest.mark.parametrize(
    ("layer", "suits"),
    [
        (nn.MaxPool2d(3), True),
        (nn.MaxPool2d(3, dilation=2), False),
        (nn.MaxPool2d(3, return_indices=True), False),
        (nn.MaxPool2d((16, 16)), False),  # a byte does not hold its places
    ],
)
def test_what_is_replaced(layer: nn.MaxPool2d, suits: bool) -> None:
    assert fits(layer) is suits
