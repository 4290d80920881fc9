"""The zoo's networks: their declarations, and their graphs at full size with random weights (see `twins`)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from graphs import save, squeeze
from PIL import Image
from twins import TWINS, write_twin

from deepinside.config.composition import compose_dict
from deepinside.config.paths import ROOT
from deepinside.config.settings import build
from deepinside.errors import DeepInsideError
from deepinside.images.batches import all_batches
from deepinside.images.settings import ImageSettings
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.spec import NetworkSpec, conf_models, find_spec, read_labels, read_spec
from deepinside.types import Seeds

SHARED = Path(__file__).parents[3] / "shared"
SQUEEZENET = SHARED / "models" / "squeezenet1.0-9.onnx"
PHOTOS = SHARED / "data" / "photos"
DECLARED = sorted(path.stem for path in conf_models().glob("*.yaml") if read_spec(path).checked is None)  # not drafts
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}
LIMIT = 1e-4


def twin_spec(name: str, folder: Path) -> NetworkSpec:
    """The shipped declaration, for the twin's file."""
    return replace(find_spec(name), folder=str(folder), sha256=None, bytes=None, reference=None, weights="random")


# One network at a time: the tests of one are run together, and its file (half a gigabyte for VGG) is removed after.
@pytest.fixture(scope="module", params=TWINS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp(request.param)
    path = write_twin(request.param, folder)
    try:
        yield load(twin_spec(request.param, folder))
    finally:
        path.unlink()


# ------------------------------------------------------------------------------------------------- declarations


def test_the_ten_networks_are_declared() -> None:
    assert set(TWINS) <= set(DECLARED)


@pytest.mark.parametrize("name", DECLARED)
def test_a_declaration_is_whole(name: str) -> None:
    spec = find_spec(name)
    assert spec.name == name and spec.title and spec.licence and spec.source
    if not spec.layers:  # then they are derived from the file's own names
        return
    assert spec.target in spec.layers
    assert set(spec.aliases.values()) <= set(spec.layers)
    assert not set(spec.aliases) & set(spec.layers)
    assert len(set(spec.layers.values())) == len(spec.layers)


@pytest.mark.parametrize("name", TWINS)
def test_a_zoo_file_can_be_fetched_and_checked(name: str) -> None:
    spec = find_spec(name)
    assert spec.sha256 and spec.bytes and len(spec.urls) >= 2
    assert all(urlparse(url).scheme == "https" and url.endswith(f"/{spec.file}") for url in spec.urls)
    assert len(read_labels(spec)) == 1000
    assert (
        spec.reference and {label.name for label in read_labels(spec) if label.wnid in spec.reference.classes} == CATS
    )


@pytest.mark.parametrize(("stem", "count"), [("imagenet_1000", 1000), ("tiny_imagenet_100", 100)])
def test_label_files_are_in_order_and_unique(stem: str, count: int) -> None:
    rows = [line.split("\t") for line in (conf_models() / "labels" / f"{stem}.txt").read_text().splitlines()]
    assert [int(row[0]) for row in rows] == list(range(count))
    assert len({row[1] for row in rows}) == count


def test_classes_keep_their_names_on_both_lists() -> None:
    spec = find_spec("squeezenet")
    imagenet = {label.wnid: label for label in read_labels(spec)}
    assert imagenet["n02123045"].index == 281 and imagenet["n02123045"].name == "tabby"
    for label in read_labels(replace(spec, labels="tiny_imagenet_100")):
        assert imagenet[label.wnid].name == label.name


def test_groups_are_imagenets_own() -> None:
    groups = yaml.safe_load((conf_models() / "labels" / "groups.yaml").read_text(encoding="utf-8"))
    index = {label.wnid: label.index for label in read_labels(find_spec("squeezenet"))}
    assert [index[wnid] for wnid in groups["cats"]] == list(range(281, 286))
    assert [index[wnid] for wnid in groups["dogs"]] == list(range(151, 269))


# ------------------------------------------------------------------------------------------------- twins


def test_torch_and_onnxruntime_agree_at_every_layer(network: Network) -> None:
    computed_for_onnx2torch_only = {name for name, layer in network.layers.items() if layer.kind in ("Pad", "Mul")}
    computed_for_onnx2torch_only |= {name for name in network.layers if name.endswith("_undivided")}
    assert set(network.checks) == set(network.layers) - computed_for_onnx2torch_only
    assert max(network.checks.values()) <= LIMIT


def test_every_declared_layer_is_the_value_it_names(network: Network) -> None:
    for name, value in find_spec(network.name).layers.items():
        assert network.layers[name].value == value
        assert network.resolve(name) == network.resolve(value) == name


def test_aliases_lead_to_layers(network: Network) -> None:
    for alias, name in find_spec(network.name).aliases.items():
        assert network.resolve(alias) == name


def test_an_unknown_layer_lists_the_known_ones(network: Network) -> None:
    with pytest.raises(DeepInsideError) as raised:
        network.resolve("convolution 99")
    assert all(name in str(raised.value) for name in network.layers)


SMALL = {
    "class_model": ["technique.optimiser.steps=1"],
    "saliency": ["technique.relu_rule=guided"],
    "layer_gradients": [],
    "inversion": ["technique.layers=[40%]", "technique.optimiser.schedule=[[1,0.004]]"],
    "inversion_2016": ["technique.layers=[40%]", "technique.optimiser.schedule=[[1,1.0]]"],
    "localisation": ["technique.components=2"],
    "randomisation": ["technique.stages=1", "technique.rules=[guided]"],
    "faithfulness": ["technique.steps=2"],
    "fooling": ["technique.steps=2"],
    "occlusion": ["technique.side=0.5", "technique.stride=0.5"],
}
"""Every technique with as little work as it can do."""


def test_no_technique_is_left_out() -> None:
    assert set(SMALL) == {path.stem for path in (ROOT / "configs" / "technique").glob("*.yaml")}


@pytest.mark.parametrize("name", SMALL)
def test_every_technique_runs(network: Network, name: str) -> None:
    words = [f"technique={name}", f"network={network.name}", *SMALL[name]]
    technique = build(compose_dict(words)["technique"], "technique")
    (loaded,) = all_batches(ImageSettings(names=("chelsea",), resize="short_side_crop"), network.input)
    batch = loaded.batch
    assert batch is not None
    technique.check(network)
    output = technique(network, batch, Seeds(0))
    assert output.items
    for item in output.items:
        assert item.panels
        assert all(panel.values.isfinite().all() for panel in item.panels)
        assert all(np.isfinite(value) for value in item.metrics.values())


def test_a_twin_is_as_large_as_the_zoos_file(network: Network) -> None:
    spec = find_spec(network.name)
    assert network.spec.local_file.stat().st_size == pytest.approx(spec.bytes, rel=5e-4)


def test_scores_are_those_of_the_file_for_pixels_prepared_by_hand(network: Network) -> None:
    """The whole way again, written plainly: mean and order of channels by numpy, onnxruntime on the file, soft-max."""
    if network.name not in ("googlenet", "mobilenetv2", "resnet50"):
        pytest.skip("two conventions and a soft-max are enough; the large files take long")
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, 224, 224)).astype(np.float32)
    if network.name == "googlenet":
        native = pixels[:, ::-1] - np.array([104, 117, 123], np.float32).reshape(3, 1, 1)
    else:
        mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
        native = (pixels / 255 - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    session = onnxruntime.InferenceSession(str(network.spec.local_file), quiet(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(native)})[0]
    scores = network.scores(network.input.to_network(torch.from_numpy(pixels)))
    found = scores.softmax(dim=1) if network.spec.output == "softmax" else scores
    assert np.abs(found.numpy() - expected).max() <= LIMIT * np.abs(expected).max()


def quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 2
    return options


def test_relus_of_mobilenet_are_clips(network: Network) -> None:
    if network.name != "mobilenetv2":
        pytest.skip("of MobileNetV2 only")
    clips = [name for name, layer in network.layers.items() if layer.kind == "Clip"]
    assert len(clips) == 35 and all(name.startswith("relu") for name in clips)
    values = network.activations(50 * torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)), clips)
    assert max(value.max().item() for value in values.values()) == 6.0
    assert min(value.min().item() for value in values.values()) == 0.0


