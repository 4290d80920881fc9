"""Heads x layouts x spellings of a ReLU: scores, saliency maps and guided maps are those of the plain network."""

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from graphs import filters, node
from onnx import ModelProto, NodeProto, helper
from torch import Tensor

from deepinside.attribution.gradients import image_gradient
from deepinside.attribution.relu_rules import count_relus, with_rule
from deepinside.networks.draft import CAFFE, draft
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention
from deepinside.optimisation.objectives import probability
from deepinside.targets import Target

SIDE, CLASSES = 10, 5
RNG = np.random.default_rng(7)
WEIGHTS = {**filters(RNG, "c", (4, 3, 3, 3)), **filters(RNG, "d", (6, 4, 3, 3)), **filters(RNG, "f", (CLASSES, 6))}
NUMBERS = {
    "zero": np.float32(0), "one": np.float32(1), "half": np.float32(0.5), "minus": np.float32(-1), "two": np.float32(2),
    "six": np.float32(6),
    "slope": np.zeros((1, 1, 1), np.float32), "axis": np.array([1]), "flat": np.array([1, CLASSES]),
    "ends": np.array([2, 3]), "top": np.float32(12),
}  # fmt: skip
CEILING = 12
"""A bound that some activations of the network exceed."""

# ----------------------------------------------------------------------------- from x to y, in several operators each

