"""From Caffe's files to a network that runs: the files written, the preprocessing, the figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from caffe_nets import ARCHITECTURES, CaffeNet, caffenet, googlenet, old_blob
from caffe_oracles import difference

import deepinside as di
from deepinside.cli import model
from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.convert import convert
from deepinside.networks.load import load
from deepinside.networks.spec import read_spec

MEAN = np.random.default_rng(5).uniform(90, 130, (3, 80, 80)).astype(np.float32)
EXACT = 2e-5


def files(folder: Path, net: CaffeNet | None = None) -> tuple[Path, Path]:
    return (net or caffenet()).write(folder / "caffe")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_converted_network_computes_what_caffe_does_at_every_layer(name: str, tmp_path: Path) -> None:
    net = ARCHITECTURES[name]()
    convert(*net.write(tmp_path / "caffe"), tmp_path / "out", name=name, mean="104,117,123")
    network = load(read_spec(tmp_path / "out" / f"{name}.yaml"))
    image = torch.from_numpy(net.image).float().flip(1)  # Caffe's BGR as image space
    layers = [layer for layer in net.values if layer in network.layers]
    assert set(net.values) - set(layers) <= {"prob", "loss", "drop", "drop6", "drop7", "pool5/drop_6x6_s1"}
    for layer, found in network.activations(image, layers).items():
        assert difference(found.numpy().reshape(net.values[layer].shape), net.values[layer]) < EXACT, layer


def test_dropped_values_keep_their_names(tmp_path: Path) -> None:
    convert(*files(tmp_path), tmp_path, name="net", mean="104,117,123")
    network = load(read_spec(tmp_path / "net.yaml"))
    assert network.resolve("drop6") == "relu6"
    assert network.target == "fc8"
    assert network.deviations == ()
    assert network.notes == ()


@pytest.mark.parametrize("suffix", ["npy", "binaryproto"])
def test_a_mean_image_becomes_part_of_the_network(suffix: str, tmp_path: Path) -> None:
    mean = tmp_path / f"ilsvrc_2012_mean.{suffix}"
    if suffix == "npy":
        np.save(mean, MEAN)
    else:
        mean.write_bytes(old_blob(MEAN).SerializeToString())
    net = caffenet()
    convert(*files(tmp_path, net), tmp_path / "out", name="net", mean=str(mean))
    spec = read_spec(tmp_path / "out" / "net.yaml")
    pixels = torch.randint(0, 256, (1, 3, 67, 67), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    native = spec.input.native(spec.input.to_network(pixels)).numpy()
    np.testing.assert_allclose(native, pixels.numpy()[:, ::-1] - MEAN[None, :, 6:73, 6:73], atol=1e-5)
    assert spec.checked is None  # nothing of the preprocessing is a guess


def test_the_average_of_a_mean_image(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", MEAN)
    convert(*files(tmp_path), tmp_path, name="net", mean=str(tmp_path / "mean.npy"), mean_fit="channels")
    np.testing.assert_allclose(read_spec(tmp_path / "net.yaml").input.mean, MEAN.mean((1, 2)), rtol=1e-6)
    assert not (tmp_path / "net_mean.npy").exists()


def test_the_prototxts_own_mean_and_scale(tmp_path: Path) -> None:
    net = caffenet()
    net.head = """layer { name: "data" type: "Data" top: "data" top: "label" transform_param {
        crop_size: 67 mean_value: 103.939 mean_value: 116.779 mean_value: 123.68 scale: 0.017 } }"""
    convert(*files(tmp_path, net), tmp_path, name="net")
    taken = read_spec(tmp_path / "net.yaml").input
    native = taken.native(taken.to_network(torch.full((1, 3, 1, 1), 255.0)))[0, :, 0, 0]
    expected = [0.017 * (255 - mean) for mean in (103.939, 116.779, 123.68)]
    np.testing.assert_allclose(native, expected, rtol=1e-5)


def test_without_a_mean_the_yaml_says_that_it_is_a_guess(tmp_path: Path) -> None:
    found, _ = convert(*files(tmp_path), tmp_path, name="net")
    assert found.notes[-1].startswith("No mean was given: the YAML has a usual one, marked CHECK.")
    text = (tmp_path / "net.yaml").read_text()
    marked = [line.split(":")[0].strip(" #") for line in text.splitlines() if "CHECK: " in line]
    assert marked == ["mean", "labels", "licence"]
    assert any("is a guess" in note for note in load(read_spec(tmp_path / "net.yaml")).notes)


def test_a_grey_network(tmp_path: Path) -> None:
    net = CaffeNet(28, channels=1)
    net.conv("conv1", 4, 5)
    net.pool("pool1", 2, stride=2)
    net.inner("ip1", 10)
    net.softmax()
    convert(*files(tmp_path, net), tmp_path, name="lenet", mean="33")
    network = load(read_spec(tmp_path / "lenet.yaml"))
    assert network.input.channels == "grey"
    image = torch.from_numpy(net.image).float()
    assert difference(network.scores(image).numpy(), net.values["ip1"]) < EXACT


REFUSED = {
    "a mean for other channels": ({"mean": "1,2"}, "--mean has 2 numbers, but the network takes 3 channels"),
    "no such mean": ({"mean": "none.npy"}, r"none\.npy cannot be read as a mean"),
    "no weights": ({"caffemodel": "none.caffemodel"}, r"none\.caffemodel cannot be read as a caffemodel"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_nothing_is_written_if_something_does_not_fit(fault: str, tmp_path: Path) -> None:
    changed, said = REFUSED[fault]
    prototxt, caffemodel = files(tmp_path)
    caffemodel = Path(changed.get("caffemodel", caffemodel))
    with pytest.raises(DeepInsideError, match=said):
        convert(prototxt, caffemodel, tmp_path / "out", name="net", mean=changed.get("mean"))
    assert not (tmp_path / "out").exists()


def test_a_mean_image_that_is_too_small(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", MEAN[:, :60])
    given = {"name": "net", "mean": str(tmp_path / "mean.npy")}
    with pytest.raises(
        DeepInsideError, match="is a mean image of 3×60×80, but the network takes 3×67×67: give its own"
    ):
        convert(*files(tmp_path), tmp_path / "out", **given)
    convert(*files(tmp_path), tmp_path / "out", **given, mean_fit="resize")
    assert load(read_spec(tmp_path / "out" / "net.yaml")).mean.shape == (3, 67, 67)


def test_weights_that_are_not_numbers_are_refused_and_nothing_stays(tmp_path: Path) -> None:
    net = caffenet()
    net.blobs["conv2"][0][0] = np.nan
    with pytest.raises(DeepInsideError):
        convert(*files(tmp_path, net), tmp_path / "out", name="net", mean="104,117,123")
    assert list((tmp_path / "out").iterdir()) == []


def test_existing_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_text("mine")
    with pytest.raises(
        DeepInsideError, match=r"net\.onnx exists already and is not overwritten: choose another --name"
    ):
        convert(*files(tmp_path), tmp_path, name="net")
    assert (tmp_path / "net.onnx").read_text() == "mine"


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote_and_what_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    prototxt, caffemodel = files(tmp_path, googlenet())
    assert model.main(["convert", str(prototxt), str(caffemodel), "--name", "mine", "--mean", "104,117,123"]) == 0
    said = capsys.readouterr()
    assert said.out == "wrote conf_models/mine.onnx, conf_models/mine.yaml. Run with network=mine.\n"
    assert "Its labels are unknown: classes have numbers." in said.err


def test_a_prototxt_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prototxt, _ = files(tmp_path)
    assert model.main(["convert", str(prototxt)]) == 1
    assert "deploy.prototxt has no weights: give the .caffemodel after it" in capsys.readouterr().err


def test_from_caffe_to_a_saliency_map_and_an_inversion_with_the_mean_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("mean.npy", MEAN)
    convert(*files(tmp_path), Path("conf_models"), name="mine", mean="mean.npy")
    result = di.run("fig2_saliency", network="mine", **{"images.names": ["chelsea"], "technique.crops": "centre"})
    assert (result.folder / "figure.png").is_file()
    provenance = yaml.safe_load((result.folder / "provenance.json").read_text())
    assert provenance["network"]["mean_sha256"] == read_spec(Path("conf_models/mine.yaml")).input.mean_sha256
    written = yaml.safe_load(Path("conf_models/mine.yaml").read_text())
    assert set(written["layers"]) >= {"conv1", "relu1", "fc8"}
