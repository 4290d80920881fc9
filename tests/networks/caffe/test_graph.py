"""Whole networks: every blob against numpy and against OpenCV, which reads Caffe's files by itself."""

from pathlib import Path

import numpy as np
import pytest
from caffe_nets import ARCHITECTURES, CaffeNet, caffenet, old_blob
from caffe_oracles import by_onnx, by_opencv, largest_difference

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.graph import read_network
from deepinside.networks.caffe.messages import array, message_class

EXACT = 1e-5
V1 = [name for name in ARCHITECTURES if name != "resnet"]  # BatchNorm is younger than that format


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_blob_as_numpy_and_opencv_compute_it(name: str, tmp_path: Path) -> None:
    net = ARCHITECTURES[name]()
    files = net.write(tmp_path)
    network = read_network(*files)
    assert list(network.layers) == list(net.values)
    assert largest_difference(by_onnx(network, net.image), net.values) < EXACT
    assert largest_difference(by_opencv(*files, net.image, list(net.values)), net.values) < EXACT


@pytest.mark.parametrize("name", V1)
def test_the_second_format_gives_the_same_network(name: str, tmp_path: Path) -> None:
    net = ARCHITECTURES[name]()
    old, new = read_network(*net.write(tmp_path / "old", v1=True)), read_network(*net.write(tmp_path / "new"))
    assert old.layers == new.layers
    assert old.model.graph.node == new.model.graph.node
    assert old.model.graph.initializer == new.model.graph.initializer


def test_the_first_format(tmp_path: Path) -> None:
    """`layers { layer {} }` with padding layers, as in the first CaffeNet files."""
    net = CaffeNet(16)
    net.conv("conv1", 4, 3, pad=1, group=1)
    net.relu("relu1")
    net.pool("pool1", 2, stride=2, how="AVE")
    net.lrn("norm1", size=3, alpha=1e-2)
    net.inner("fc2", 5)
    net.softmax()
    prototxt, caffemodel = net.write(tmp_path)
    prototxt.write_text(
        """
        input: "data" input_dim: 10 input_dim: 3 input_dim: 16 input_dim: 16
        layers { layer { name: "pad1" type: "padding" pad: 1 } bottom: "data" top: "pad1" }
        layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 stride: 1 } bottom: "pad1" top: "conv1"}
        layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
        layers { layer { name: "pool1" type: "pool" kernelsize: 2 stride: 2 pool: AVE } bottom: "conv1" top: "pool1" }
        layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.01 beta: 0.75 } bottom: "pool1" top: "norm1" }
        layers { layer { name: "fc2" type: "innerproduct" num_output: 5 } bottom: "norm1" top: "fc2" }
        layers { layer { name: "prob" type: "softmax" } bottom: "fc2" top: "prob" }
        """
    )
    assert largest_difference(by_onnx(read_network(prototxt, caffemodel), net.image), net.values) < EXACT
    old = message_class("NetParameter")()
    for name, blobs in net.blobs.items():
        layer = old.layers.add().layer
        layer.name, layer.type = name, "conv" if name == "conv1" else "innerproduct"
        layer.blobs.extend(map(old_blob, blobs))
    caffemodel.write_bytes(old.SerializeToString())
    assert largest_difference(by_onnx(read_network(prototxt, caffemodel), net.image), net.values) < EXACT


TRAIN_VAL = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 32 mean_file: "train.binaryproto" } data_param { source: "x" } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { crop_size: 67 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 }
  data_param { source: "y" batch_size: 50 backend: LMDB } }
"""
LOSSES = """
layer { name: "aux" type: "InnerProduct" bottom: "pool2" top: "aux" inner_product_param { num_output: 3 }
  exclude { phase: TEST } }
