"""What exporters write, made plain: the values stay what the file says, whatever the batch."""

from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest
import torch
from graphs import SIZE, filters, model, node, save
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

import deepinside as di
from deepinside.networks.kernels import use_fast_kernels
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.onnx import plain
from deepinside.networks.spec import InputConvention, NetworkSpec

RNG = np.random.default_rng(0)
HEAD = [node("GlobalAveragePool", "odd", "mean"), node("Flatten", "mean", "flat"), node("MatMul", "flat v", "y")]
CONV = node("Conv", "data_0 c_w_0 c_b_0", "conv", kernel_shape=[3, 3])
WEIGHTS = {**filters(RNG, "c", (8, 3, 3, 3)), "v": RNG.standard_normal((8, 10)).astype(np.float32)}


def between(*nodes: onnx.NodeProto, opset: int = 20, **weights: np.ndarray) -> ModelProto:
    """A convolution, `nodes` from `conv` to `odd`, and class scores."""
    return model([CONV, *nodes, *HEAD], {**WEIGHTS, **weights}, output="y", opset=opset)


def loaded(proto: ModelProto, folder: Path, **settings: object) -> Network:
    settings = {"target": "y", "output": "scores", **settings}
    return load(save(proto, folder, **settings))  # type: ignore[arg-type]


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


