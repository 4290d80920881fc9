"""The declared part of Caffe's protocol buffers: numbers, defaults, blobs."""

import re
from pathlib import Path

import numpy as np
import pytest
from caffe_nets import blob, old_blob

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.messages import FIELDS, array, message_class, read_binary, undeclared


def test_a_binary_file_written_by_hand() -> None:
    """Field 100 of the network (tag 0xa206) has a layer: name, type, and a blob whose numbers are packed floats."""
    numbers = np.array([1.5, -2.0], "<f4").tobytes()
    shape = b"\x3a\x03\x0a\x01\x02"  # field 7, a message of 3 bytes: packed dim [2]
    data = b"\x2a\x08" + numbers  # field 5, 8 bytes
    layer = b"\x0a\x01a\x12\x04Bias\x3a" + bytes([len(shape + data)]) + shape + data
    net = message_class("NetParameter").FromString(b"\xa2\x06" + bytes([len(layer)]) + layer)
    (found,) = net.layer
    assert (found.name, found.type) == ("a", "Bias")
    np.testing.assert_array_equal(array(found.blobs[0], what="it"), [1.5, -2.0])


def test_blobs_in_both_shapes() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(array(blob(values), what="it"), values)
    np.testing.assert_array_equal(array(old_blob(values), what="it"), values[None, None])


def test_a_blob_of_another_size_than_its_shape_is_named() -> None:
    wrong = blob(np.zeros((2, 3)))
    wrong.shape.dim[0] = 5
    with pytest.raises(DeepInsideError, match="the weights should be 5×3 numbers, found 6: the file is damaged"):
        array(wrong, what="the weights")


def test_defaults_are_caffes() -> None:
    layer = message_class("LayerParameter")()
    assert (layer.lrn_param.local_size, layer.lrn_param.beta, layer.lrn_param.k) == (5, 0.75, 1)
    assert (layer.eltwise_param.operation, layer.pooling_param.pool) == (1, 0)  # SUM, MAX
    assert (layer.convolution_param.group, layer.convolution_param.bias_term) == (1, True)
    assert layer.batch_norm_param.eps == pytest.approx(1e-5)
    assert (layer.flatten_param.end_axis, layer.reshape_param.num_axes, layer.exp_param.base) == (-1, -1, -1)
    assert not layer.scale_param.bias_term


def test_every_declaration_is_well_formed() -> None:
    for name, fields in FIELDS.items():
        parts = [part.split() for part in fields.split(";")]
        assert len({part[0] for part in parts}) == len({part[1] for part in parts}) == len(parts), name
        assert all(re.fullmatch(r"\d+", part[0]) for part in parts)
        assert message_class(name)() is not None


def test_undeclared_fields_are_found_outside_strings_and_comments() -> None:
    text = 'layer { name: "a: b" # c: d\n new_field: 3 other_param { x: "e:" } weight_filler { type: "xavier" } }'
    assert undeclared(text) == ["new_field", "other_param", "x"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"none\.caffemodel cannot be read as a caffemodel"):
        read_binary(tmp_path / "none.caffemodel", "NetParameter")
