"""The fast layers against PyTorch's, forwards and backwards to the input: a Markdown table.

    python tools/kernel_timings.py [SECONDS PER LAYER] [THREADS]

Layers of VGG-16 with two photos, of ResNet-18 with eight, of CaffeNet and tinycaffenet with sixteen. The times of the
two are taken in turn; errors are those of the forward pass, relative to the largest value of PyTorch's float64.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from bench.timing import Patience, Spread, in_turn, ratio
from torch import Tensor, nn

from deepinside.networks.kernels import LAYOUT, convolution, late
from deepinside.networks.kernels.convolution import Convolution
from deepinside.networks.kernels.norm import CrossChannelNorm
from deepinside.networks.kernels.pooling import MaxPooling

SECONDS, THREADS = 3.0, 2
Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layer:
    """A layer, what it is compared with, and the shape (N, C, H, W) of its input."""

    name: str
    fast: nn.Module
    usual: nn.Module
    shape: Shape
    exact: nn.Module
    """The layer in float64."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds of the usual layer, how many times as long as the fast one it takes, and the errors of both."""

    milliseconds: float
    ratio: Spread
    error: float
    usual_error: float


def layers() -> Iterator[Layer]:
    """Those of the table, in its order."""
    for name, inputs, outputs, side in VGG16:
        yield tiled(f"VGG-16 `{name}`", (2, inputs, side, side), outputs)
    for name, channels, side in RESNET18:
        yield tiled(f"ResNet-18 `{name}`", (8, channels, side, side), channels)
    for name, inputs, outputs, groups in CAFFENET:
        yield tiled(f"CaffeNet `{name}`", (16, inputs, 13, 13), outputs, groups)
    for name, inputs, outputs, groups in TINYCAFFENET:
        yield tiled(f"tinycaffenet `{name}`, too small for the rule", (16, inputs, 8, 8), outputs, groups)
    norm, pooling = nn.LocalResponseNorm(5, 1e-4), nn.MaxPool2d(3, 2)
    for shape in ((16, 96, 27, 27), (16, 256, 13, 13)):
        yield Layer("LRN", CrossChannelNorm(norm), norm, shape, norm)
    for shape in ((16, 96, 55, 55), (16, 256, 27, 27)):
        yield Layer("max-pooling 3, stride 2", MaxPooling.of(pooling), pooling, shape, pooling)


VGG16 = (
    ("conv1_2", 64, 64, 224), ("conv2_1", 64, 128, 112), ("conv2_2", 128, 128, 112), ("conv3_1", 128, 256, 56),
    ("conv3_2", 256, 256, 56), ("conv4_1", 256, 512, 28), ("conv4_2", 512, 512, 28), ("conv5_1", 512, 512, 14),
)  # fmt: skip
RESNET18 = (("layer1", 64, 56), ("layer2", 128, 28), ("layer3", 256, 14), ("layer4", 512, 7))
CAFFENET = (("conv3", 256, 384, 1), ("conv4", 384, 384, 2), ("conv5", 384, 256, 2))
TINYCAFFENET = (("conv3", 160, 256, 1), ("conv4", 256, 256, 2), ("conv5", 256, 192, 2))


def tiled(name: str, shape: Shape, outputs: int, groups: int = 1) -> Layer:
    """A 3×3 convolution by `Winograd`, against oneDNN's with packed weights."""
    layer = nn.Conv2d(shape[1], outputs, 3, padding=1, groups=groups).requires_grad_(False)
    fast, usual = Convolution.of(layer), Convolution.of(layer)
    usual.winograd = False
    exact = nn.Conv2d(shape[1], outputs, 3, padding=1, groups=groups).requires_grad_(False)
    exact.load_state_dict(layer.state_dict())
    return Layer(f"{name}, {shape[1]}→{outputs}, {shape[2]}×{shape[3]}", fast, usual, shape, exact.double())


def timing(layer: Layer, patience: Patience) -> Timing:
    """Measure one layer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(layer.shape, generator=generator).contiguous(memory_format=LAYOUT)
    above = torch.ones_like(layer.usual(x))
    times = in_turn(
        {"fast": lambda: both(layer.fast, x, above), "usual": lambda: both(layer.usual, x, above)}, patience
    )
    exact = layer.exact(x[:1].double())
    errors = [float((part(x)[:1] - exact).abs().max() / exact.abs().max()) for part in (layer.fast, layer.usual)]
    milliseconds = 1e3 * float(torch.tensor(times["usual"]).median())
    return Timing(milliseconds, ratio(times["usual"], times["fast"]), *errors)


def both(layer: nn.Module, x: Tensor, above: Tensor) -> Tensor:
    """Forwards, and back to the input."""
    start = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(layer(start), start, above)
    return found


def row(layer: Layer, found: Timing) -> str:
    spread = f"{found.ratio.median:.2f} × [{found.ratio.low:.2f}–{found.ratio.high:.2f}] as fast"
    return f"| {layer.name} | {found.milliseconds:.2f} ms | {spread} | {found.error:.1e} ({found.usual_error:.1e}) |"


def main(seconds: float = SECONDS, threads: int = THREADS) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    late.ENOUGH, convolution.MUCH = 0, 0  # compiled from the start, and small layers too
    print("| layer | PyTorch | the fast layer is | error (PyTorch's) |\n| --- | --- | --- | --- |")
    for layer in layers():
        print(row(layer, timing(layer, Patience(seconds=seconds))), flush=True)


if __name__ == "__main__":
    main(*(kind(word) for kind, word in zip((float, int), sys.argv[1:], strict=False)))
