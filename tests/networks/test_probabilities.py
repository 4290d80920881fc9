"""Class scores that are probabilities are told by their values, however the network makes them."""

from pathlib import Path

import graphs
import numpy as np
import pytest
import torch
import toys
from graphs import filters, node
from onnx import NodeProto

from deepinside.networks.network import Network
from deepinside.networks.probabilities import probability_evidence

WEIGHTS = {**filters(np.random.default_rng(3), "f", (4, 108)), "one": np.float32(1), "axis": np.array([1])}
SHARES = [
    node("Relu", "s", "r"), node("Add", "r one", "p"),
    node("ReduceSum", "p axis", "t", keepdims=1), node("Div", "p t", "y"),
]  # fmt: skip
BETWEEN = [node("Abs", "s", "a"), node("Add", "a one", "t"), node("Div", "one t", "y")]


def network_of(ends: list[NodeProto], folder: Path) -> Network:
    nodes = [node("Flatten", "data_0", "x"), node("Gemm", "x f_w_0 f_b_0", "s", transB=1), *ends]
    model = graphs.model(nodes, WEIGHTS, output="y", shape=("N", 3, 6, 6), opset=13)
    return toys.ready(model, folder, "y", toys.RGB, output="scores")


@pytest.mark.parametrize(("ends", "said"), [(SHARES, "sum to one"), (BETWEEN, "between 0 and 1")])
def test_what_looks_like_probabilities_is_told(ends: list[NodeProto], said: str, tmp_path: Path) -> None:
    (note,) = network_of(ends, tmp_path).notes
    assert said in note and "set target to the layer before" in note


def test_of_plain_scores_nothing_is_said(tmp_path: Path) -> None:
    assert network_of([node("Neg", "s", "y")], tmp_path).notes == ()


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([[0.2, 0.8], [1.0, 0.0]], "are non-negative and sum to one"),
        ([[0.2, 0.3], [0.9, 0.9]], "are between 0 and 1"),
        ([[0.2, 0.8], [1.5, 0.1]], ""),
        ([[-0.2, 1.2], [0.5, 0.5]], ""),
        ([[1.0], [1.0]], ""),
    ],
)
def test_probability_evidence_number_by_number(scores: list[list[float]], found: str) -> None:
    assert probability_evidence(torch.tensor(scores)) == found
