"""Networks: layers by name, parts that run no more than needed, rewrites that leave the original alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from graphs import caffe, linear, save, squeeze
from torch import fx, nn

from deepinside.errors import DeepInsideError
from deepinside.networks.kernels.norm import CrossChannelNorm
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("caffe")
    return load(save(caffe(), folder, target="fc8", aliases={"block1_conv1": "conv1", "last": "fc8_1"}))


def images(count: int = 2, seed: int = 0) -> torch.Tensor:
    return 60 * torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1", "conv1"),
        ("conv1_1", "conv1"),
        ("conv1_2", "relu1"),
        ("fc6_3", "relu6"),
        ("block1_conv1", "conv1"),
        ("last", "fc8"),
    ],
)
def test_layers_go_by_caffe_name_onnx_value_and_alias(network: Network, name: str, layer: str) -> None:
    assert network.resolve(name) == layer


@pytest.mark.parametrize(("name", "first"), [("conv11", "conv1"), ("relu66", "relu6"), ("zzz", "conv1")])
def test_unknown_layers_list_the_known_ones_nearest_first(network: Network, name: str, first: str) -> None:
    with pytest.raises(DeepInsideError, match=f"no layer '{name}'; known, nearest first: {first},") as caught:
        network.resolve(name)
    assert all(layer in str(caught.value) for layer in network.layers)


def test_what_it_says_of_itself(network: Network) -> None:
    assert (network.name, network.target, network.classes, network.size) == ("tiny", "fc8", 10, (32, 32))
    assert network.mean.flatten().tolist() == [123, 117, 104]
    assert set(network.checks) == set(network.layers)
    assert network.deviations == ()
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert not any(module.training for module in network.module.modules())


def test_activations_are_what_upto_and_scores_give(network: Network) -> None:
    x = images()
    found = network.activations(x, ["conv1_2", "fc8", "norm1"])
    assert list(found) == ["conv1_2", "fc8", "norm1"]
    assert all(found[name].shape == (2, *network.layers[network.resolve(name)].shape) for name in found)
    assert torch.equal(found["fc8"], network.scores(x))
    assert torch.equal(found["norm1"], network.upto("norm1")(x))


def test_a_part_runs_only_what_it_needs(network: Network) -> None:
    part = network.upto("relu1").part.graph
    assert [node.target for node in part.graph.nodes if node.op == "call_module"] == ["conv1", "relu1"]
    assert dict(part.named_children()).keys() == {"conv1", "relu1"}
    assert part.conv1.weight is network.module.conv1.weight, "parameters are shared, not copied"


def test_a_part_takes_the_rectifier_along_unless_the_convolution_itself_is_asked_for(network: Network) -> None:
    run = network.upto("relu1").part.run
    assert [node.target for node in run.graph.nodes if node.op == "call_module"] == ["conv1"]
    x = network.mean.new_zeros(2, 3, *network.size)
    both = network.activations(x, ["conv1", "relu1"])
    assert both["conv1"].min() < 0 and torch.equal(both["relu1"], both["conv1"].relu())


def test_rectifiers_before_a_pooling_are_computed_after_it(network: Network) -> None:
    part = network.upto("pool1").part
    run = [node.target for node in part.run.graph.nodes if node.op == "call_module"]
    assert run == ["conv1", "pool1"], "the pooling applies the ReLU"
    generator = torch.Generator().manual_seed(0)
    x = 60 * torch.randn(2, 3, *network.size, generator=generator).to(network.mean).requires_grad_()
    found, expected = part(x)[0], part.graph(network.input.native(x))[0]
    above = torch.randn(found.shape, generator=generator).to(found)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(values, x, above)[0] for values in (found, expected)))


def test_every_layer_is_a_plain_module(network: Network) -> None:
    kinds = {name: type(network.module_of(name)) for name in network.layers}
    assert issubclass(kinds["conv1"], nn.Conv2d)
    assert kinds["relu1"] is nn.ReLU
    assert issubclass(kinds["pool5"], nn.MaxPool2d)
    assert kinds["norm1"] is CrossChannelNorm
    assert issubclass(kinds["fc8"], nn.Linear)


def test_an_image_scores_the_same_alone_and_in_a_batch(network: Network) -> None:
    x = images(5)
    assert torch.equal(network.scores(x), torch.cat([network.scores(image[None]) for image in x]))


def test_float64_agrees_with_float32_and_leaves_the_original(network: Network) -> None:
    double = network.to(dtype=torch.float64)
    assert (double.dtype, network.dtype) == (torch.float64, torch.float32)
    wide, narrow = double.scores(images().double()), network.scores(images())
    torch.testing.assert_close(wide.float(), narrow, rtol=1e-4, atol=1e-4)
    assert network.to(dtype=torch.float32) is network


def test_gradients_agree_with_finite_differences(network: Network) -> None:
    double = network.to(dtype=torch.float64)
    x = images(1).double().requires_grad_()
    (slope,) = torch.autograd.grad(double.scores(x)[0, 3], x)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    step = 1e-4 * direction
    with torch.no_grad():
        rise = (double.scores(x + step) - double.scores(x - step))[0, 3].item() / 2e-4
    assert (slope * direction).sum().item() == pytest.approx(rise, rel=1e-4)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_gradient_of_a_linear_score_is_its_weights_per_pixel_level(tmp_path: Path, channels: str) -> None:
    weights = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    convention = InputConvention(size=(4, 5), channels=channels, scale=255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    network = load(save(linear(weights), tmp_path, target="score", output="scores", input=convention))
    x = torch.zeros(1, 3, 4, 5, requires_grad=True)
    (slope,) = torch.autograd.grad(network.scores(x)[0, 1], x)
    native = torch.from_numpy(weights[1]) / (255 * torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1))
    torch.testing.assert_close(slope[0], native.flip(0) if channels == "bgr" else native)


def test_a_grey_network_takes_one_channel(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((2, 1, 4, 5)).astype(np.float32)
    convention = InputConvention(size=(4, 5), channels="grey", scale=255, mean=(0.5,), std=(0.25,))
    network = load(save(linear(weights), tmp_path, target="score", output="scores", input=convention))
    photo = torch.randint(0, 256, (1, 3, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    grey = (photo.float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1) / 255
    expected = torch.einsum("ckhw,nhw->nc", torch.from_numpy(weights), (grey - 0.5) / 0.25)
    torch.testing.assert_close(network.scores(network.input.to_network(photo)), expected)


# --- a score map behind a rectifier (SqueezeNet) ------------------------------------------------------------------


def test_scores_of_a_map_are_its_mean_and_the_report_says_so(tmp_path: Path) -> None:
    network = load(save(squeeze(), tmp_path, target="conv10"))
    x = images()
    torch.testing.assert_close(network.scores(x), network.activations(x, ["conv10"])["conv10"].mean(dim=(2, 3)))
    assert "spatial mean of layer conv10" in network.deviations[0]


def test_before_the_rectifier_every_class_has_a_gradient_after_it_some_have_none(tmp_path: Path) -> None:
    before, after = (load(save(squeeze(), tmp_path, target=target)) for target in ("conv10", "pool10"))
    assert after.deviations == ()
    assert after.scores(images()).shape == (2, 6), "[N, C, 1, 1] is flattened"
    assert all(slope(before, k) > 0 for k in range(6))
    assert [slope(after, k) > 0 for k in range(6)] == [False, False, False, True, True, True]


def slope(network: Network, k: int) -> float:
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    (found,) = torch.autograd.grad(network.scores(x)[0, k], x)
    return found.abs().max().item()


# --- rewriting ---------------------------------------------------------------------------------------------------


def fingerprint(network: Network) -> tuple[torch.Tensor, str, list[str]]:
    return network.scores(images()), str(network.module.graph), [str(p.sum()) for p in network.module.parameters()]


def same(one: tuple[torch.Tensor, str, list[str]], two: tuple[torch.Tensor, str, list[str]]) -> bool:
    return torch.equal(one[0], two[0]) and one[1:] == two[1:]


def test_modules_are_replaced_in_a_copy(network: Network) -> None:
    before = fingerprint(network)
    plain = network.with_modules(lambda layer, module: nn.Identity() if isinstance(module, nn.ReLU) else None)
    assert torch.equal(
        plain.activations(images(), ["relu1"])["relu1"], network.activations(images(), ["conv1"])["conv1"]
    )
    assert list(plain.layers) == list(network.layers)
    assert same(before, fingerprint(network))


def test_a_node_replaced_by_a_function_stays_a_layer(network: Network) -> None:
    before = fingerprint(network)

    def without_relu6(module: fx.GraphModule) -> None:
        node = next(node for node in module.graph.nodes if node.target == "relu6")
        with module.graph.inserting_after(node):
            new = module.graph.call_function(torch.tanh, node.args)
        node.replace_all_uses_with(new, propagate_meta=True)
        module.graph.erase_node(node)

    other = network.rewritten(without_relu6)
    found = other.activations(images(), ["fc6", "relu6"])
    torch.testing.assert_close(found["relu6"], torch.tanh(found["fc6"]))
    assert other.module_of("relu6") is None
    assert same(before, fingerprint(network))


def test_weights_drawn_anew_in_place_leave_the_original_alone(network: Network) -> None:
    before = fingerprint(network)

    def drawn(module: fx.GraphModule) -> None:
        nn.init.zeros_(module.fc8.weight)
        nn.init.zeros_(module.fc8.bias)

    assert network.rewritten(drawn).scores(images()).abs().max() == 0
    assert same(before, fingerprint(network))


def test_a_rewrite_may_not_lose_the_target(network: Network) -> None:
    def cut(module: fx.GraphModule) -> None:
        end = next(node for node in module.graph.nodes if node.op == "output")
        end.args = (next(node for node in module.graph.nodes if node.target == "fc6"),)
        module.graph.eliminate_dead_code()

    with pytest.raises(DeepInsideError, match="lost its target layer 'fc8'"):
        network.rewritten(cut)


def test_nothing_is_left_behind_by_running_parts(network: Network) -> None:
    before = fingerprint(network)
    network.activations(images(), ["conv1", "pool5"])
    network.upto("norm1")(images())
    assert same(before, fingerprint(network))
    hooks = [m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in network.module.modules()]
    assert not any(hooks)
