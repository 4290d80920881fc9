"""The table of the fast layers: its rows, and that both ways compute the same."""

import kernel_timings
import pytest
import torch
from bench.timing import Patience, Spread
from torch import nn

from deepinside.networks.kernels.convolution import Convolution


def test_a_layer_is_measured_and_both_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_timings.convolution, "MUCH", 0)
    layer = kernel_timings.tiled("a layer", (2, 64, 9, 10), 64)
    assert isinstance(layer.fast, Convolution) and layer.fast.in_tiles(torch.Size((2, 64, 9, 10)))
    assert isinstance(layer.usual, Convolution) and not layer.usual.in_tiles(torch.Size((2, 64, 9, 10)))
    found = kernel_timings.timing(layer, Patience(seconds=0, least=2, most=2))
    assert 0 < found.usual_error < 1e-5 and 0 < found.error < 1e-5
    assert found.milliseconds > 0 and found.ratio.low <= found.ratio.median <= found.ratio.high


def test_a_row_says_the_errors_of_both() -> None:
    layer = kernel_timings.Layer("LRN", nn.Identity(), nn.Identity(), (1, 1, 1, 1), nn.Identity())
    found = kernel_timings.Timing(1.5, Spread(1.25, 2.0, 3.0), 1e-6, 2e-7)
    assert kernel_timings.row(layer, found) == "| LRN | 1.50 ms | 2.00 × [1.25–3.00] as fast | 1.0e-06 (2.0e-07) |"


def test_every_layer_of_the_table_can_be_built() -> None:
    names = [layer.name for layer in kernel_timings.layers()]
    assert len(names) == len(set(names)) + 2  # LRN and pooling twice, of two sizes
