"""The declaration of a network: conventions there and back, labels, and refusals that name the key."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepinside.errors import DeepInsideError
from deepinside.networks.spec import (
    InputConvention,
    NetworkSpec,
    conf_models,
    find_spec,
    make_spec,
    read_groups,
    read_labels,
    read_spec,
)

CAFFE = InputConvention(channels="bgr", mean=(104, 117, 123))
MXNET = InputConvention(channels="rgb", scale=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
GREY = InputConvention(size=(8, 6), channels="grey", scale=255, mean=(0.5,), std=(0.25,))
MINIMAL = {"name": "mine", "file": "mine.onnx", "target": "fc8", "input": {"size": [8, 8]}}


def every_value(channels: int = 3) -> torch.Tensor:
    return torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, channels, 1, 1)


@pytest.mark.parametrize("convention", [CAFFE, MXNET, GREY], ids=["caffe", "mxnet", "grey"])
def test_pixels_come_back_for_all_256_values(convention: InputConvention) -> None:
    pixels = every_value(convention.count)
    assert torch.equal(convention.to_pixels(convention.to_network(pixels)), pixels)


@pytest.mark.parametrize("path", sorted(conf_models().glob("*.yaml")), ids=lambda path: path.stem)
def test_pixels_come_back_for_every_network_that_ships(path: Path) -> None:
    convention = read_spec(path).input
    pixels = every_value(convention.count)
    assert torch.equal(convention.to_pixels(convention.to_network(pixels)), pixels)


def test_native_is_what_caffe_and_mxnet_publish() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0)).float()
    red, green, blue = pixels.unbind(1)
    caffe = torch.stack([blue - 104, green - 117, red - 123], dim=1)
    torch.testing.assert_close(CAFFE.native(CAFFE.to_network(pixels)), caffe)
    means, deviations = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    parts = [(c / 255 - m) / s for c, m, s in zip((red, green, blue), means, deviations, strict=True)]
    torch.testing.assert_close(MXNET.native(MXNET.to_network(pixels)), torch.stack(parts, dim=1), atol=1e-6, rtol=1e-5)


def test_the_mean_is_in_rgb_intensities() -> None:
    black = torch.zeros(1, 3, 2, 2)
    assert (-CAFFE.to_network(black)[0, :, 0, 0]).tolist() == [123, 117, 104]
    np.testing.assert_allclose(-MXNET.to_network(black)[0, :, 0, 0], [123.675, 116.28, 103.53], rtol=1e-6)


def test_grey_networks_see_luminance() -> None:
    pixels = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    seen = GREY.to_network(pixels)
    assert seen.shape == (1, 1, 1, 1)
    assert seen.item() == pytest.approx(0.299 * 255 - 127.5, abs=1e-4)


def test_integer_pixels_do_not_round_the_mean() -> None:
    pixels = torch.full((3, 1, 1), 100, dtype=torch.int64)
    assert MXNET.to_network(pixels)[0].item() == pytest.approx(100 - 123.675, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fil": "x"}, "fil: "),
        ({"output": "probabilities"}, "output: Input should be 'scores', 'softmax', 'sigmoid' or 'features'"),
        ({"sha256": "abc"}, "64 small hexadecimal digits"),
        ({"input": {"size": [8, 8], "mean": [1]}}, "mean needs 3 numbers"),
        ({"input": {"size": [8, 8], "std": [1, 1, 0]}}, "std must be positive"),
        ({"input": {"size": [8, 0]}}, "size must be"),
        ({"input": {"scale": -1}}, "input.scale"),
        ({"target": None}, "target: "),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(DeepInsideError, match=words):
        make_spec({**MINIMAL, **change})


def test_specs_are_frozen() -> None:
    spec = make_spec(MINIMAL)
    with pytest.raises(AttributeError):
        spec.name = "other"  # type: ignore[misc]


def test_a_yaml_remembers_its_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nfile: mine.onnx\ntarget: fc8\ninput: {size: [8, 8]}\n")
    spec = find_spec(str(tmp_path / "mine.yaml"))
    assert spec.local_file == tmp_path / "mine.onnx"
    assert spec.input.size == (8, 8)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_what_is_no_declaration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DeepInsideError, match=r"bad\.yaml"):
        read_spec(tmp_path / "bad.yaml")


def test_unknown_networks_list_the_nearest_first() -> None:
    with pytest.raises(DeepInsideError, match="nearest first: caffenet"):
        find_spec("cafenet")


def labelled(folder: Path, text: str) -> NetworkSpec:
    (folder / "labels").mkdir()
    (folder / "labels" / "few.txt").write_text(text)
    return replace(make_spec({**MINIMAL, "labels": "few"}), folder=str(folder))


def test_labels_with_and_without_index_and_wordnet_id(tmp_path: Path) -> None:
    spec = labelled(tmp_path, "# mine\n0\tn01440764\ttench\nn01443537 goldfish\n\nking penguin\n")
    found = [(label.index, label.wnid, label.name) for label in read_labels(spec)]
    assert found == [(0, "n01440764", "tench"), (1, "n01443537", "goldfish"), (2, "", "king penguin")]


def test_labels_out_of_order_or_missing_are_refused(tmp_path: Path) -> None:
    spec = labelled(tmp_path, "1\tn01440764\ttench\n")
    with pytest.raises(DeepInsideError, match="class 0 is expected"):
        read_labels(spec)
    with pytest.raises(DeepInsideError, match=r"none\.txt is not in"):
        read_labels(replace(spec, labels="none"))


def test_groups_hold_what_the_network_knows(tmp_path: Path) -> None:
    spec = labelled(tmp_path, "0\tn01440764\ttench\n1\tn02123394\tPersian cat\n2\tn02123045\ttabby\n")
    assert read_groups(spec, read_labels(spec)) == {"cats": (2, 1)}


def test_a_declaration_is_read_without_torch() -> None:
    use = "from deepinside.networks.spec import find_spec; find_spec('caffenet')"
    code = f"import sys; {use}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
