"""Gradients at inner layers against matrices, finite differences and Caffe's own way of drawing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from deepinside.attribution.gradients import ForwardPass
from deepinside.errors import DeepInsideError
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import Label
from deepinside.targets import Target
from deepinside.techniques.layer_gradients import AtLayer, LayerGradients, choose, gradients_at, vis_square
from deepinside.types import ImageBatch, Item, Photo, Seeds


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    spec = graphs.save(graphs.caffe(), tmp_path_factory.mktemp("caffe"), target="fc8")
    return replace(load(spec), labels=tuple(Label(i, "", f"class {i}") for i in range(10)))


def batch(count: int = 3) -> ImageBatch:
    x = 50 * torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    shown = [Photo(f"photo{i}", pixels, "") for i, pixels in enumerate(x)]
    return ImageBatch(tuple(shown), x)


def items(network: Network, photos: ImageBatch | None = None, **settings: Any) -> dict[str, Item]:
    return {item.name: item for item in LayerGradients(**settings)(network, photos or batch(), Seeds(0)).items}


def at(network: Network, layers: list[str], classes: list[int]) -> dict[str, AtLayer]:
    targets = [Target(str(index), "fc8", (index,)) for index in classes]
    glance = ForwardPass(network, batch(len(classes)).pixels.to(network.mean), [*layers, "fc8"])
    return gradients_at(glance, targets, layers)


def test_photos_are_run_forwards_once(network: Network, passes: list[int]) -> None:
    items(network, layers=("conv1", "fc8"), target="top1")
    items(network, layers=("conv1",), target="conv1:0")
    assert passes == [3, 3]


def weights_of(network: Network, layer: str) -> Tensor:
    module = network.module_of(layer)
    assert isinstance(module, nn.Linear)
    return module.weight


def test_the_last_layers_by_their_matrices(network: Network) -> None:
    classes = [4, 0, 7]
    found = at(network, ["fc8", "relu6", "fc6", "flatten1"], classes)
    last, first = weights_of(network, "fc8"), weights_of(network, "fc6")
    assert torch.equal(found["fc8"].gradient, torch.eye(10)[classes])
    assert torch.allclose(found["relu6"].gradient, last[classes])
    before = last[classes] * (found["fc6"].activation > 0)
    assert torch.allclose(found["fc6"].gradient, before)
    assert torch.allclose(found["flatten1"].gradient, before @ first, atol=1e-6)


class Nudged(nn.Module):
    """A module whose result is moved by a constant."""

    def __init__(self, module: nn.Module, step: Tensor) -> None:
        super().__init__()
        self.module, self.step = module, step

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x) + self.step


@pytest.mark.parametrize("layer", ["conv1", "pool1", "norm1", "conv2", "pool5", "fc6"])
def test_finite_differences_at_every_kind_of_layer(network: Network, layer: str) -> None:
    exact = network.to(dtype=torch.float64)
    found = at(exact, [layer], [3, 5])[layer]
    generator = torch.Generator().manual_seed(0)
    step = 1e-6 * torch.randn(found.gradient.shape, generator=generator, dtype=torch.float64)
    x = batch(2).pixels.double()
    chosen = torch.tensor([[3], [5]])

    def score(by: float) -> Tensor:
        moved = exact.with_modules(lambda name, module: Nudged(module, by * step) if name == layer else None)
        return moved.scores(x).gather(1, chosen)[:, 0]

    slope = (score(1) - score(-1)) / 2
    expected = (found.gradient * step).flatten(1).sum(1)
    assert torch.allclose(slope, expected, rtol=1e-4, atol=1e-12)


def caffes_vis_square(data: np.ndarray) -> np.ndarray:
    """Caffe's examples, `00-classification`: the same, but for the scaling to 0..1 and the padding's value."""
    n = int(np.ceil(np.sqrt(data.shape[0])))
    padding = ((0, n**2 - data.shape[0]), (0, 1), (0, 1)) + ((0, 0),) * (data.ndim - 3)
    data = np.pad(data, padding, mode="constant", constant_values=0)
    data = data.reshape((n, n, *data.shape[1:])).transpose((0, 2, 1, 3, *range(4, data.ndim + 1)))
    return data.reshape((n * data.shape[1], n * data.shape[3], *data.shape[4:]))


@pytest.mark.parametrize("shape", [(1, 2, 3), (48, 5, 4), (49, 3, 3), (50, 1, 2)])
def test_the_grid_is_caffes(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape)
    assert np.array_equal(vis_square(values).numpy(), caffes_vis_square(values.numpy()))


def test_a_vector_fills_a_square() -> None:
    assert vis_square(torch.arange(1.0, 6)).tolist() == [[1, 2, 3], [4, 5, 0], [0, 0, 0]]


def test_one_item_a_photo_and_layer_with_its_numbers(network: Network) -> None:
    found = items(network, target="class 4", layers=("conv2", "fc6"))
    assert list(found) == [f"photo{i}_{layer}" for i in range(3) for layer in ("conv2", "fc6")]
    truth = at(network, ["conv2"], [4, 4, 4])["conv2"]
    one = found["photo1_conv2"]
    assert torch.equal(one.panels[0].values, vis_square(truth.gradient[1]))
    assert torch.equal(one.panels[1].values, vis_square(truth.activation[1]))
    assert one.metrics["conv2/gradient_max_abs"] == truth.gradient[1].abs().max().item()
    assert one.metrics["conv2/activation_mean_abs"] == pytest.approx(truth.activation[1].abs().mean().item())
    assert one.metrics["conv2/gradient_share_zero"] == pytest.approx((truth.gradient[1] == 0).float().mean().item())


def test_caffes_layers_are_those_the_network_has_and_the_rest_is_said(network: Network) -> None:
    names, notes = choose("caffe", network)
    assert names == ["conv1", "pool1", "norm1", "conv2", "pool5", "fc6", "fc8"]
    assert notes == ("tiny has no pool2, norm2, conv3, conv4, conv5, fc7.",)
    (one, *_) = items(network, batch(1)).values()
    assert one.notes == notes


def test_a_network_of_other_names_is_shown_over_its_depth(network: Network) -> None:
    other = {f"block{i}": layer for i, layer in enumerate(network.layers.values())}
    renamed = replace(network, layers=other, spec=replace(network.spec, target=f"block{len(other) - 1}"))
    names, (note,) = choose("caffe", renamed)
    assert names[0] == "block0" and names[-1] == renamed.target and len(names) == min(12, len(other))
    assert "spread over its depth" in note


def test_all_layers_and_alternatives(network: Network) -> None:
    assert choose("all", network)[0] == list(network.layers)
    assert choose(("norm9 | norm1 | conv1", "conv1_1"), network)[0] == ["norm1", "conv1"]
    with pytest.raises(DeepInsideError, match="no layer 'norm9'"):
        choose(("norm8 | norm9",), network)


def test_layers_after_the_target_are_left_out_or_refused(network: Network) -> None:
    found = items(network, batch(1), target="conv2:3", layers="all")
    assert list(found) == [f"photo0_{name}" for name in ("conv1", "relu1", "pool1", "norm1", "conv2")]
    with pytest.raises(DeepInsideError, match=r"lead to conv2, found fc6"):
        items(network, target="conv2:3", layers=("conv1", "fc6"))


def test_a_batch_is_its_photos_one_by_one(network: Network) -> None:
    together = items(network, target="top1")
    alone: dict[str, Item] = {}
    for photo in batch().photos:
        alone |= items(network, ImageBatch((photo,), photo.pixels[None]), target="top1")
    assert list(together) == list(alone)
    for name, item in together.items():
        for panel, other in zip(item.panels, alone[name].panels, strict=True):
            assert (panel.values - other.values).abs().max() <= 1e-5 * panel.values.abs().max()


def test_nothing_is_left_on_the_network(network: Network) -> None:
    code, before = network.module.code, network.scores(batch().pixels)
    items(network, layers="all")
    with pytest.raises(DeepInsideError):
        items(network, target="conv2:3", objective="posterior")
    assert network.module.code == code
    assert not any(parameter.requires_grad for parameter in network.module.parameters())
    assert torch.equal(network.scores(batch().pixels), before)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4, 5), (2, 2, 3, 4, 5), ()])
def test_layers_of_any_axes_are_drawn_with_every_value_once(shape: tuple[int, ...]) -> None:
    values = 1 + torch.rand(shape)
    drawn = vis_square(values)
    assert drawn.ndim == 2
    assert torch.equal(drawn[drawn > 0].sort().values, values.flatten().sort().values)
    if len(shape) > 3:
        assert torch.equal(drawn, vis_square(values.flatten(end_dim=-3)))
    if len(shape) == 2:
        assert torch.equal(drawn, values)


class Tokens(nn.Module):
    """A channel shuffle (five axes), tokens (N, L, C), and tokens before photos (L, N, C)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.mix, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).view(-1, 2, 4, 4, 4).transpose(1, 2).reshape(-1, 8, 4, 4)
        x = torch.relu(self.mix(x.flatten(2).transpose(1, 2)))
        return self.fc(x.transpose(0, 1).mul(2).mean(0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of the exporter
def test_tokens_and_five_axes_have_plain_autograds_gradients(tmp_path: Path) -> None:
    original = Tokens().eval()
    torch.onnx.export(
        original, (torch.zeros(2, 3, 32, 32),), str(tmp_path / "net.onnx"), dynamo=False, opset_version=17,
        input_names=["image"], output_names=["scores"], dynamic_axes={"image": {0: "N"}},
    )  # fmt: skip
    network = load(graphs.save(onnx.load(tmp_path / "net.onnx"), tmp_path, target="scores", output="scores"))
    x = batch(2).pixels.flip(1)  # the network takes BGR
    found = LayerGradients(target=3, layers="all")(network, batch(2), Seeds(0))
    shapes = {len(layer.shape) for layer in network.layers.values()}
    assert {2, 4} <= shapes
    tokens = original.double().conv(x.double()).view(-1, 2, 4, 4, 4).transpose(1, 2).reshape(-1, 8, 4, 4)
    tokens = tokens.flatten(2).transpose(1, 2).detach().requires_grad_()
    scores = original.fc(torch.relu(original.mix(tokens)).mean(1) * 2)
    (expected,) = torch.autograd.grad(scores[:, 3].sum(), tokens)
    drawn = [item.panels[0].values for item in found.items if item.name.startswith("photo1_")]
    assert any(d.shape == (16, 8) and torch.allclose(d.double(), expected[1], atol=1e-6) for d in drawn)