def test_conversion_leaves_onnx2torch_as_it_was(tmp_path: Path) -> None:
    """Its reader of tensors is replaced while the weights are read, and only then."""
    load(save(squeeze(), tmp_path, target="conv10"))
    from onnx2torch.onnx_tensor import OnnxTensor

    assert OnnxTensor.to_numpy.__module__ == OnnxTensor.__module__


# ------------------------------------------------------------------------------------------------- real weights


@pytest.mark.skipif(not (SQUEEZENET.exists() and PHOTOS.exists()), reason="real weights and photos are not at hand")
def test_squeezenet_knows_its_photos() -> None:
    """61 % top-1 is what it is known for. Its file here was packed again, hence the other SHA-256."""
    spec = replace(find_spec("squeezenet"), folder=str(SQUEEZENET.parent), sha256=None, bytes=None)
    network = load(spec)
    photos = sorted(PHOTOS.glob("n[0-9]*_*.jpg"))
    pixels = torch.stack([centre(path) for path in photos])
    best = network.scores(network.input.to_network(pixels)).argmax(dim=1).tolist()
    right = sum(network.labels[index].wnid == path.name[:9] for index, path in zip(best, photos, strict=True))
    assert right >= 0.61 * len(photos)


def centre(path: Path) -> torch.Tensor:
    """The middle 224x224 of a photo whose shorter side is scaled to 256, uint8 (3, 224, 224)."""
    with Image.open(path) as image:
        scale = 256 / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        left, top = (width - 224) // 2, (height - 224) // 2
        image = image.convert("RGB").resize((width, height)).crop((left, top, left + 224, top + 224))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