EXPORTED = {
    "allowzero": between(node("Reshape", "conv s", "odd", allowzero=1), s=integers(1, 8, 30, 30)),
    "clip_without_max": between(
        helper.make_node("Clip", ["conv", "low", ""], ["odd"]), opset=13, low=np.array(0, dtype=np.float32)
    ),
    "clip_without_min": between(
        helper.make_node("Clip", ["conv", "", "high"], ["odd"]), opset=13, high=np.array(1, dtype=np.float32)
    ),
    "gelu": between(node("Gelu", "conv", "odd")),
    "gelu_tanh": between(node("Gelu", "conv", "odd", approximate="tanh")),
    "mish": between(node("Mish", "conv", "odd")),
    "pad_reflect": between(node("Pad", "conv p", "odd", mode="reflect"), p=integers(0, 0, 1, 2, 0, 0, 3, 4)),
    "pad_axes": between(
        helper.make_node("Pad", ["conv", "p", "", "a"], ["odd"], mode="edge"), p=integers(1, 2), a=integers(-1)
    ),
    "group_norm": between(
        node("GroupNormalization", "conv s b", "odd", num_groups=2),
        opset=21,
        s=np.arange(1, 9, dtype=np.float32),
        b=np.ones(8, np.float32),
    ),
    "split": between(
        node("Split", "conv", "one two three", num_outputs=3, axis=1), node("Concat", "three one two", "odd", axis=1)
    ),
    "reduce": between(node("ReduceMean", "conv a", "m"), node("Sub", "conv m", "odd"), a=integers(1)),
    "swish": between(node("Swish", "conv", "odd", alpha=1.5), opset=24),
    "batch_norm_7": between(
        node("BatchNormalization", "conv g g g g", "odd"), opset=14, g=np.arange(1, 9, dtype=np.float32)
    ),
    "names": between(
        node("Neg", "conv", "part.w"), node("Add", "part.w part_w", "odd"), part_w=np.ones((1, 8, 1, 1), np.float32)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTED)
def test_what_exporters_write_loads_and_agrees_at_every_layer(name: str, tmp_path: Path) -> None:
    network = loaded(EXPORTED[name], tmp_path)
    assert network.resolve("odd") in network.checks
    assert max(network.checks.values()) <= 1e-5
    assert_any_batch(network)


def assert_any_batch(network: Network) -> None:
    """Scores and gradients of five images are those of each alone, byte for byte."""
    x = torch.randn(5, network.input.count, *network.size, generator=torch.Generator().manual_seed(1)) * 40
    whole, gradient = seen(network, x)
    for place in range(5):
        alone, back = seen(network, x[place : place + 1])
        assert torch.equal(alone[0], whole[place])
        assert torch.equal(back[0], gradient[place])
    assert gradient.abs().max() > 0


def seen(network: Network, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    scores = network.scores(x)
    (gradient,) = torch.autograd.grad(scores[:, 3].sum(), x)
    return scores.detach(), gradient


def test_global_max_pool_is_the_largest_of_each_map(tmp_path: Path) -> None:
    nodes = [CONV, node("GlobalMaxPool", "conv", "top"), node("Flatten", "top", "flat"), node("MatMul", "flat v", "y")]
    network = loaded(model(nodes, WEIGHTS, output="y", opset=13), tmp_path)
    found = network.activations(torch.randn(3, 3, *SIZE), ["conv", "top"])
    assert torch.equal(found["top"], found["conv"].amax((2, 3), keepdim=True))


# --- If ----------------------------------------------------------------------------------------------------------


def branches(condition: bool) -> ModelProto:
    """An If of a known condition whose branches take values from outside."""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    made = [helper.make_graph([node(kind, "conv", "inner")], kind, [], [value]) for kind in ("Relu", "Tanh")]
    chosen = helper.make_node("If", ["known"], ["odd"], then_branch=made[0], else_branch=made[1])
    return between(chosen, opset=13, known=np.array(condition))


@pytest.mark.parametrize(("condition", "compute"), [(True, torch.relu), (False, torch.tanh)])
def test_the_branch_that_is_taken_stands_in_the_place_of_the_if(
    condition: bool, compute: type[torch.relu], tmp_path: Path
) -> None:
    network = loaded(branches(condition), tmp_path)
    found = network.activations(torch.randn(2, 3, *SIZE) * 40, ["conv", "odd"])
    assert torch.equal(found["odd"], compute(found["conv"]))


# --- precision ---------------------------------------------------------------------------------------------------


def halved(kind: int, *, ends: bool) -> ModelProto:
    """The same network in half precision, its input and output float32 by Cast where `ends` is set."""
    proto = between(node("Relu", "conv", "odd"), opset=13)
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    if ends:
        proto.graph.node[0].input[0] = "small"
        proto.graph.node.insert(0, node("Cast", "data_0", "small", to=kind))
    else:
        proto.graph.input[0].type.tensor_type.elem_type = kind
    proto.graph.output[0].type.tensor_type.elem_type = kind
    return proto


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_other_floating_numbers_are_computed_in_float32_and_said(kind: int, ends: bool, tmp_path: Path) -> None:
    convention = InputConvention(size=SIZE, scale=255.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = loaded(halved(kind, ends=ends), tmp_path, input=convention)
    assert all(tensor.dtype == torch.float32 for tensor in network.module.parameters())
    name = TensorProto.DataType.Name(kind).lower()
    said = [words for words in network.deviations if name in words]
    assert bool(said) is (kind != TensorProto.DOUBLE)
    assert_any_batch(network)


def test_eight_bit_integers_are_computed_as_levels_and_said(tmp_path: Path) -> None:
    proto = between(
        node("QuantizeLinear", "conv s z", "levels"), node("DequantizeLinear", "levels s z", "odd"), opset=13,
        s=np.array(0.5, np.float32), z=np.array(3, np.int8),
    )  # fmt: skip
    network = loaded(proto, tmp_path, input=InputConvention(size=SIZE, scale=255.0, mean=(0.5,) * 3, std=(0.25,) * 3))
    found = network.activations(torch.randn(2, 3, *SIZE) * 60, ["conv", "odd"])
    assert torch.equal(found["odd"], (found["conv"] / 0.5).round().clamp(-131, 124) * 0.5)
    assert any("8-bit integers" in words for words in network.deviations)
    assert_any_batch(network)


# --- channels last -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", [True, False])
def test_an_image_with_its_channels_last_is_taken_as_it_is(direct: bool, tmp_path: Path) -> None:
    """As Keras and tf2onnx have it; with `direct` the graph turns the image around at once, else after a product."""
    turn = node("Transpose", "data_0" if direct else "scaled", "turned", perm=[0, 3, 1, 2])
    before = [] if direct else [node("Mul", "data_0 factor", "scaled")]
    conv = node("Conv", "turned c_w_0 c_b_0", "conv", kernel_shape=[3, 3])
    weights = {**WEIGHTS, "factor": np.array([1, 2, 3], np.float32)}
    nodes = [*before, turn, conv, node("Relu", "conv", "odd"), *HEAD]
    network = loaded(model(nodes, weights, output="y", opset=13, shape=("N", *SIZE, 3)), tmp_path)
    assert ("turned" in network.layers) is not direct
    assert_any_batch(network)
    assert di.load(tmp_path / "tiny.onnx").size == SIZE


# --- batches -----------------------------------------------------------------------------------------------------


class WithClassToken(nn.Module):
    """A small vision transformer, its batch in the shapes it is made of."""

    def __init__(self, width: int = 16, patches: int = 16) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 8, 8)
        self.token, self.places = (
            nn.Parameter(torch.randn(1, 1, width)),
            nn.Parameter(torch.randn(1, patches + 1, width)),
        )
        self.norm, self.mixed, self.head = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        y = torch.cat([self.token.expand(batch, -1, -1), self.patch(x).flatten(2).transpose(1, 2)], 1) + self.places
        q, k, v = self.mixed(self.norm(y)).view(batch, 17, 2, 24).transpose(1, 2).chunk(3, -1)
        attention = (q @ k.transpose(-1, -2) / 4).softmax(-1) @ v
        return self.head((y + attention.transpose(1, 2).reshape(batch, 17, 16))[:, 0])


class Windows(nn.Module):
    """What Swin does: windows of all images, one after another, along the first axis."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.inner, self.head = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = x.shape[0]
        y = self.patch(x).view(batch, 8, 2, 4, 2, 4).permute(0, 2, 4, 3, 5, 1).reshape(batch * 4, 16, 8)
        y = (y @ y.transpose(-1, -2)).softmax(-1) @ self.inner(y)
        return self.head(y.view(batch, 64, 8).mean(1))


def exported(module: nn.Module, folder: Path, *, batch: int = 1) -> NetworkSpec:
    """By the older exporter, which needs no further package."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    with pytest.warns():
        torch.onnx.export(
            module.eval(), (torch.zeros(batch, 3, *SIZE),), str(folder / "net.onnx"), input_names=["image"],
            output_names=["y"], opset_version=17, dynamo=False,
        )  # fmt: skip
    convention = InputConvention(size=SIZE, scale=255.0, mean=(0.5,) * 3, std=(0.25,) * 3)
    return NetworkSpec(name="net", file="net.onnx", target="y", input=convention, weights="random", folder=str(folder))


@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize("kind", [WithClassToken, Windows])
def test_a_batch_in_the_graphs_shapes_is_no_bound(kind: type[nn.Module], batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = kind()
    network = load(exported(module, tmp_path, batch=batch))
    assert network.single_image
    assert max(network.checks.values()) <= 1e-4
    assert_any_batch(network)
    x = (torch.randn(3, 3, *SIZE) * 40).requires_grad_()
    (found,) = torch.autograd.grad(network.scores(x)[:, 3].sum(), x)
    (wanted,) = torch.autograd.grad(module(x / 63.75)[:, 3].sum(), x)
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("batch", [2, 16])
def test_a_network_of_a_fixed_batch_that_can_be_freed_is(batch: int, tmp_path: Path) -> None:
    proto = graphs.caffe()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    for tensor in proto.graph.initializer:
        if tensor.name == "OC2_DUMMY_1":
            tensor.CopyFrom(numpy_helper.from_array(integers(batch, 72), tensor.name))
    network = load(save(proto, tmp_path, target="fc8"))
    assert not network.single_image
    assert network.scores(torch.randn(3, 3, *SIZE)).shape == (3, 10)


def test_windows_are_a_layer_of_each_image(tmp_path: Path) -> None:
    network = load(exported(Windows(), tmp_path))
    windows = next(layer for layer in network.layers.values() if layer.shape == (4, 16, 8))
    found = network.activations(torch.randn(3, 3, *SIZE), [windows.name])[windows.name]
    assert found.shape == (3, 4, 16, 8)


def test_tensors_of_five_axes_are_no_obstacle_to_the_layout() -> None:
    module = torch.fx.symbolic_trace(nn.Conv2d(3, 3, 1))
    module.register_buffer("mask", torch.zeros(1, 2, 3, 4, 5))
    assert use_fast_kernels(module, {}).mask.shape == (1, 2, 3, 4, 5)


def test_empty_names_at_the_end_are_taken_off() -> None:
    graph = between(helper.make_node("Clip", ["conv", "", ""], ["odd", ""])).graph
    plain.without_empty_ends(graph)
    assert (list(graph.node[1].input), list(graph.node[1].output)) == (["conv"], ["odd"])