RELUS: dict[str, Callable[[str, str], list[NodeProto]]] = {
    "relu": lambda x, y: [node("Relu", x, y)],
    "clip": lambda x, y: [helper.make_node("Clip", [x, "zero", ""], [y])],
    "max": lambda x, y: [node("Max", f"zero {x}", y)],
    "where": lambda x, y: [node("Greater", f"{x} zero", f"{y}_c"), node("Where", f"{y}_c {x} zero", y)],
    "where_not": lambda x, y: [node("Less", f"{x} zero", f"{y}_c"), node("Where", f"{y}_c zero {x}", y)],
    "prelu": lambda x, y: [node("PRelu", f"{x} slope", y)],
    "leaky": lambda x, y: [node("LeakyRelu", x, y, alpha=0.0)],
    "mask": lambda x, y: [
        node("Greater", f"{x} zero", f"{y}_c"),
        node("Cast", f"{y}_c", f"{y}_m", to=1),
        node("Mul", f"{x} {y}_m", y),
    ],
    "size": lambda x, y: [
        node("Abs", x, f"{y}_a"), node("Add", f"{x} {y}_a", f"{y}_s"), node("Mul", f"{y}_s half", y),
    ],
    "function": lambda x, y: [helper.make_node("MyRelu", [x], [y], domain="mine")],
    "elu": lambda x, y: [node("Elu", x, y, alpha=0.0)],
    "half_of_sum": lambda x, y: [
        node("Abs", x, f"{y}_a"), node("Add", f"{y}_a {x}", f"{y}_s"), node("Div", f"{y}_s two", y),
    ],
}  # fmt: skip
BOUNDED = {
    "clip_both": lambda x, y: [node("Clip", f"{x} zero top", y)],
    "min_of_max": lambda x, y: [node("Max", f"{x} zero", f"{y}_m"), node("Min", f"{y}_m top", y)],
    "max_of_min": lambda x, y: [node("Min", f"top {x}", f"{y}_m"), node("Max", f"zero {y}_m", y)],
    "min_of_relu": lambda x, y: [node("Relu", x, f"{y}_m"), node("Min", f"{y}_m top", y)],
    "clip_of_relu": lambda x, y: [
        node("Relu", x, f"{y}_m"), helper.make_node("Clip", [f"{y}_m", "", "top"], [y]),
    ],
    "relu_of_clip": lambda x, y: [helper.make_node("Clip", [x, "", "top"], [f"{y}_m"]), node("Relu", f"{y}_m", y)],
    "relu6": lambda x, y: [
        node("Mul", f"{x} half", f"{y}_t"), node("Clip", f"{y}_t zero six", f"{y}_c"), node("Div", f"{y}_c half", y),
    ],
}  # fmt: skip
"""ReLUs with a ceiling of 12; torch writes a ReLU6 as Clip from 0 to 6."""
HEADS: dict[str, Callable[[str, str], list[NodeProto]]] = {
    "none": lambda x, y: [node("Identity", x, y)],
    "softmax": lambda x, y: [node("Softmax", x, y, axis=1)],
    "log_softmax": lambda x, y: [node("LogSoftmax", x, y, axis=1)],
    "sigmoid": lambda x, y: [node("Sigmoid", x, y)],
    "softmax_out": lambda x, y: [
        node("Exp", x, "e"), node("ReduceSum", "e axis", "sum", keepdims=1), node("Div", "e sum", y),
    ],
    "softmax_max": lambda x, y: [
        node("ReduceMax", x, "m", axes=[1], keepdims=1), node("Sub", f"{x} m", "low"), node("Exp", "low", "e"),
        node("ReduceSum", "e axis", "sum", keepdims=1), node("Div", "e sum", y),
    ],
    "log_out": lambda x, y: [
        node("Exp", x, "e"), node("ReduceSum", "e axis", "sum", keepdims=1), node("Log", "sum", "l"),
        node("Sub", f"{x} l", y),
    ],
    "sigmoid_out": lambda x, y: [
        node("Neg", x, "n"), node("Exp", "n", "e"), node("Add", "e one", "s"), node("Div", "one s", y),
    ],
    "softmax_log": lambda x, y: [node("Softmax", x, "p", axis=1), node("Log", "p", y)],
    "log_sum_exp": lambda x, y: [node("ReduceLogSumExp", x, "l", axes=[1], keepdims=1), node("Sub", f"{x} l", y)],
    "log_sum_exp_max": lambda x, y: [
        node("ReduceMax", x, "m", axes=[1], keepdims=1), node("Sub", f"{x} m", "low"),
        node("ReduceLogSumExp", "low", "l", axes=[1], keepdims=1), node("Sub", "low l", y),
    ],
    "exp_log": lambda x, y: [
        node("ReduceLogSumExp", x, "l", axes=[1], keepdims=1), node("Sub", f"{x} l", "s"), node("Exp", "s", y),
    ],
}  # fmt: skip
POSTERIORS = {name: "sigmoid" if "sigmoid" in name else "softmax" for name in HEADS}
LAYOUTS: dict[str, Callable[[str, str], list[NodeProto]]] = {
    "identity": lambda x, y: [node("Identity", x, y)],
    "flatten": lambda x, y: [node("Flatten", x, y, axis=1)],
    "reshape": lambda x, y: [node("Reshape", f"{x} flat", y)],
    "squeeze": lambda x, y: [node("Unsqueeze", f"{x} ends", f"{y}_u"), node("Squeeze", f"{y}_u ends", y)],
    "transpose": lambda x, y: [
        node("Transpose", x, f"{y}_t", perm=[1, 0]),
        node("Transpose", f"{y}_t", y, perm=[1, 0]),
    ],
    "cast": lambda x, y: [node("Cast", x, y, to=1)],
    "dropout": lambda x, y: [node("Dropout", x, y)],
}  # fmt: skip


def network_of(relu: str, before: str, head: str, after: str) -> ModelProto:
    """Two convolutions, two ReLUs, an average, a matrix; a layout, a head and a layout."""
    written = {**RELUS, **BOUNDED}[relu]
    nodes = [
        node("Conv", "data_0 c_w_0 c_b_0", "a"), *written("a", "b"),
        node("Conv", "b d_w_0 d_b_0", "d"), *written("d", "r"),
        node("GlobalAveragePool", "r", "g"), node("Flatten", "g", "v"),
        node("Gemm", "v f_w_0 f_b_0", "score", transB=1),
        *LAYOUTS[before]("score", "laid"), *HEADS[head]("laid", "made"), *LAYOUTS[after]("made", "out"),
    ]  # fmt: skip
    return with_function(graphs.model(nodes, {**WEIGHTS, **NUMBERS}, output="out", shape=(1, 3, SIDE, SIDE), opset=13))