layer { name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss" }
"""


def test_a_train_val_prototxt_gives_the_network_of_the_test_phase_and_its_preprocessing(tmp_path: Path) -> None:
    net = caffenet()
    net.head = TRAIN_VAL
    del net.layers[-1]  # the soft-max
    prototxt, caffemodel = net.write(tmp_path)
    prototxt.write_text(prototxt.read_text() + LOSSES)
    network = read_network(prototxt, caffemodel)
    assert list(network.layers) == [name for name in net.values if name != "prob"]
    assert (network.mean, network.scale, network.mean_file) == ((104, 117, 123), 0.5, "")
    (note,) = network.notes
    assert note == "Left out, because they follow the class scores: accuracy (Accuracy), loss (SoftmaxWithLoss)."


def test_auxiliary_classifiers_are_left_out_and_named(tmp_path: Path) -> None:
    """As in GoogLeNet's train_val, whose two auxiliary classifiers end in losses before the last one does."""
    net = CaffeNet(16)
    net.conv("conv1", 4, 3)
    net.inner("loss1/classifier", 5, bottom="conv1")
    net.add("loss1/loss", "SoftmaxWithLoss", ["loss1/classifier", "label"], np.zeros(()))
    net.inner("loss3/classifier", 5, bottom="conv1")
    net.add("loss3/loss3", "SoftmaxWithLoss", ["loss3/classifier", "label"], np.zeros(()))
    network = read_network(*net.write(tmp_path))
    assert list(network.layers) == ["conv1", "loss3/classifier"]
    assert network.notes[1] == "Left out, because the class scores do not depend on them: loss1/classifier."


def test_unknown_fields_are_allowed_and_named_but_not_those_of_training(tmp_path: Path) -> None:
    net = caffenet()
    prototxt, caffemodel = net.write(tmp_path)
    text = prototxt.read_text().replace(
        'name: "conv1" ', 'name: "conv1" quantize_param { bits: 8 } param { lr_mult: 1 decay_mult: 0 } # note: this\n'
    )
    prototxt.write_text(text)
    assert read_network(prototxt, caffemodel).notes == (
        "Unknown fields of the prototxt, which were ignored: quantize_param, bits.",
    )


def test_blobs_that_are_called_otherwise_than_their_layer_are_aliases(tmp_path: Path) -> None:
    net = CaffeNet(8)
    net.conv("first", 2, 3)
    net.layers[-1] = (*net.layers[-1][:3], ["blob1"], net.layers[-1][4])
    net.now["blob1"], net.last = net.now["first"], "blob1"
    net.relu("second")
    net.inner("scores", 4)
    network = read_network(*net.write(tmp_path))
    assert network.layers == {"first": "first", "second": "second", "scores": "scores"}
    assert network.aliases == {"blob1": "second"}


REFUSED = {
    "no weights": (
        lambda text: text.replace('name: "fc8"', 'name: "fc8_mine"'),
        "layer 'fc8_mine' (InnerProduct) needs weights, but .* has none under that name; it has 'fc8', which",
    ),
    "another shape": (
        lambda text: text.replace("num_output: 10", "num_output: 11"),
        "layer 'fc8' (InnerProduct) needs weights of 11×24, but .* has 10×24: give the caffemodel that was trained",
    ),
    "an unsupported type": (
        lambda text: text.replace('type: "Softmax"', 'type: "SPP"'),
        "layer 'prob' (SPP) is of a type that is not supported; supported are AbsVal",
    ),
    "an unknown blob": (
        lambda text: text.replace('bottom: "pool5"', 'bottom: "pool6"'),
        "layer 'fc6' (InnerProduct) reads the blob 'pool6', which no layer before it makes; known: ['pool",
    ),
    "no size": (
        lambda text: text.replace("input_param", "dropout_param"),
        "should declare one image input of N×3×H×W or N×1×H×W, found none of known size: give the deploy prototxt",
    ),
    "batch statistics": (
        lambda text: text.replace('type: "LRN"', 'type: "BatchNorm" batch_norm_param { use_global_stats: false }'),
        "needs weights",
    ),
    "stochastic pooling": (lambda text: text.replace("pool: MAX", "pool: STOCHASTIC"), "pools stochastically"),
    "a kernel of none": (lambda text: text.replace("kernel_size: 11", "kernel_size: 0"), "has kernel_size [0], but"),
    "a kernel too large": (lambda text: text.replace("dim: 67 dim: 67", "dim: 7 dim: 7"), "a kernel larger than its"),
    "groups that do not divide": (lambda text: text.replace("group: 2", "group: 3"), "has 16 outputs in 3 groups"),
    "an even neighbourhood": (lambda text: text.replace("local_size: 5", "local_size: 4"), "has local_size 4, but an"),
    "no layers": (lambda text: 'name: "empty"', "has no layers: give the prototxt of a network"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_fit_is_said_in_one_sentence(fault: str, tmp_path: Path) -> None:
    change, said = REFUSED[fault]
    prototxt, caffemodel = caffenet().write(tmp_path)
    prototxt.write_text(change(prototxt.read_text()))
    with pytest.raises(DeepInsideError) as caught:
        read_network(prototxt, caffemodel)
    sentence = str(caught.value).replace(str(caffemodel), ".*")
    assert said in sentence
    assert str(prototxt) in sentence
    assert "\n" not in sentence


def test_a_missing_blob_of_a_layer_is_named(tmp_path: Path) -> None:
    net = caffenet()
    prototxt, caffemodel = net.write(tmp_path)
    net.blobs["fc8"] = net.blobs["fc8"][:1]
    caffemodel.write_bytes(net.caffemodel())
    with pytest.raises(DeepInsideError, match=r"layer 'fc8' .* needs biases of 10, but .* has 1 blobs for it"):
        read_network(prototxt, caffemodel)


def test_more_blobs_than_the_settings_use_are_refused_as_caffe_does(tmp_path: Path) -> None:
    """Such as the BatchNorm of a fork, which has its scale and bias inside."""
    net = caffenet()
    net.blobs["fc8"].append(net.random(10))
    with pytest.raises(DeepInsideError, match=r"layer 'fc8' .* uses 2 trained blobs, but .* has 3 for it"):
        read_network(*net.write(tmp_path))


def test_comments_in_any_encoding_and_a_label_input(tmp_path: Path) -> None:
    prototxt, caffemodel = caffenet().write(tmp_path)
    expected = read_network(prototxt, caffemodel)
    label = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 10 } } }\n'
    prototxt.write_bytes("# 网络\n".encode("gbk") + label.encode() + prototxt.read_bytes())
    assert read_network(prototxt, caffemodel).model == expected.model


def test_exchanged_files_are_named(tmp_path: Path) -> None:
    prototxt, caffemodel = caffenet().write(tmp_path)
    with pytest.raises(DeepInsideError, match=r"weights\.caffemodel (is not text|cannot be read as a prototxt)"):
        read_network(caffemodel, prototxt)
    with pytest.raises(DeepInsideError, match=r"deploy\.prototxt (cannot be read as a caffemodel|has no weights)"):
        read_network(prototxt, prototxt)


def test_double_precision_weights(tmp_path: Path) -> None:
    net = CaffeNet(8)
    net.conv("conv", 2, 3)
    prototxt, caffemodel = net.write(tmp_path)
    expected = read_network(prototxt, caffemodel)
    model = message_class("NetParameter").FromString(caffemodel.read_bytes())
    for one in model.layer[0].blobs:
        values = array(one, what="")
        del one.data[:]
        one.double_data.append(np.ascontiguousarray(values, "<f8").tobytes())
    caffemodel.write_bytes(model.SerializeToString())
    assert read_network(prototxt, caffemodel).model == expected.model
