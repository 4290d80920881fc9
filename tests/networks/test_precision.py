"""Precisions: where they are allowed, and how close they come to float32."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
import toys
from torch import Tensor
from torch.nn import functional

from deepinside.attribution.gradients import image_gradient
from deepinside.config.catalogue import files, network_node
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.metrics.similarity import rank_correlation
from deepinside.networks.kernels import winograd_flags
from deepinside.networks.load import load
from deepinside.networks.network import computing_dtype
from deepinside.networks.precision import check_precision, pixels_to_device, set_up_gpu, to_device
from deepinside.networks.spec import NetworkSpec
from deepinside.targets import class_target

NAMES = ("chelsea", "coffee", "astronaut", "rocket")


def test_bf16_is_inside_the_network_only(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    half = to_device(network, "cpu", "bf16")
    assert computing_dtype(half.module) == torch.bfloat16
    assert (half.dtype, half.mean.dtype) == (torch.float32, torch.float32)
    x = toys.photos(network).pixels
    assert half.scores(x).dtype == half.activations(x, ["conv2"])["conv2"].dtype == torch.float32
    assert image_gradient(half, x, [class_target(0, half)] * len(x)).dtype == torch.float32
    assert not torch.equal(half.scores(x), network.scores(x))
    torch.testing.assert_close(half.scores(x), network.scores(x), rtol=0.05, atol=0.05 * network.scores(x).abs().max())


def test_a_network_goes_there_and_back(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    half = to_device(network, "cpu", "bf16")
    assert half.to() is half
    assert to_device(half, "cpu", "bf16") is half
    assert computing_dtype(half.to(dtype=torch.float32).module) == torch.float32
    assert to_device(network, "cpu", "float64").dtype == torch.float64
    assert to_device(network, "cpu", "float32") is network


def test_bf16_ranks_the_pixels_of_real_photos_as_float32_does() -> None:
    network = load(construct(NetworkSpec, network_node("tinycaffenet", files("network")["tinycaffenet"]), "network"))
    x = torch.stack([network.input.to_network(small(getattr(skimage.data, name)(), network.size)) for name in NAMES])
    targets = [class_target(int(best), network) for best in network.scores(x).argmax(1)]
    exact, half = (image_gradient(n, x, targets).abs().amax(1) for n in (network, to_device(network, "cpu", "bf16")))
    found = [rank_correlation(*pair) for pair in zip(exact, half, strict=True)]
    assert min(found) >= 0.93  # 0.951 was the smallest of 64 photos of Tiny ImageNet, 0.988 the mean


def test_mixed_has_the_scores_of_float32_and_almost_its_gradient(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    mixed, x = to_device(network, "cpu", "mixed"), toys.photos(network).pixels
    targets = [class_target(0, network)] * len(x)
    assert torch.equal(mixed.scores(x), network.scores(x))
    exact, found = (image_gradient(n, x, targets) for n in (network, mixed))
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02 * float(exact.abs().max()))
    alone = torch.cat([image_gradient(mixed, one, targets[:1]) for one in x.split(1)])
    assert torch.equal(alone, found)
    assert to_device(mixed, "cpu", "mixed") is mixed
    assert torch.equal(image_gradient(to_device(mixed, "cpu", "float32"), x, targets), exact)


def test_mixed_is_for_processors() -> None:
    with pytest.raises(DeepInsideError, match="mixed needs a CPU, found the device cuda"):
        check_precision("mixed", "cuda")


def small(photo: np.ndarray, size: tuple[int, int]) -> Tensor:
    """The middle of a photo (h, w, 3) at the network's size, (3, H, W) in levels 0-255."""
    side = min(photo.shape[:2])
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    square = torch.from_numpy(photo[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None].float()
    return functional.interpolate(square, size=size, mode="bilinear", antialias=True)[0].round().clamp(0, 255)


@pytest.mark.parametrize(
    ("precision", "words"),
    [("tf32", ("NVIDIA", "cpu", "float32")), ("float16", ("float32, float64, bf16, mixed, tf32",))],
)
def test_what_cannot_be_is_refused(precision: str, words: tuple[str, ...]) -> None:
    with pytest.raises(DeepInsideError) as error:
        check_precision(precision, "cpu")
    assert all(word in str(error.value) for word in words)


def test_tf32_is_for_graphics_processors() -> None:
    check_precision("tf32", "cuda")


def test_float32_on_a_gpu_is_float32_and_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    switches = [
        (torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cudnn, "benchmark"), (torch.backends.cudnn, "deterministic"),
    ]  # fmt: skip
    before = [getattr(*switch) for switch in switches]
    try:
        set_up_gpu("float32")
        assert [getattr(*switch) for switch in switches] == [False, False, False, True]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        set_up_gpu("tf32")
        assert [getattr(*switch) for switch in switches] == [True, True, False, True]
    finally:
        for (where, name), value in zip(switches, before, strict=True):
            setattr(where, name, value)


def test_photos_are_brought_in_the_networks_precision(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    x = toys.photos(network).pixels
    assert pixels_to_device(x, network) is x
    assert pixels_to_device(x, to_device(network, "cpu", "float64")).dtype == torch.float64
    assert pixels_to_device(x, to_device(network, "cpu", "bf16")).dtype == torch.float32


@pytest.mark.parametrize(("known", "said"), [({"amx_bf16": True}, 0), ({"avx512_bf16": False}, 1), ({}, 1)])
def test_bf16_on_a_processor_without_it_is_said_to_be_slow(
    known: dict[str, bool], said: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = toys.caffe(tmp_path)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    to_device(network, "cpu", "float32")
    assert not caplog.messages
    to_device(network, "cpu", "bf16")
    assert len(caplog.messages) == said


def test_winograd_can_be_switched_off_and_on(tmp_path: Path) -> None:
    network = toys.caffe(tmp_path)
    without = to_device(network, "cpu", "float32", winograd=False)
    assert (winograd_flags(network.module), winograd_flags(without.module)) == ({True}, {False})
    assert to_device(without, "cpu", "float32", winograd=False) is without
    assert winograd_flags(to_device(without, "cpu", "float32").module) == {True}