def with_function(model: ModelProto) -> ModelProto:
    """The model with a function of its own, a ReLU."""
    body = [node("Relu", "x", "y")]
    model.functions.append(helper.make_function("mine", "MyRelu", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


def loaded(model: ModelProto, folder: Path) -> Network:
    """As a draft declares it: nothing is said of target or output."""
    onnx.save(model, folder / "net.onnx")
    return load(draft(folder / "net.onnx").spec)


# ------------------------------------------------------------------------------------------ the same in plain float64


class Guided(torch.autograd.Function):
    """A ReLU with a ceiling under guided back-propagation."""

    @staticmethod
    def forward(ctx, x, ceiling):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, above):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return above * (x > 0) * (x < ctx.ceiling) * (above > 0), None


def plain_scores(x: Tensor, relu: Callable[[Tensor], Tensor]) -> Tensor:
    w = {name: torch.from_numpy(values).double() for name, values in WEIGHTS.items()}
    x = relu(F.conv2d(x, w["c_w_0"], w["c_b_0"]))
    x = relu(F.conv2d(x, w["d_w_0"], w["d_b_0"]))
    return x.mean((2, 3)) @ w["f_w_0"].T + w["f_b_0"]


@cache
def photos() -> Tensor:
    return 40 * torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def plain(native: Tensor, relu: Callable[[Tensor], Tensor], channel: int) -> tuple[Tensor, Tensor]:
    x = native.double().requires_grad_()
    scores = plain_scores(x, relu)
    (slope,) = torch.autograd.grad(scores[:, channel].sum(), x)
    return scores.detach(), slope


def assert_close(found: Tensor, expected: Tensor) -> None:
    assert expected.abs().max() > 0
    assert (found.double() - expected).abs().max() <= 1e-5 * expected.abs().max()


def assert_is_plain(network: Network, channel: int = 2, ceiling: float = math.inf) -> None:
    """Class scores, gradients and guided gradients, in image space, are those of plain autograd."""
    convention: InputConvention = network.input
    native = convention.native(photos())
    scores, slope = plain(native, lambda x: x.clamp(0, ceiling), channel)
    _, guided = plain(native, lambda x: Guided.apply(x, ceiling), channel)
    assert not torch.allclose(slope, guided)
    assert_close(network.scores(photos()), scores)
    target = [Target("one", network.target, (channel,))] * 2
    ruled, count = with_rule(network, "guided")
    assert count == 2
    assert_close(image_gradient(network, photos(), target), seen(slope, convention))
    assert_close(image_gradient(ruled, photos(), target), seen(guided, convention))


def seen(slope: Tensor, convention: InputConvention) -> Tensor:
    """A gradient by the network's own input as one by the pixels."""
    slope = slope.flip(1) if convention.channels == "bgr" else slope
    return slope / torch.tensor(convention.pixels_per_unit, dtype=torch.float64).view(-1, 1, 1)


# ------------------------------------------------------------------------------------------------------- the property

PLAIN = ("relu", "identity", "softmax", "identity")
CASES = [
    *[(relu, "identity", "softmax", "identity") for relu in RELUS],
    *[("relu", before, head, "identity") for head, before in product(HEADS, LAYOUTS)],
    *[
        (relu, "flatten", head, after)
        for (head, after), relu in zip(product(HEADS, LAYOUTS), 8 * list(RELUS), strict=False)
    ],
]


@pytest.mark.parametrize("case", dict.fromkeys(CASES), ids="-".join)
def test_scores_and_maps_are_those_of_the_plain_network(case: tuple[str, str, str, str], tmp_path: Path) -> None:
    network = loaded(network_of(*case), tmp_path)
    assert network.posterior == POSTERIORS[case[2]]
    assert not network.gates
    assert_is_plain(network)


@pytest.mark.parametrize("relu", BOUNDED)
def test_so_are_those_of_relus_with_a_ceiling(relu: str, tmp_path: Path) -> None:
    native = InputConvention(**CAFFE).native(photos()).double()
    first = F.conv2d(native, *(torch.from_numpy(WEIGHTS[name]).double() for name in ("c_w_0", "c_b_0")))
    assert (first > CEILING).any()
    assert ((first > 0) & (first < CEILING)).any()
    network = loaded(network_of(relu, "identity", "softmax", "identity"), tmp_path)
    assert not network.gates
    assert_is_plain(network, ceiling=CEILING)


def test_of_a_sigmoid_posterior_is_the_sigmoid(tmp_path: Path) -> None:
    network = loaded(network_of("relu", "identity", "sigmoid_out", "flatten"), tmp_path)
    scores = network.scores(photos())
    found = [probability(row, Target("one", network.target, (3,)), network.posterior) for row in scores]
    assert found == pytest.approx(scores[:, 3].sigmoid().tolist())


# --------------------------------------------------------------------------------------------- PyTorch's two exporters

SPELT: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "relu": (torch.relu, math.inf),
    "clamp_min": (lambda x: x.clamp(min=0), math.inf),
    "clamp": (lambda x: x.clamp(0, 3), 3),
    "relu6": (F.relu6, 6),
    "hardtanh": (lambda x: F.hardtanh(x, 0, 2), 2),
    "maximum": (lambda x: torch.maximum(x, torch.zeros(())), math.inf),
    "where": (lambda x: torch.where(x > 0, x, torch.zeros(())), math.inf),
    "masked": (lambda x: x * (x > 0), math.inf),
    "leaky": (lambda x: F.leaky_relu(x, 0.0), math.inf),
    "elu": (lambda x: F.elu(x, 0.0), math.inf),
    "prelu": (lambda x: F.prelu(x, torch.zeros(1, dtype=x.dtype)), math.inf),
    "minimum": (lambda x: torch.minimum(x.relu(), torch.full((), 4.0)), 4),
}
"""ReLUs as they are written in PyTorch, and their ceilings."""
ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "scores": lambda x: x,
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "sigmoid": torch.sigmoid,
    "written_out": lambda x: (x - x.amax(1, keepdim=True)).exp() / (x - x.amax(1, keepdim=True)).exp().sum(1, True),
    "log_sum_exp": lambda x: x - x.logsumexp(1, keepdim=True),
}


