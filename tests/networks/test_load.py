"""Loading: a network comes out verified or not at all, and real weights know a cat when they see one."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from graphs import average_pool, caffe, filters, model, node, save
from onnx import helper

from deepinside.errors import DeepInsideError
from deepinside.networks import fetch
from deepinside.networks.load import load, locate
from deepinside.networks.network import Network
from deepinside.networks.onnx.convert import _detect
from deepinside.networks.onnx.graph import PreparedGraph, prepare_graph
from deepinside.networks.spec import NetworkSpec, Reference, find_spec

SQUEEZENET = Path(__file__).parents[3] / "shared" / "models" / "squeezenet1.0-9.onnx"
needs_squeezenet = pytest.mark.skipif(not SQUEEZENET.is_file(), reason="the real SqueezeNet is not here")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_declared_hash_is_the_files(tmp_path: Path) -> None:
    spec = save(caffe(), tmp_path, target="fc8")
    found = digest(spec.local_file)
    assert load(replace(spec, sha256=found)).sha256 == found
    with pytest.raises(DeepInsideError, match=f"should have SHA-256 {'0' * 64}, found {found}"):
        load(replace(spec, sha256="0" * 64))


def test_a_missing_file_is_fetched_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = save(caffe(), tmp_path, target="fc8")
    asked = []

    def fetched(spec: NetworkSpec, *, cache: Path | None = None) -> Path:
        asked.append(cache)
        return tmp_path / "tiny.onnx"

    monkeypatch.setattr(fetch, "fetch", fetched)
    assert locate(replace(spec, folder=str(tmp_path / "elsewhere")), cache=tmp_path) == tmp_path / "tiny.onnx"
    assert locate(spec) == spec.local_file
    assert asked == [tmp_path]


def test_an_unknown_target_lists_the_layers(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match="no layer 'fc9'; known, nearest first: fc8"):
        load(save(caffe(), tmp_path, target="fc9"))


def test_labels_must_be_as_many_as_scores(tmp_path: Path) -> None:
    spec = save(caffe(), tmp_path, target="fc8", labels="imagenet_1000")
    with pytest.raises(DeepInsideError, match="name 1000 classes, but the target 'fc8' has 10 scores"):
        load(spec)


def test_layers_the_file_has_not_got_are_reported(tmp_path: Path) -> None:
    given = {"conv1": "conv1_1", "prob": "prob_1", "drop6": "fc6_3", "conv9": "conv9_1"}
    network = load(save(caffe(), tmp_path, target="fc8", layers=given))
    assert [note for note in network.deviations if "conv9 (conv9_1)." in note]
    assert network.resolve("drop6") == "relu6"
    with pytest.raises(DeepInsideError, match="no layer 'conv9'"):
        network.resolve("conv9")


def single(kind: str, *, opset: int, domain: str = "", **attributes: object) -> onnx.ModelProto:
    nodes = [helper.make_node(kind, ["data_0"], ["odd_1"], name="odd", domain=domain, **attributes)]
    proto = model([*nodes, node("Flatten", "odd_1", "flat_1")], {}, output="flat_1", opset=opset)
    if domain:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    return proto


def test_an_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    spec = save(single("Hardmax", opset=13), tmp_path, target="flatten1", output="scores")
    with pytest.raises(
        DeepInsideError, match=r"tiny\.onnx: the operator Hardmax \(node 'odd', opset 13\) is not supported"
    ) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_an_operator_of_another_domain_is_refused(tmp_path: Path) -> None:
    spec = save(single("Odd", opset=13, domain="my.ops"), tmp_path, target="flatten1", output="scores")
    with pytest.raises(DeepInsideError):
        load(spec)


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 17])
def test_old_and_new_opsets_load(tmp_path: Path, opset: int) -> None:
    proto = caffe()
    if opset > 9:
        for item in proto.graph.node:
            del item.output[1:]
        proto.ir_version = 8
        proto = onnx.version_converter.convert_version(proto, opset)
    proto.opset_import[0].version = opset
    network = load(save(proto, tmp_path, target="fc8"))
    assert list(network.layers)[-3:] == ["fc6", "relu6", "fc8"]


def test_a_batch_fixed_to_two_loads(tmp_path: Path) -> None:
    proto = caffe()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    proto.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.array([2, 72], dtype=np.int64), "OC2_DUMMY_1"))
    assert load(save(proto, tmp_path, target="fc8")).scores(torch.zeros(3, 3, 32, 32)).shape == (3, 10)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("opset", [9, 13])
def test_googlenets_average_pooling_loads(tmp_path: Path, include: int, opset: int) -> None:
    window = {"kernel_shape": [7, 7], "strides": [1, 1], "pads": [0, 0, 1, 1]}
    proto = average_pool(opset=opset, count_include_pad=include, **window)
    network = load(save(proto, tmp_path, target="flatten1", output="scores"))
    assert network.layers["pool"].shape == (3, 27, 27)
    assert max(network.checks.values()) <= 1e-5


def test_a_batch_mixed_by_the_graph_is_refused(tmp_path: Path) -> None:
    """A file whose batch of one cannot be freed must not pass: its images would run into each other."""
    weights = {**filters(np.random.default_rng(0), "fc", (4, 1024)), "shape": np.array([3, 1024], dtype=np.int64)}
    nodes = [node("Reshape", "data_0 shape", "mixed_1"), node("Gemm", "mixed_1 fc_w_0 fc_b_0", "fc_1", transB=1)]
    spec = save(model(nodes, weights, output="fc_1"), tmp_path, target="fc", output="scores")
    with pytest.raises(DeepInsideError, match="should hold one row of class scores for each image, found 3×4 for one"):
        load(spec)


def test_the_graph_for_a_single_image_is_prepared_only_if_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def prepared(original: onnx.ModelProto, spec: NetworkSpec, *, single_image: bool = False) -> PreparedGraph:
        asked.append(single_image)
        return prepare_graph(original, spec, single_image=single_image)

    monkeypatch.setattr("deepinside.networks.load.prepare_graph", prepared)
    load(save(caffe(), tmp_path, target="fc8"))
    assert asked == [False]


CONVERT = """
import sys, json, warnings
warnings.simplefilter("error")
{before}
from graphs import caffe, save
from pathlib import Path
from types import SimpleNamespace
from deepinside.networks.load import load
network = load(save(caffe(), Path({folder!r}), target="fc8"))
print(json.dumps([max(network.checks.values()), "torchvision" in sys.modules]))
"""
BROKEN = """
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
sys.meta_path.insert(0, Broken())
"""


@pytest.mark.parametrize("before", ["", BROKEN], ids=["torchvision", "broken torchvision"])
def test_a_classifier_needs_no_torchvision(tmp_path: Path, before: str) -> None:
    code = CONVERT.format(before=before, folder=str(tmp_path))
    tests = Path(__file__).parents[1] / "support"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tests)
    assert done.returncode == 0, done.stderr
    worst, present = json.loads(done.stdout)
    assert worst <= 1e-5
    assert not present, "torchvision was imported, or the stand-in stayed"


def test_a_detection_operator_uses_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    ops = SimpleNamespace(nms=lambda boxes, scores: boxes[:scores])
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(ops=ops))
    assert _detect("nms", [1, 2, 3], scores=2) == [1, 2]


def test_a_detection_operator_without_torchvision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DeepInsideError, match="roi_align needs a torchvision that matches"):
        _detect("roi_align")


# --- the real SqueezeNet -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def squeezenet() -> Network:
    spec = find_spec("squeezenet")
    return load(replace(spec, folder=str(SQUEEZENET.parent), sha256=digest(SQUEEZENET)))


@needs_squeezenet
def test_the_real_squeezenet_loads_and_knows_its_reference(squeezenet: Network) -> None:
    assert max(squeezenet.checks.values()) <= 1e-4
    assert len(squeezenet.checks) == len(squeezenet.layers) >= 60
    assert squeezenet.scores(torch.zeros(2, 3, 224, 224)).shape == (2, 1000)
    assert "spatial mean of layer conv10" in squeezenet.deviations[0]


@needs_squeezenet
def test_no_class_of_the_real_squeezenet_is_dead_at_zero(squeezenet: Network) -> None:
    """Behind the rectifier nine classes score exactly 0 from the zero image and cannot move (their gradient is 0)."""
    x = torch.zeros(1, 3, 224, 224)
    after = squeezenet.activations(x, ["pool10"])["pool10"].flatten()
    dead = (after == 0).nonzero().flatten().tolist()
    assert len(dead) == 9
    starts = torch.zeros(len(dead), 3, 224, 224, requires_grad=True)
    scores = squeezenet.scores(starts)[range(len(dead)), dead]
    (slopes,) = torch.autograd.grad(scores.sum(), starts)
    assert (slopes.abs().amax(dim=(1, 2, 3)) > 0).all()


@needs_squeezenet
def test_a_wrong_reference_class_stops_the_real_squeezenet(squeezenet: Network) -> None:
    wrong = Reference(photo="chelsea", classes=("n07920052",))
    with pytest.raises(DeepInsideError, match="the reference photo should be n07920052 espresso, found n02"):
        load(replace(squeezenet.spec, reference=wrong))
