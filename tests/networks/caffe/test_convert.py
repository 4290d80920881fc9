"""From Caffe's files to a network that runs: the files written, the preprocessing, the figures."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from caffe_nets import ARCHITECTURES, CaffeNet, caffenet, googlenet, old_blob, random_net
from caffe_oracles import difference
from corridor import call, metrics

import deepinside as di
from deepinside.cli import model
from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.convert import convert
from deepinside.networks.load import load
from deepinside.networks.mean_image import mean_image
from deepinside.networks.spec import _mean_image, read_spec

MEAN = np.random.default_rng(5).uniform(90, 130, (3, 80, 80)).astype(np.float32)
EXACT = 2e-5


def files(folder: Path, net: CaffeNet | None = None) -> tuple[Path, Path]:
    return (net or caffenet()).write(folder / "caffe")


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_run_as_numpy_computes_them(seed: int, tmp_path: Path) -> None:
    net = random_net(seed)
    convert(*net.write(tmp_path), tmp_path, name="net", mean="100")
    network = load(read_spec(tmp_path / "net.yaml"))
    image = torch.from_numpy(net.image).float().flip(1)
    for layer, found in network.activations(image, list(network.layers)).items():
        if layer in net.values:
            assert difference(found.numpy().reshape(net.values[layer].shape), net.values[layer]) < EXACT, layer
    assert network.target == "scores"


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
    assert "Caffe's files have no labels: classes have numbers. Give --labels" in said.err


def test_a_prototxt_alone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prototxt, _ = files(tmp_path)
    assert model.main(["convert", str(prototxt)]) == 1
    assert "deploy.prototxt has no weights: give the .caffemodel after it" in capsys.readouterr().err


@pytest.fixture
def with_mean_image(bench: Path) -> di.Network:
    """CaffeNet with a mean image, converted as `mine` into the working directory."""
    np.save("mean.npy", MEAN)
    convert(*files(bench), Path("conf_models"), name="mine", mean="mean.npy")
    return di.load("mine")


def test_from_caffe_to_a_saliency_map(with_mean_image: di.Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiment of Fig. 2 with its ten crops and its claims, on the converted network."""
    assert call(monkeypatch, "experiment=fig2_saliency", "network=mine", "images.names=[chelsea]") == 0
    (folder,) = Path("results/fig2_saliency/mine").iterdir()
    assert (folder / "figure.png").is_file()
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["network"]["mean_sha256"] == with_mean_image.input.mean_sha256
    assert {claim["id"] for claim in metrics(folder)["claims"]} >= {"taylor_first_order"}


def test_the_mean_image_is_added_back_for_display(with_mean_image: di.Network) -> None:
    """What is shown of a photo are the photo's own intensities, of a class model its image plus the mean image."""
    net = with_mean_image
    small = torch.from_numpy(skimage.data.chelsea()[100:167, 100:167].copy()).permute(2, 0, 1)
    large = torch.from_numpy(skimage.data.chelsea()[100:176, 100:176].copy()).permute(2, 0, 1)
    once = {"layers": ["conv1"], "optimiser": {"schedule": [[1, 0.004]]}}
    for found, photo in (
        (di.saliency(net, small), small),
        (di.saliency(net, di.photos(net, large, enlarge=76 / 67), crops="ten"), large),
        (di.inversion(net, small, **once), small),
    ):
        torch.testing.assert_close(found[0].panels["photo"].values, photo.float(), atol=1e-3, rtol=0)
    mean = torch.from_numpy(MEAN[::-1, 6:73, 6:73].copy())
    (image,) = di.class_model(net, targets=[3], optimiser={"steps": 1, "rate": 1e-9})
    torch.testing.assert_close(image.panels["class_model"].values, mean, atol=1.0, rtol=0)


def test_photos_that_the_mean_does_not_fit_are_refused_before_any_work(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("mean.npy", MEAN)
    convert(*files(bench), Path("conf_models"), name="mine", mean="mean.npy", mean_fit="resize")
    call(monkeypatch, "technique=saliency", "network=mine", "images.names=[chelsea]", "images.enlarge=1.5")
    assert "mean_fit: resize fits the mean image to the network's 67×67, but photos" in capsys.readouterr().err


def test_another_mean_image_in_its_place_is_noticed(with_mean_image: di.Network) -> None:
    np.save("conf_models/mine_mean.npy", MEAN + 1)
    _mean_image.cache_clear()
    mean_image.cache_clear()
    with pytest.raises(DeepInsideError, match=r"mine_mean\.npy should have SHA-256"):
        di.load("mine")