class Spelt(torch.nn.Module):
    """A convolution and a ReLU in each of the notations, an average, a matrix and an end."""

    def __init__(self, end: str) -> None:
        super().__init__()
        torch.manual_seed(5)
        sizes = [3, *[6] * len(SPELT)]
        self.convs = torch.nn.ModuleList([torch.nn.Conv2d(*pair, 3, padding=1) for pair in pairwise(sizes)])
        self.last, self.end = torch.nn.Linear(6, CLASSES), ENDS[end]
        for conv in self.convs:
            torch.nn.init.kaiming_normal_(conv.weight)

    def scores(self, x: Tensor, *, guided: bool = False) -> Tensor:
        for conv, (relu, ceiling) in zip(self.convs, SPELT.values(), strict=True):
            x = Guided.apply(conv(x), ceiling) if guided else relu(conv(x))
        scores: Tensor = self.last(x.mean((2, 3)))
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.scores(x))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("dynamo", "end"),
    [
        *((False, end) for end in ENDS),
        (True, "log_softmax"),
        *(pytest.param(True, end, marks=pytest.mark.slow) for end in ENDS if end != "log_softmax"),
    ],
)
def test_both_exporters_give_the_scores_and_maps_of_the_module(dynamo: bool, end: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    module, path = Spelt(end).eval(), tmp_path / "net.onnx"
    image = torch.zeros(1, 3, SIDE, SIDE)
    torch.onnx.export(module, (image,), str(path), dynamo=dynamo, opset_version=18 if dynamo else 17, verbose=False)
    network = load(draft(path).spec)
    native = network.input.native(photos()).double()
    target = [Target("one", network.target, (2,))] * 2
    ruled, count = with_rule(network, "guided")
    assert count == len(SPELT)
    assert_close(network.scores(photos()), module.double().scores(native))
    for found, guided in ((network, False), (ruled, True)):
        x = native.clone().requires_grad_()
        (slope,) = torch.autograd.grad(module.scores(x, guided=guided)[:, 2].sum(), x)
        assert_close(image_gradient(found, photos(), target), seen(slope, network.input))


# --------------------------------------------------------------------------------------------------- several outputs


@pytest.mark.parametrize("first", ["v", "out"])
def test_of_several_outputs_the_scores_are_taken_and_told(first: str, tmp_path: Path) -> None:
    model = network_of("relu", "identity", "softmax", "flatten")
    other = {"v": "out", "out": "v"}[first]
    model.graph.output[0].name = first
    model.graph.output.append(helper.make_tensor_value_info(other, 1, None))
    network = loaded(model, tmp_path)
    assert_is_plain(network)
    (note,) = [note for note in network.notes if "2 outputs" in note]
    assert "'out'" in note and "not 'v'" in note


@pytest.mark.parametrize("after", ["identity", "dropout"])
def test_the_note_on_several_outputs_has_the_files_own_names(after: str, tmp_path: Path) -> None:
    model = network_of("relu", "identity", "softmax", after)  # "made" is the value that stays, "out" the file's output
    model.graph.node.append(node("Dropout", "v", "features"))
    model.graph.output.append(helper.make_tensor_value_info("features", 1, None))
    (note,) = [note for note in loaded(model, tmp_path).notes if "2 outputs" in note]
    assert "of 'out'" in note and "not 'features'" in note


def test_an_average_written_either_way_has_the_same_target(tmp_path: Path) -> None:
    found = []
    for number, mean in enumerate((node("GlobalAveragePool", "r", "m"), node("ReduceMean", "r", "m", axes=[2, 3]))):
        nodes = [node("Conv", "data_0 c_w_0 c_b_0", "maps"), node("Relu", "maps", "r"), mean]
        nodes += [node("Flatten", "m", "flat"), node("Softmax", "flat", "out")]
        (tmp_path / str(number)).mkdir()
        model = graphs.model(nodes, dict(WEIGHTS), output="out", shape=(1, 3, SIDE, SIDE), opset=13)
        found.append(loaded(model, tmp_path / str(number)))
    one, other = found
    assert one.layers[one.target].value == other.layers[other.target].value == "maps"
    assert torch.equal(one.scores(photos()), other.scores(photos()))


def test_a_draft_says_on_every_run_what_is_guessed(tmp_path: Path) -> None:
    (note,) = loaded(network_of(*PLAIN), tmp_path).notes
    assert "is a guess" in note and "checked: true" in note


# ------------------------------------------------------------------------------------------------------------- gates


def hard_swish(written_out: bool) -> ModelProto:
    """Convolution, hard-swish, convolution, ReLU, average, matrix."""
    gate = [
        node("Add", "a three", "s"),
        node("Clip", "s zero six", "k"),
        node("Mul", "a k", "p"),
        node("Div", "p six", "b"),
    ]
    nodes = [
        node("Conv", "data_0 c_w_0 c_b_0", "a"), *(gate if written_out else [node("HardSwish", "a", "b")]),
        node("Conv", "b d_w_0 d_b_0", "d"), node("Relu", "d", "r"), node("GlobalAveragePool", "r", "g"),
        node("Flatten", "g", "v"), node("Gemm", "v f_w_0 f_b_0", "score", transB=1),
    ]  # fmt: skip
    weights = {**WEIGHTS, **NUMBERS, "three": np.float32(3), "six": np.float32(6)}
    return graphs.model(nodes, weights, output="score", shape=(1, 3, SIDE, SIDE), opset=14)


def test_both_spellings_of_hard_swish_have_the_same_guided_map(tmp_path: Path) -> None:
    maps = []
    for written_out in (False, True):
        folder = tmp_path / str(written_out)
        folder.mkdir()
        network = loaded(hard_swish(written_out), folder)
        assert count_relus(network, network.target) == 1
        assert bool(network.gates) == written_out
        target = [Target("one", network.target, (2,))] * 2
        maps.append(image_gradient(with_rule(network, "guided")[0], photos(), target))
    assert_close(maps[0], maps[1].double())
