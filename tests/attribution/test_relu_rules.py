"""Rules of ReLUs against the same written out by hand, on every way a graph may spell a ReLU."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from plain_backward import image_signal
from torch import Tensor, fx, nn
from twins import write_twin

from deepinside.attribution import relu_rules
from deepinside.attribution.gradients import image_gradient
from deepinside.attribution.relu_rules import MASKS, ReluRuleFunction, count_relus, with_rule, without_relus
from deepinside.claims import Evidence, evaluate
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention, Label, Layer, NetworkSpec, find_spec
from deepinside.targets import Target
from deepinside.types import ImageBatch, Photo, Seeds


def photos(count: int, side: int = 32, level: float = 60.0) -> Tensor:
    return level * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def small(folder: Path, *, ceiling: float | None) -> Network:
    """Convolution, ReLU, overlapping pooling, grouped convolution, ReLU, two matrices; all by way of ONNX."""
    rng = np.random.default_rng(3)
    weights = {
        **graphs.filters(rng, "conv1", (8, 3, 5, 5)),
        **graphs.filters(rng, "conv2", (8, 4, 3, 3)),
        **graphs.filters(rng, "fc6", (16, 392)),
        **graphs.filters(rng, "fc8", (5, 16)),
    }
    # of a size at which Clip(0, 6) cuts some values off and leaves others
    weights["conv1_w_0"] *= 0.05 if ceiling else 1
    limits = {"min": 0.0, "max": ceiling} if ceiling else {}
    relu = "Clip" if ceiling else "Relu"
    nodes = [
        graphs.node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", kernel_shape=[5, 5], strides=[2, 2]),
        graphs.node(relu, "conv1_1", "conv1_2", **limits),
        graphs.node("MaxPool", "conv1_2", "pool1_1", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
        graphs.node("Conv", "pool1_1 conv2_w_0 conv2_b_0", "conv2_1", kernel_shape=[3, 3], pads=[1] * 4, group=2),
        graphs.node(relu, "conv2_1", "conv2_2", **limits),
        graphs.node("Flatten", "conv2_2", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 fc6_w_0 fc6_b_0", "fc6_1", transB=1),
        graphs.node("Relu", "fc6_1", "fc6_2"),
        graphs.node("Gemm", "fc6_2 fc8_w_0 fc8_b_0", "fc8_1", transB=1),
    ]
    model = graphs.model(nodes, weights, output="fc8_1")
    network = load(graphs.save(model, folder, target="fc8", output="scores"))
    return replace(network, labels=tuple(Label(i, "", f"class {i}") for i in range(5)))


def traced(module: nn.Module, *, side: int = 8) -> Network:
    """A network of a plain torch module, RGB pixels in, `score` its only layer."""
    graph = fx.symbolic_trace(module.eval().requires_grad_(False))
    end = next(node for node in graph.graph.nodes if node.op == "output")
    end.args[0].meta["layer"] = "score"
    spec = NetworkSpec(name="traced", file="none", target="score", input=InputConvention(size=(side, side)))
    return Network(spec, graph, {"score": Layer("score", "score", "Gemm", (4,))})


def score(channel: int, layer: str) -> Target:
    return Target("one", layer, (channel,))


def gradient_of(network: Network, x: Tensor, channel: int = 1) -> Tensor:
    return image_gradient(network, x, [score(channel, network.target)] * len(x))


def assert_close(found: Tensor, expected: Tensor, *, tolerance: float = 1e-5) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


# ------------------------------------------------------------------------------------------------- one ReLU


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("gradient", [0, 0, 0, 0, 2, -3, 0, 0]),
        ("deconvnet", [2, 0, 2, 0, 2, 0, 2, 0]),
        ("guided", [0, 0, 0, 0, 2, 0, 0, 0]),
    ],
)
def test_the_formulas_of_the_papers_number_by_number(rule: str, expected: list[float]) -> None:
    x = torch.tensor([-1.0, -1, 0, 0, 4, 4, 6, 7], requires_grad=True)
    above = torch.tensor([2.0, -3, 2, -3, 2, -3, 2, -3])
    out = ReluRuleFunction.apply(x, 6.0, MASKS[rule])
    assert out.tolist() == [0, 0, 0, 0, 4, 4, 6, 6]
    (below,) = torch.autograd.grad(out, x, above)
    assert below.tolist() == expected


# ------------------------------------------------------------------------------------------------- whole networks


@pytest.fixture(scope="module", params=[None, 6.0], ids=["relu", "clip"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    return small(tmp_path_factory.mktemp("small"), ceiling=request.param)


@pytest.mark.parametrize("rule", MASKS)
def test_a_rule_is_what_the_plain_loop_computes(network: Network, rule: str) -> None:
    ruled, count = with_rule(network, rule)
    assert count == 3
    assert_close(gradient_of(ruled, photos(3)), image_signal(network, photos(3), 1, rule))


def test_the_rules_differ(network: Network) -> None:
    plain, deconvnet, guided = (gradient_of(with_rule(network, rule)[0], photos(2)) for rule in MASKS)
    for one, other in ((plain, deconvnet), (plain, guided), (deconvnet, guided)):
        assert (one - other).abs().max() > 0.05 * one.abs().max()


def test_the_clip_of_the_small_network_cuts_some_values_off(tmp_path: Path) -> None:
    cut = small(tmp_path, ceiling=6.0).activations(photos(2), ["conv1"])["conv1"]
    assert 0.05 < (cut > 6).float().mean() < 0.5


def test_scores_and_layers_stay(network: Network) -> None:
    ruled, _ = with_rule(network, "guided")
    assert torch.equal(ruled.scores(photos(2)), network.scores(photos(2)))
    assert list(ruled.layers) == list(network.layers)


def test_the_gradients_rule_is_autograd(network: Network) -> None:
    ruled, _ = with_rule(network, "gradient")
    assert_close(gradient_of(ruled, photos(2)), gradient_of(network, photos(2)), tolerance=1e-6)


def test_without_relus_all_rules_are_one(network: Network) -> None:
    linear = without_relus(network)
    slope = gradient_of(linear, photos(2))
    assert (slope - gradient_of(network, photos(2))).abs().max() > 0.01 * slope.abs().max()
    for rule in MASKS:
        with pytest.raises(DeepInsideError, match="found none"):
            with_rule(linear, rule)
        assert_close(slope, image_signal(linear_chain(network), photos(2), 1, rule))


def linear_chain(network: Network) -> Network:
    """The network whose ReLUs are cut out of the graph, the other way of doing without them."""

    def cut(module: fx.GraphModule) -> None:
        for node, _ in list(relu_rules.find_relus(module)):
            node.replace_all_uses_with(node.all_input_nodes[0])
            module.graph.erase_node(node)

    return network.rewritten(cut)


def test_nothing_is_left_on_the_network(network: Network) -> None:
    code, before = network.module.code, gradient_of(network, photos(2))
    ruled, _ = with_rule(network, "guided")
    with pytest.raises(DeepInsideError):
        image_gradient(ruled, photos(1), [score(1, "conv1")], "posterior")
    without_relus(network)
    assert network.module.code == code
    assert not [name for name, _ in network.module.named_modules() if "ruled" in name]
    assert torch.equal(gradient_of(network, photos(2)), before)


def test_a_batch_is_its_items_one_by_one(network: Network) -> None:
    ruled, _ = with_rule(network, "deconvnet")
    x = photos(3)
    assert_close(gradient_of(ruled, x), torch.cat([gradient_of(ruled, one[None]) for one in x]))


def test_relus_are_counted_below_a_layer(network: Network) -> None:
    assert [count_relus(network, name) for name in ("conv1", "pool1", "conv2", "fc8")] == [0, 1, 1, 3]


# ------------------------------------------------------------------------------------------------- spellings


class Spelled(nn.Module):
    """One ReLU module used three times, or other ways to say the same."""

    def __init__(self, *ways: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.last = nn.Linear(64, 4)
        self.ways = ways
        self.owned = nn.ModuleList(way for way in ways if isinstance(way, nn.Module))
        self.shared = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.ways or (self.shared,) * 3
        return c(self.last(b(self.second(a(self.first(x)))).flatten(1)))


SPELLINGS = {
    "functions": (torch.relu, F.relu, lambda x: x.relu()),
    "clamps": (lambda x: x.clamp(min=0), lambda x: torch.clamp(x, 0.0), lambda x: x.clamp_min(0)),
    "ceilings": (lambda x: torch.clip(x, min=0, max=1e9), lambda x: F.hardtanh(x, 0.0, 1e9), nn.Hardtanh(0, 1e9)),
}


@pytest.mark.parametrize("ways", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_every_spelling_of_a_relu_is_found(rule: str, ways: tuple[object, ...]) -> None:
    plain, other = traced(Spelled()), traced(Spelled(*ways))
    found, expected = with_rule(other, rule), with_rule(plain, rule)
    assert found[1] == expected[1] == 3
    assert_close(gradient_of(found[0], photos(2, 8)), gradient_of(expected[0], photos(2, 8)))
    assert not torch.equal(gradient_of(found[0], photos(2, 8)), gradient_of(plain, photos(2, 8)))


def test_relu6_written_as_a_function_has_its_ceiling() -> None:
    ways = (F.relu6, nn.ReLU6(), lambda x: x.clip(0, 6))
    assert [limit for _, limit in relu_rules.find_relus(traced(Spelled(*ways)).module)] == [6, 6, 6]


@pytest.mark.parametrize("other", [nn.LeakyReLU(), nn.PReLU(), nn.ELU(), nn.Sigmoid(), nn.Hardtanh(), nn.SiLU()])
def test_what_is_no_relu_in_the_papers_sense_is_left(other: nn.Module) -> None:
    with pytest.raises(DeepInsideError, match="expected ReLUs for guided"):
        with_rule(traced(Spelled(other, other, other)), "guided")


# ------------------------------------------------------------------------------------------------- MobileNetV2


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("mobilenetv2")
    write_twin("mobilenetv2", folder)
    spec = find_spec("mobilenetv2")
    yield load(replace(spec, folder=str(folder), sha256=None, bytes=None, reference=None, weights="random"))


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_mobilenets_clips_take_the_rule(mobilenet: Network, rule: str) -> None:
    ruled, count = with_rule(mobilenet, rule)
    assert count == 35
    found, plain = gradient_of(ruled, photos(1, 224)), gradient_of(mobilenet, photos(1, 224))
    assert_close(found, image_signal(mobilenet, photos(1, 224), 1, rule), tolerance=1e-4)
    assert (found - plain).abs().max() > 0.1 * plain.abs().max()


# ------------------------------------------------------------------------------------------------- the claim


def evidence(network: Network) -> Evidence:
    x = photos(2)
    shown = [Photo(f"photo{i}", pixels, "") for i, pixels in enumerate(x)]
    return Evidence(network, ImageBatch(tuple(shown), x), Seeds(0), {}, {})


def test_the_claim_holds(network: Network) -> None:
    claim = evaluate("deconvnet_is_gradient_but_for_relu", evidence(network))
    assert (claim.verdict, claim.exact, claim.interval, claim.n) == ("holds", True, None, 2)
    assert claim.estimate <= 1e-6


def test_the_claim_notices_a_wrong_rule(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MASKS, "gradient", MASKS["guided"])
    claim = evaluate("deconvnet_is_gradient_but_for_relu", evidence(network))
    assert claim.verdict == "fails" and claim.estimate > 0.01
