"""Surgery on small graphs with the zoo's habits: what comes off, what is renamed, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import average_pool, caffe, filters, model, node, save, squeeze
from onnx import ModelProto, TensorProto, helper, numpy_helper

from deepinside.errors import DeepInsideError
from deepinside.networks.onnx.graph import PreparedGraph, canonical_names, prepare_graph, read
from deepinside.networks.spec import NetworkSpec


def run(proto: ModelProto, images: np.ndarray, *values: str) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(list(values) or None, {"data_0": images})


def images(count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-120, 130, (count, 3, 32, 32)).astype(np.float32)


def one_by_one(proto: ModelProto, batch: np.ndarray) -> np.ndarray:
    return np.concatenate([run(proto, image[None])[0] for image in batch])


def scored(tmp_path: Path, proto: ModelProto, **settings: object) -> PreparedGraph:
    return prepare_graph(proto, save(proto, tmp_path, target="any", output="scores", **settings))


@pytest.mark.parametrize("opset", [7, 9, 10, 12, 13, 17])
def test_the_caffe_graph_after_surgery_gives_the_files_own_probabilities(tmp_path: Path, opset: int) -> None:
    proto = caffe() if opset <= 9 else onnx.version_converter.convert_version(spliced_away(caffe()), opset)
    if opset == 7:
        proto.opset_import[0].version = 7
    prepared = prepare_graph(proto, save(proto, tmp_path, target="fc8"))
    scores = run(prepared.model(), images())[0]
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), one_by_one(proto, images()), atol=1e-5)


def spliced_away(proto: ModelProto) -> ModelProto:
    """The converter knows no two-output Dropout before opset 10; take the mask off first."""
    for item in proto.graph.node:
        if item.op_type == "Dropout":
            del item.output[1:]
    proto.ir_version = 8
    return proto


def test_nothing_of_dropout_softmax_reshape_or_a_fixed_batch_is_left(tmp_path: Path) -> None:
    proto = caffe()
    before = proto.SerializeToString(deterministic=True)
    prepared = prepare_graph(proto, save(proto, tmp_path, target="fc8"))
    graph = prepared.model().graph
    assert {item.op_type for item in graph.node}.isdisjoint({"Dropout", "Softmax", "Reshape"})
    assert [value.name for value in graph.input] == ["data_0"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert [value.name for value in graph.output] == ["fc8_1"]
    assert (prepared.same, prepared.cut, prepared.batch) == ({"fc6_3": "fc6_2"}, ("prob_1",), 1)
    assert prepared.body.ir_version <= 10
    assert proto.SerializeToString(deterministic=True) == before, "the model handed in was changed"


def test_layers_have_caffes_names_and_shapes_without_the_batch(tmp_path: Path) -> None:
    proto = caffe()
    layers = prepare_graph(proto, save(proto, tmp_path, target="fc8")).layers
    assert [layer.name for layer in layers] == [
        "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool5", "flatten1", "fc6", "relu6", "fc8",
    ]  # fmt: skip
    shapes = {layer.name: layer.shape for layer in layers}
    assert (shapes["pool1"], shapes["pool5"], shapes["fc8"]) == ((8, 7, 7), (8, 3, 3), (10,))


def test_a_spec_names_layers_and_the_rest_is_derived(tmp_path: Path) -> None:
    proto = caffe()
    given = {"first": "conv1_1", "drop6": "fc6_3", "prob": "prob_1"}
    names = {
        layer.value: layer.name
        for layer in prepare_graph(proto, save(proto, tmp_path, target="fc8", layers=given)).layers
    }
    assert (names["conv1_1"], names["conv1_2"], names["fc6_2"]) == ("first", "relu1", "relu6")
    assert "prob_1" not in names


def test_a_given_name_that_a_derived_one_would_take_stays_with_its_value(tmp_path: Path) -> None:
    proto = caffe()
    layers = prepare_graph(proto, save(proto, tmp_path, target="fc8", layers={"conv1": "conv1_2"})).layers
    names = {layer.value: layer.name for layer in layers}
    assert (names["conv1_2"], names["conv1_1"]) == ("conv1", "conv1_1")


def test_canonical_names_of_each_style() -> None:
    kinds = {
        "conv1_1_1": "Conv", "conv1_1_2": "Relu", "fire2/squeeze1x1_1": "Conv", "fire2/squeeze1x1_2": "Relu",
        "vgg0_conv0_fwd": "Conv", "317": "Clip", "/features/features.0/Conv_output_0": "Conv", "r7": "Conv",
        "r8": "Conv", "fc7_2": "Relu", "OC2_DUMMY_0": "Reshape",
    }  # fmt: skip
    assert list(canonical_names(kinds).values()) == [
        "conv1_1", "relu1_1", "fire2/squeeze1x1", "fire2/relu_squeeze1x1", "vgg0_conv0", "clip1",
        "features/features_0/Conv", "conv5", "conv6", "relu7", "reshape1",
    ]  # fmt: skip


def test_canonical_names_are_unique() -> None:
    names = canonical_names({"a_1": "Conv", "a_2": "Conv", "a_3": "Sum"})
    assert list(names.values()) == ["a", "a_2", "a_3"]


# --- soft-max ----------------------------------------------------------------------------------------------------


def test_a_softmax_that_is_not_there_is_missed(tmp_path: Path) -> None:
    proto = caffe(softmax=False)
    with pytest.raises(DeepInsideError, match=r"softmax is declared, but the file ends in Gemm \(fc8_1\)"):
        prepare_graph(proto, save(proto, tmp_path, target="fc8"))


def test_a_softmax_nobody_declared_is_found(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"scores is declared, but the file ends in a soft-max \(prob_1\)"):
        scored(tmp_path, caffe())


def test_identity_and_dropout_behind_the_softmax_do_not_hide_it(tmp_path: Path) -> None:
    proto = squeeze()
    proto.graph.node.append(node("Identity", "softmaxout_1", "out"))
    proto.graph.output[0].name = "out"
    prepared = prepare_graph(proto, save(proto, tmp_path, target="conv10"))
    assert [value.name for value in prepared.body.graph.output] == ["pool10_1"]


def test_a_weight_behind_an_identity_keeps_its_values(tmp_path: Path) -> None:
    """Files in half precision have a Cast behind every weight, which in float32 is an identity."""
    proto = caffe()
    proto.graph.node.insert(0, node("Identity", "fc8_w_0", "moved"))
    next(item for item in proto.graph.node if "fc8_w_0" in item.input and item.op_type == "Gemm").input[1] = "moved"
    prepared = prepare_graph(proto, save(proto, tmp_path, target="fc8"))
    stored = next(tensor for tensor in proto.graph.initializer if tensor.name == "fc8_w_0")
    assert prepared.weights["moved"].name == "moved"
    assert np.array_equal(numpy_helper.to_array(prepared.weights["moved"]), numpy_helper.to_array(stored))
    assert stored.name == "fc8_w_0"


# --- the batch axis ----------------------------------------------------------------------------------------------


def reshaped(*shape: int, batch: int | str = 1, opset: int = 9) -> ModelProto:
    nodes = [node("Relu", "data_0", "relu_1"), node("Reshape", "relu_1 shape", "reshape_1")]
    weights = {"shape": np.array(shape, dtype=np.int64)}
    return model(nodes, weights, output="reshape_1", shape=(batch, 3, 32, 32), opset=opset)


@pytest.mark.parametrize("shape", [(1, 3072), (1, -1), (-1, 3072), (0, -1), (1, 3, 4, 256), (1, 6, -1), (-1, 3, 1024)])
def test_reshapes_keep_the_images_apart(tmp_path: Path, shape: tuple[int, ...]) -> None:
    out = run(scored(tmp_path, reshaped(*shape)).model(), images(3))[0]
    assert len(out) == 3
    np.testing.assert_array_equal(out.reshape(3, -1), np.maximum(images(3), 0).reshape(3, -1))


def test_a_reshape_whose_shape_is_a_constant_node(tmp_path: Path) -> None:
    proto = reshaped(1, 3072)
    shape = proto.graph.initializer.pop()
    proto.graph.node.insert(0, helper.make_node("Constant", [], ["shape"], value=shape))
    assert run(scored(tmp_path, proto).model(), images(3))[0].shape == (3, 3072)


def test_pytorchs_shape_gather_concat_reshape(tmp_path: Path) -> None:
    nodes = [
        node("Relu", "data_0", "relu_1"),
        node("Shape", "relu_1", "s"),
        node("Gather", "s zero", "n", axis=0),
        node("Unsqueeze", "n", "n1", axes=[0]),
        node("Concat", "n1 rest", "shape", axis=0),
        node("Reshape", "relu_1 shape", "flat"),
    ]
    weights = {"zero": np.array(0, dtype=np.int64), "rest": np.array([-1], dtype=np.int64)}
    proto = model(nodes, weights, output="flat", shape=("batch", 3, 32, 32), opset=11)
    prepared = scored(tmp_path, proto)
    assert [item.op_type for item in prepared.body.graph.node] == ["Relu", "Flatten"]
    assert run(prepared.model(), images(3))[0].shape == (3, 3072)


def test_a_reshape_of_a_weight_is_computed_now(tmp_path: Path) -> None:
    weights = {**filters(np.random.default_rng(0), "fc", (4, 3072)), "shape": np.array([4, 3072], dtype=np.int64)}
    weights["fc_w_0"] = weights["fc_w_0"].reshape(4, 3, 32, 32)
    nodes = [
        node("Flatten", "data_0", "flat_1"),
        node("Reshape", "fc_w_0 shape", "w2"),
        node("Gemm", "flat_1 w2 fc_b_0", "fc_1", transB=1),
    ]
    prepared = scored(tmp_path, model(nodes, weights, output="fc_1"))
    assert [item.op_type for item in prepared.body.graph.node] == ["Flatten", "Gemm"]
    assert set(prepared.weights) == {"w2", "fc_b_0"}


# --- padding -----------------------------------------------------------------------------------------------------

UNEQUAL = [
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
    {"kernel_shape": [7, 7], "strides": [1, 1], "pads": [0, 0, 1, 1]},
    {"kernel_shape": [5, 4], "strides": [3, 2], "pads": [2, 0, 1, 3]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1},
    {"kernel_shape": [4, 4], "strides": [3, 3], "pads": [3, 1, 0, 2], "count_include_pad": 1},
    {"kernel_shape": [4, 4], "strides": [3, 3], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [4, 2], "strides": [1, 3], "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("opset", [9, 11, 13])
@pytest.mark.parametrize("attributes", UNEQUAL)
def test_average_pools_with_unequal_padding(tmp_path: Path, attributes: dict[str, object], opset: int) -> None:
    proto = average_pool(opset=opset, **attributes)
    prepared = scored(tmp_path, proto)
    pads = [
        list(item.ints)
        for n in prepared.body.graph.node
        for item in n.attribute
        if n.op_type == "AveragePool" and item.name == "pads"
    ]
    assert all(found[:2] == found[2:] for found in pads), "the pooling still pads unequally"
    np.testing.assert_allclose(run(prepared.model(), images())[0], one_by_one(proto, images()), rtol=1e-5, atol=1e-4)
    assert [layer.name for layer in prepared.layers] == ["pool", "flatten1"]


def test_unequal_padding_that_also_rounds_up_is_refused(tmp_path: Path) -> None:
    proto = average_pool(opset=10, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], ceil_mode=1)
    with pytest.raises(DeepInsideError, match="AveragePool node 'pool_1' pads unequally"):
        scored(tmp_path, proto)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_of_convolutions_is_written_out(tmp_path: Path, mode: str) -> None:
    weights = filters(np.random.default_rng(0), "conv1", (4, 3, 4, 3))
    proto = model(
        [node("Conv", "data_0 conv1_w_0 conv1_b_0", "conv1_1", auto_pad=mode, strides=[3, 2], kernel_shape=[4, 3])],
        weights,
        output="conv1_1",
    )
    prepared = scored(tmp_path, proto)
    np.testing.assert_allclose(run(prepared.model(), images())[0], one_by_one(proto, images()), rtol=1e-5, atol=1e-4)
    assert not any(item.name == "auto_pad" and item.s != b"NOTSET" for item in prepared.body.graph.node[0].attribute)


# --- inputs that are not what was declared -----------------------------------------------------------------------


def test_another_size_than_declared_is_refused(tmp_path: Path) -> None:
    proto = caffe()
    spec = save(proto, tmp_path, target="fc8")
    with pytest.raises(DeepInsideError, match=r"takes \[3, 32, 32\] .* spec says \[3, 64, 64\]"):
        prepare_graph(proto, replace(spec, input=replace(spec.input, size=(64, 64))))


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    proto = caffe()
    proto.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    with pytest.raises(DeepInsideError, match="one image input is expected, found 2: data_0, other"):
        prepare_graph(proto, save(proto, tmp_path, target="fc8"))


def test_inputs_that_are_no_float_images_are_refused(tmp_path: Path) -> None:
    proto = caffe()
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(DeepInsideError, match=r"should be float32 with 4 axes.*found uint8"):
        prepare_graph(proto, save(proto, tmp_path, target="fc8"))


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not an ONNX file at all", b"\x08\x03", b"<html>404</html>"])
def test_what_is_no_onnx_file_is_said_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(DeepInsideError, match=r"bad\.onnx") as caught:
        read(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    whole = caffe().SerializeToString()
    (tmp_path / "cut.onnx").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DeepInsideError, match=r"cut\.onnx cannot be read as an ONNX model"):
        read(tmp_path / "cut.onnx")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"none\.onnx"):
        read(tmp_path / "none.onnx")


def external(folder: Path, place: str) -> NetworkSpec:
    proto = caffe()
    tensor = proto.graph.initializer[0]
    raw = numpy_helper.to_array(tensor).tobytes()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": str(len(raw))}.items():
        tensor.external_data.add(key=key, value=value)
    folder.mkdir(exist_ok=True)
    (folder / "tiny.onnx").write_bytes(proto.SerializeToString())
    (folder.parent / "outside.bin").write_bytes(raw)
    (folder / "inside.bin").write_bytes(raw)
    return NetworkSpec(name="tiny", file="tiny.onnx", target="fc8", input={"size": (32, 32)}, folder=str(folder))


def test_external_data_in_the_files_folder_is_read(tmp_path: Path) -> None:
    proto = read(external(tmp_path / "here", "inside.bin").local_file)
    np.testing.assert_array_equal(
        numpy_helper.to_array(proto.graph.initializer[0]), numpy_helper.to_array(caffe().graph.initializer[0])
    )


@pytest.mark.parametrize("place", ["../outside.bin", "/etc/hostname", "a/../../outside.bin"])
def test_external_data_outside_the_files_folder_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(DeepInsideError, match=r"tensor 'conv1_w_0' is outside the file's folder"):
        read(external(tmp_path / "here", place).local_file)


def test_external_data_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"should be in .*none\.bin, which does not exist"):
        read(external(tmp_path / "here", "none.bin").local_file)
