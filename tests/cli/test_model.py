"""`deepinside-model`: what it prints of a file, and drafts that load as they are."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from graphs import caffe, linear, save, squeeze
from onnx import ModelProto

import deepinside.networks.fetch
import deepinside.networks.load
import deepinside.networks.spec
from deepinside.cli.model import main
from deepinside.networks.load import load
from deepinside.networks.spec import NetworkSpec, read_spec


def put(model: ModelProto, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def caffe_file(tmp_path: Path) -> Path:
    return put(caffe(), tmp_path / "weights" / "my.net-1.onnx")


def drafted(file: Path, folder: Path, *more: str) -> NetworkSpec:
    assert main(["draft", str(file), "--folder", str(folder), *more]) == 0
    (written,) = folder.glob("*.yaml")
    return read_spec(written)


# ------------------------------------------------------------------------------------------------- draft


def test_a_draft_loads_as_it_is(caffe_file: Path, tmp_path: Path) -> None:
    spec = drafted(caffe_file, tmp_path / "conf_models")
    assert (spec.name, spec.output, spec.target) == ("my_net-1", "softmax", "fc8")
    assert (spec.input.channels, spec.input.size, spec.input.mean) == ("bgr", (32, 32), (104, 117, 123))
    network = load(spec)
    assert list(network.layers) == list(spec.layers)
    assert {"conv1", "relu1", "pool1", "norm1", "conv2", "fc6", "fc8"} <= set(spec.layers)
    assert network.sha256 == spec.sha256


def test_a_draft_reads_scores_before_a_rectifier(tmp_path: Path) -> None:
    spec = drafted(put(squeeze(), tmp_path / "squeeze.onnx"), tmp_path / "here")
    assert spec.target == "conv10"
    assert load(spec).classes == 6
    assert "come after a ReLU" in (tmp_path / "here" / "squeeze.yaml").read_text()


def test_a_renamed_layer_of_a_draft_is_known_by_its_new_name(caffe_file: Path, tmp_path: Path) -> None:
    drafted(caffe_file, tmp_path / "here", "--name", "mine")
    path = tmp_path / "here" / "mine.yaml"
    path.write_text(path.read_text().replace("  conv1: conv1_1", "  edges: conv1_1"))
    assert load(read_spec(path)).resolve("conv1_1") == "edges"


@pytest.mark.parametrize(("classes", "labels"), [(100, "tiny_imagenet_100"), (1000, "imagenet_1000"), (7, None)])
def test_labels_are_guessed_by_their_number(classes: int, labels: str | None, tmp_path: Path) -> None:
    spec = drafted(put(caffe(classes=classes, softmax=False), tmp_path / "net.onnx"), tmp_path / "here")
    assert (spec.labels, spec.output) == (labels, "scores")


def test_labels_may_be_named(tmp_path: Path) -> None:
    spec = drafted(put(caffe(classes=7), tmp_path / "net.onnx"), tmp_path / "here", "--labels", "seven")
    assert spec.labels == "seven"


def test_what_the_file_does_not_say_is_marked(caffe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draft", str(caffe_file), "--stdout"]) == 0
    marked = [line.split(":")[0].strip(" #") for line in capsys.readouterr().out.splitlines() if " # CHECK" in line]
    assert marked == ["channels", "scale", "mean", "std", "labels", "licence", "source"]


def test_values_named_by_numbers_stay_text(tmp_path: Path) -> None:
    model = caffe(softmax=False)
    for node in model.graph.node:
        node.input[:] = ["317" if value == "conv1_2" else value for value in node.input]
        node.output[:] = ["317" if value == "conv1_2" else value for value in node.output]
    spec = drafted(put(model, tmp_path / "net.onnx"), tmp_path / "here")
    assert "317" in spec.layers.values()
    assert load(spec).layers[load(spec).resolve("317")].kind == "Relu"


def test_a_draft_overwrites_nothing(
    caffe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["draft", str(caffe_file)]) == 0
    path = tmp_path / "conf_models" / "my_net-1.yaml"
    path.write_text("mine")
    assert main(["draft", str(caffe_file)]) == 1
    assert path.read_text() == "mine"
    assert "not overwritten" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- inspect


def test_inspect_prints_layers_target_and_softmax(caffe_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(caffe_file)]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["conv1", "conv1_1", "Conv", "8", "x", "14", "x", "14"] in rows
    assert ["relu1", "conv1_2", "Relu", "8", "x", "14", "x", "14"] in rows
    assert "data_0: 1 x 3 x 32 x 32" in out
    assert "ends in a soft-max" in out
    assert "fc8 (fc8_1), 10 classes" in out


def test_inspect_names_a_free_batch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    assert main(["inspect", str(put(linear(np.ones((4, 3, 8, 8))), tmp_path / "linear.onnx"))]) == 0
    out = capsys.readouterr().out
    assert "data_0: N x 3 x 8 x 8" in out
    assert "without a soft-max" in out


def without_image(model: ModelProto) -> ModelProto:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    return model


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"GIF89a", "cannot be read as an ONNX model"),
        (b"", "not an ONNX model"),
        (without_image(caffe()).SerializeToString(), "should be (N, 3 or 1, H, W), found [1, 5, 32, 32]"),
    ],
    ids=["not ONNX", "empty", "five channels"],
)
def test_bad_files_get_one_sentence(
    content: bytes, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert complaint in captured.err and "bad.onnx" in captured.err


# ------------------------------------------------------------------------------------------------- fetch and list


def test_fetch_prints_where_the_file_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = save(caffe(), tmp_path, target="fc8")
    asked, verified = [], []
    monkeypatch.setattr(
        deepinside.networks.fetch, "fetch", lambda spec, cache: asked.append(spec.name) or spec.local_file
    )
    monkeypatch.setattr(deepinside.networks.spec, "find_spec", lambda name: replace(spec, name="squeezenet"))
    monkeypatch.setattr(deepinside.networks.load, "verify", lambda *_, **__: verified.append(1) or {"fc8": 1e-7})
    for _ in range(2):
        assert main(["fetch", "squeezenet"]) == 0
        out, err = capsys.readouterr()
        assert out.strip() == str(spec.local_file)
        assert "1 layers agree with onnxruntime; largest difference 1.0e-07" in err
    assert len(verified) == 2, "what is remembered does not count here"
    monkeypatch.setattr(deepinside.networks.spec.NetworkSpec, "local_file", tmp_path / "not yet")
    monkeypatch.setattr(
        deepinside.networks.fetch, "fetch", lambda spec, cache: asked.append(spec.name) or tmp_path / spec.file
    )
    assert main(["fetch", "squeezenet"]) == 0
    assert set(asked) == {"squeezenet"}


def test_a_dry_run_prints_every_mirror_in_order_and_fetches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path))
    monkeypatch.setattr(deepinside.networks.fetch, "fetch", lambda *_, **__: pytest.fail("a dry run fetches"))
    assert main(["fetch", "--all", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(", ")[2] for line in lines if line.startswith("tinycaffenet: ")] == ["built in"]
    place = lines.index("caffenet: caffenet-12.onnx, 244 MB, not downloaded")
    path = "validated/vision/classification/caffenet/model/caffenet-12.onnx"
    assert lines[place + 1 : place + 4] == [
        "  https://huggingface.co/onnxmodelzoo/caffenet-12/resolve/main/caffenet-12.onnx",
        f"  https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/{path}",
        f"  https://media.githubusercontent.com/media/onnx/models/main/{path}",
    ]
    (tmp_path / "caffenet-12.onnx").write_bytes(b"")
    assert main(["fetch", "caffenet", "--dry-run"]) == 0
    assert capsys.readouterr().out == "caffenet: caffenet-12.onnx, 244 MB, in the cache\n"


def test_fetch_of_an_unknown_network_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "squeezent"]) == 1
    assert "squeezenet, " in capsys.readouterr().err


def test_list_says_which_files_are_here(
    tmp_path: Path, caffe_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path / "cache"))
    put(caffe(), tmp_path / "cache" / "vgg16-12.onnx")
    drafted(caffe_file, tmp_path / "conf_models")
    capsys.readouterr()
    assert main(["list"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "553 MB" in rows["vgg16"] and rows["vgg16"].strip().endswith("in the cache")
    assert rows["vgg19"].strip().endswith("not downloaded")
    assert "my_net-1" in rows


def test_help_needs_neither_onnx_nor_torch() -> None:
    script = (
        "import sys; from deepinside.cli.model import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'onnx', 'torch', 'rich', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
