"""Small networks of which everything is known: oracles for objectives, optimisers, class models and saliency."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import graphs
import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor

from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import InputConvention, Label
from deepinside.types import ImageBatch, Photo

CLASSES = (
    ("n02123045", "tabby"),
    ("n02123159", "tiger cat"),
    ("n02099601", "golden retriever"),
    ("n02110063", "malamute"),
    ("n01855672", "goose"),
    ("n07920052", "espresso"),
    ("n01443537", "goldfish"),
    ("n07749582", "lemon"),
    ("n04146614", "school bus"),
    ("n02129165", "lion"),
)
GROUPS = {"cats": (0, 1), "dogs": (2, 3)}
GREY = InputConvention(size=(6, 6), channels="grey", scale=255, mean=(0.5,), std=(0.25,))
BGR = InputConvention(size=(6, 6), channels="bgr", scale=255, mean=(0.4, 0.45, 0.5), std=(0.22, 0.25, 0.3))
RGB = InputConvention(size=(6, 6), channels="rgb", mean=(123, 117, 104))


@dataclass(frozen=True)
class Linear:
    """A network with S_c = weights[c]·I + bias[c] in image space, (classes, C, H, W) and (classes,)."""

    network: Network
    weights: Tensor
    bias: Tensor


def linear(folder: Path, convention: InputConvention = BGR, classes: int = 4, seed: int = 0) -> Linear:
    """Random weights, written into the ONNX file in the network's own order of channels and units."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, convention.count, *convention.size, generator=generator)
    bias = torch.randn(classes, generator=generator)
    native = weights * torch.tensor(convention.pixels_per_unit).view(-1, 1, 1)
    native = native.flip(1) if convention.channels == "bgr" else native
    nodes = [
        graphs.node("Flatten", "data_0", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 w b", "score_1", transB=1),
    ]
    arrays = {"w": native.flatten(1).numpy(), "b": bias.numpy()}
    model = graphs.model(nodes, arrays, output="score_1", shape=("N", *weights.shape[1:]), opset=13)
    return Linear(ready(model, folder, "score", convention, output="scores"), weights, bias)


def caffe(folder: Path) -> Network:
    """The small CaffeNet of `graphs`: 32x32, ten classes."""
    return ready(graphs.caffe(), folder, "fc8", InputConvention(size=(32, 32), channels="bgr", mean=(104, 117, 123)))


def grey(folder: Path) -> Network:
    """One channel of 16x16: a convolution, a rectifier and ten scores."""
    rng = np.random.default_rng(4)
    weights = {**graphs.filters(rng, "conv1", (4, 1, 3, 3)), **graphs.filters(rng, "fc8", (10, 4 * 14 * 14))}
    return ready(
        two_layers(weights, (1, 16, 16)), folder, "fc8", replace(GREY, size=(16, 16)), output="scores", name="grey"
    )


def dead(folder: Path, bias: float = -10) -> Network:
    """Every ReLU is off at the zero image, so that no score has a gradient there; 8x8."""
    rng = np.random.default_rng(5)
    weights = {**graphs.filters(rng, "conv1", (4, 3, 3, 3)), **graphs.filters(rng, "fc8", (3, 4 * 6 * 6))}
    weights["conv1_b_0"][:] = bias
    convention = InputConvention(size=(8, 8), mean=(123, 117, 104))
    return ready(two_layers(weights, (3, 8, 8)), folder, "fc8", convention, output="scores", name="dead")


def two_layers(weights: graphs.Arrays, shape: tuple[int, ...]) -> ModelProto:
    nodes = [
        graphs.node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", kernel_shape=[3, 3]),
        graphs.node("Relu", "conv1_1", "conv1_2"),
        graphs.node("Flatten", "conv1_2", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 fc8_w_0 fc8_b_0", "fc8_1", transB=1),
    ]
    return graphs.model(nodes, weights, output="fc8_1", shape=("N", *shape), opset=13)


def quadratic(folder: Path, convention: InputConvention = RGB) -> Network:
    """Scores that are quadratic in the photo: their Taylor expansion of first order is wrong by t² exactly."""
    rng = np.random.default_rng(6)
    weights = {"w": rng.standard_normal((4, convention.count * 36)).astype(np.float32)}
    nodes = [
        graphs.node("Mul", "data_0 data_0", "square_1"),
        graphs.node("Flatten", "square_1", "flat_1", axis=1),
        graphs.node("Gemm", "flat_1 w", "score_1", transB=1),
    ]
    model = graphs.model(nodes, weights, output="score_1", shape=("N", convention.count, 6, 6), opset=13)
    return ready(model, folder, "score", convention, output="scores", name="quadratic")


def ready(
    model: ModelProto, folder: Path, target: str, convention: InputConvention, *, output: str = "softmax",
    name: str = "tiny",
) -> Network:  # fmt: skip
    """The model taken through ONNX and `load`, its classes named."""
    network = load(graphs.save(model, folder, target=target, input=convention, output=output, name=name))
    labels = tuple(Label(i, *CLASSES[i]) for i in range(network.classes))
    return replace(network, labels=labels, groups=GROUPS if network.classes > 3 else {"cats": (0, 1)})


def photos(
    network: Network, count: int = 3, *, larger: int = 0, level: float = 50, labels: tuple[str | None, ...] = ()
) -> ImageBatch:
    """Noise, `larger` pixels more on a side than the network's input."""
    height, width = network.size
    generator = torch.Generator().manual_seed(2)
    x = level * torch.randn(count, network.input.count, height + larger, width + larger, generator=generator)
    named = zip(x, labels or (None,) * count, strict=True)
    return ImageBatch(tuple(Photo(f"photo{i}", p, "", label, number=i) for i, (p, label) in enumerate(named)), x)


def alone(batch: ImageBatch, index: int) -> ImageBatch:
    """One photo of a batch, as a batch."""
    return ImageBatch(batch.photos[index : index + 1], batch.pixels[index : index + 1])


def numerical_gradient(value: Callable[[Tensor], Tensor], x: Tensor, places: Tensor, step: float = 1e-4) -> Tensor:
    """Central differences of a function (N, C, H, W) → (N,) by some of the values of one image, float64."""
    found = []
    for place in places.tolist():
        nudge = torch.zeros_like(x).flatten()
        nudge[place] = step
        up, down = value(x + nudge.view_as(x)), value(x - nudge.view_as(x))
        found.append((up - down).sum() / (2 * step))
    return torch.stack(found)
