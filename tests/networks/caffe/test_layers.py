"""Each layer type against numpy and OpenCV, and random sequences of them.

Two things are checked against numpy only, in NUMPY_ONLY: OpenCV divides an average at a padded border
that was rounded up by another area than Caffe, and it does not read Bias, Log, Exp and Scale with a second input.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from caffe_nets import CaffeNet, column, pooled, random_net
from caffe_oracles import by_onnx, by_opencv, difference

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.graph import read_network

EXACT = 1e-5
OPENCV = 1e-4  # its powers and exponentials are approximations


def exponential(net: CaffeNet) -> None:
    net.simple("half", "Power", 0.01 * net.x(None), "power_param { scale: 0.01 }")
    net.simple("exp", "Exp", 2.0 ** (1 + 0.5 * net.x(None)), "exp_param { base: 2 scale: 0.5 shift: 1 }")


def logarithm(net: CaffeNet) -> None:
    net.simple("positive", "AbsVal", np.abs(net.x(None)))
    net.simple("log", "Log", np.log10(1 + 0.5 * net.x(None)), "log_param { base: 10 scale: 0.5 shift: 1 }")


def bias(net: CaffeNet) -> None:
    offset = net.random(3)
    net.add("bias", "Bias", ["data"], net.image + column(offset, net.image), blobs=[offset])


def gate(net: CaffeNet) -> None:
    """Squeeze and excitation: a scale with a second input."""
    net.pool("squeeze", 1, how="AVE", everywhere=True)
    net.inner("excite", 3)
    net.simple("gate", "Sigmoid", 1 / (1 + np.exp(-net.x(None))))
    value = net.image * net.now["gate"][:, :, None, None]
    net.add("scaled", "Scale", ["data", "gate"], value, "scale_param { axis: 0 }")


def slices(net: CaffeNet) -> None:
    net.conv("wide", 6, 3)
    x = net.x(None)
    net.add("slice", "Slice", ["wide"], np.split(x, [1, 3], 1), "slice_param { slice_point: 1 slice_point: 3 }",
            tops=["one", "two", "three"])  # fmt: skip
    net.add("halves", "Slice", ["three"], np.split(net.now["three"], [1], 1),
            "slice_param { axis: -3 slice_point: 1 }", tops=["left", "right"])  # fmt: skip
    net.concat("joined", ["right", "two", "one", "left"])


def split(net: CaffeNet) -> None:
    net.conv("conv", 4, 3)
    net.add("split", "Split", ["conv"], [net.now["conv"]] * 2, tops=["left", "right"])
    net.relu("relu", bottom="left", in_place=False)
    net.eltwise("sum", ["relu", "right"])


def eltwise(net: CaffeNet) -> None:
    for name in ("a", "b", "c"):
        net.conv(name, 4, 3, bottom="data")
    net.eltwise("weighted", ["a", "b", "c"], coeff=[1, -0.5, 2])
    net.eltwise("product", ["a", "b"], how="PROD")
    net.eltwise("maximum", ["a", "b", "c"], how="MAX")
    net.eltwise("sum", ["weighted", "product", "maximum"])


def reshaped(net: CaffeNet) -> None:
    net.conv("conv", 4, 3)
    x = net.x(None)
    settings = "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 15 } }"
    net.simple("reshaped", "Reshape", x.reshape(1, 2, -1, 15), settings)
    part = "reshape_param { axis: 2 num_axes: 2 shape { dim: -1 } }"
    net.simple("part", "Reshape", net.x(None).reshape(1, 2, -1), part)
    net.simple("flat", "Flatten", net.x(None).reshape(1, -1))
    net.inner("scores", 3)


def flattened(net: CaffeNet) -> None:
    net.conv("conv", 4, 3)
    net.simple("lines", "Flatten", net.x(None).reshape(1, 4, -1), "flatten_param { axis: 2 }")
    net.simple("flat", "Flatten", net.x(None).reshape(1, -1), "flatten_param { axis: 1 end_axis: -1 }")


def softmax_of_maps(net: CaffeNet) -> None:
    net.conv("maps", 5, 3)
    net.softmax()


def activations(net: CaffeNet) -> None:
    net.conv("conv", 4, 3)
    net.relu("leaky", slope=0.1)
    net.simple("shrunk", "Power", (0.5 + 0.02 * net.x(None)) ** 2, "power_param { scale: 0.02 shift: 0.5 power: 2 }")
    net.simple("scaled", "Power", 0.1 * net.x(None) - 1, "power_param { scale: 0.1 shift: -1 }")
    x = net.x(None)
    net.simple("elu", "ELU", np.where(x > 0, x, 0.7 * np.expm1(np.minimum(x, 0))), "elu_param { alpha: 0.7 }")
    net.simple("tanh", "TanH", np.tanh(net.x(None)), in_place=True)
    net.simple("sigmoid", "Sigmoid", 1 / (1 + np.exp(-net.x(None))))
    net.simple("bnll", "BNLL", np.log1p(np.exp(net.x(None))))
    net.prelu("prelu")
    net.prelu("shared", shared=True)


CASES: dict[str, Callable[[CaffeNet], object]] = {
    "dilation": lambda net: net.conv("conv", 4, 3, dilation=2, pad=2),
    "rows and columns": lambda net: net.conv("conv", 4, (5, 1), stride=2, pad=1, separate=True),
    "groups": lambda net: [net.conv("wide", 6, 1), net.conv("conv", 4, 3, group=2, bias=False)],
    "depth-wise": lambda net: net.conv("conv", 3, 3, group=3),
    "deconvolution": lambda net: [net.conv("wide", 4, 3, stride=2), net.deconv("up", 6, 4, stride=2, pad=1, group=2)],
    "maximum, rounded up": lambda net: net.pool("pool", 3, stride=2),
    "maximum, rounded up, padded": lambda net: net.pool("pool", 3, stride=2, pad=1),
    "maximum, clipped": lambda net: net.pool("pool", 2, stride=3, pad=1),
    "maximum everywhere": lambda net: net.pool("pool", 1, everywhere=True),
    "average, padded": lambda net: net.pool("pool", 3, stride=2, pad=1, how="AVE"),
    "average everywhere": lambda net: net.pool("pool", 1, how="AVE", everywhere=True),
    "average of all": lambda net: net.pool("pool", 17, how="AVE"),
    "across channels": lambda net: [net.conv("conv", 8, 3), net.lrn("norm", size=3, alpha=1e-2, beta=0.6)],
    "within a channel": lambda net: [net.conv("conv", 4, 3), net.lrn("norm", size=3, alpha=1e-2, within=True)],
    "normalised": lambda net: [net.conv("conv", 4, 3), net.batch_norm("bn", eps=1e-3), net.scale("scale", bias=False)],
    "inner product of maps": lambda net: [net.inner("fc", 5, bias=False), net.inner("fc2", 4)],
    "concatenated": lambda net: [net.conv("a", 2, 3), net.conv("b", 3, 3, bottom="data"), net.concat("c", ["b", "a"])],
    "slices": slices, "split": split, "eltwise": eltwise, "reshaped": reshaped, "flattened": flattened,
    "softmax of maps": softmax_of_maps, "activations": activations,
}  # fmt: skip
NUMPY_ONLY: dict[str, Callable[[CaffeNet], object]] = {
    "average, rounded up, padded": lambda net: net.pool("pool", 4, stride=3, pad=1, how="AVE"),
    "average, rounded up": lambda net: net.pool("pool", 2, stride=2, how="AVE"),
    "exp": exponential, "log": logarithm, "bias": bias, "gate": gate,
}  # fmt: skip


def check(net: CaffeNet, folder: Path, *, opencv: bool) -> None:
    if not net.blobs:  # a caffemodel without weights is refused
        net.inner("end", 3)
    files = net.write(folder)
    network = read_network(*files)
    found = by_onnx(network, net.image)
    assert list(net.values)[-1] in found
    for name, value in found.items():
        assert difference(value, net.values[name]) < EXACT, name
    # of several tops OpenCV gives the first by the layer's name
    names = [layer[0] for layer in net.layers if len(layer[3]) == 1] if opencv else []
    for name, value in by_opencv(*files, net.image, names).items() if names else ():
        assert difference(value, net.values[name]) < OPENCV, f"OpenCV: {name}"


@pytest.mark.parametrize("name", CASES)
def test_each_layer_as_numpy_and_opencv_compute_it(name: str, tmp_path: Path) -> None:
    net = CaffeNet(17, seed=7)
    CASES[name](net)
    check(net, tmp_path, opencv=True)


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_what_opencv_computes_otherwise_or_not_at_all_as_numpy_computes_it(name: str, tmp_path: Path) -> None:
    net = CaffeNet(17, seed=7)
    NUMPY_ONLY[name](net)
    check(net, tmp_path, opencv=False)


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_as_numpy_computes_them(seed: int, tmp_path: Path) -> None:
    net = random_net(seed)
    check(net, tmp_path, opencv=False)


@pytest.mark.parametrize("size", range(3, 12))
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (2, 3, 1), (5, 3, 2), (4, 1, 3)]
)
@pytest.mark.parametrize("how", ["MAX", "AVE"])
def test_every_border_of_a_pooling(size: int, kernel: int, stride: int, pad: int, how: str, tmp_path: Path) -> None:
    if size + 2 * pad < kernel:
        return
    net = CaffeNet((size, size + 1), seed=size)
    net.pool("pool", kernel, stride=stride, pad=pad, how=how)
    check(net, tmp_path, opencv=False)


@pytest.mark.parametrize("words", ["ceil_mode: false", "round_mode: FLOOR"])
def test_rounding_down_in_the_words_of_two_forks(words: str, tmp_path: Path) -> None:
    net = CaffeNet(8)
    x = net.image[:, :, :7, :7]
    net.simple("pool", "Pooling", pooled(x, 3, 2, 0, "MAX"), f"pooling_param {{ kernel_size: 3 stride: 2 {words} }}")
    check(net, tmp_path, opencv=False)


def test_a_window_without_a_pixel_which_caffe_leaves_undefined_is_refused(tmp_path: Path) -> None:
    net = CaffeNet(4)
    with np.errstate(all="ignore"):
        net.now["data"] = net.image
    net.layers.append(("pool", "Pooling", ["data"], ["pool"], "pooling_param { pool: AVE kernel_size: 1 stride: 2 }"))
    net.blobs["other"] = [net.random(1)]
    net.layers.append(("other", "Scale", ["pool"], ["other"], ""))
    with pytest.raises(DeepInsideError, match=r"layer 'pool' \(Pooling\) has a window without a pixel of its input"):
        read_network(*net.write(tmp_path))


def test_the_oracle_knows_the_average_at_a_border() -> None:
    """By hand: the last window of 3 with a padding of 1 has one row of padding, and one behind it, not counted."""
    found = pooled(np.ones((1, 1, 4, 4)), 3, 2, 1, "AVE")
    assert found.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(found[0, 0, 2], [2 * 1 / (2 * 3), 3 / 6, 1 / 4])
