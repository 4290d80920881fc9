"""Which operators are ReLUs of the main path, and which clamp inside a gate."""

from pathlib import Path

import graphs
import numpy as np
import pytest
import toys
from graphs import filters, node
from onnx import ModelProto

from deepinside.attribution.relu_rules import count_relus, rule_notes, with_rule
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network

RNG = np.random.default_rng(2)
WEIGHTS = {
    **filters(RNG, "c", (4, 3, 3, 3)), **filters(RNG, "down", (2, 4, 1, 1)), **filters(RNG, "up", (4, 2, 1, 1)),
    **filters(RNG, "f", (5, 4)),
}  # fmt: skip


def ready(model: ModelProto, folder: Path) -> Network:
    return toys.ready(model, folder, "score", toys.RGB, output="scores")


def squeeze_and_excitation() -> ModelProto:
    """A convolution, a ReLU, a gate with a ReLU of its own, an average and a matrix."""
    nodes = [
        node("Conv", "data_0 c_w_0 c_b_0", "a"), node("Relu", "a", "main"), node("GlobalAveragePool", "main", "s"),
        node("Conv", "s down_w_0 down_b_0", "d"), node("Relu", "d", "inside"),
        node("Conv", "inside up_w_0 up_b_0", "u"), node("Sigmoid", "u", "g"), node("Mul", "main g", "m"),
        node("GlobalAveragePool", "m", "p"), node("Flatten", "p", "v"),
        node("Gemm", "v f_w_0 f_b_0", "score", transB=1),
    ]  # fmt: skip
    return graphs.model(nodes, WEIGHTS, output="score", shape=("N", 3, 6, 6), opset=13)


def test_a_relu_in_a_gate_is_not_counted_and_told(tmp_path: Path) -> None:
    network = ready(squeeze_and_excitation(), tmp_path)
    assert network.gates == {"inside"}
    assert count_relus(network, "score") == with_rule(network, "guided")[1] == 1
    assert rule_notes(network, "guided", "score") == (
        "The rule of guided acts on 1 ReLUs: main; not on those in gates: inside.",
    )


def test_a_slope_that_is_not_zero_makes_no_relu(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "data_0 c_w_0 c_b_0", "a"), node("LeakyRelu", "a", "b", alpha=0.1),
        node("GlobalAveragePool", "b", "p"), node("Flatten", "p", "v"),
        node("Gemm", "v f_w_0 f_b_0", "score", transB=1),
    ]  # fmt: skip
    model = graphs.model(nodes, WEIGHTS, output="score", shape=("N", 3, 6, 6), opset=13)
    with pytest.raises(DeepInsideError, match="set relu_rule='gradient'"):
        with_rule(ready(model, tmp_path), "guided")
