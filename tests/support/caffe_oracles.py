"""A Caffe network's values by its converted ONNX file, and by OpenCV, which reads Caffe's files itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from deepinside.networks.caffe.graph import CaffeNetwork
from deepinside.networks.onnx.graph import with_outputs

Array = np.ndarray


def by_onnx(network: CaffeNetwork, image: Array) -> dict[str, Array]:
    """Every layer's value by its Caffe name, computed by onnxruntime for one image."""
    model, weights = with_outputs(network.model, list(network.layers.values()))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = network.model.graph.input[0].name
    found = session.run(list(network.layers.values()), {name: image.astype(np.float32), **weights})
    return dict(zip(network.layers, found, strict=True))


def by_opencv(prototxt: Path, caffemodel: Path, image: Array, layers: Sequence[str]) -> dict[str, Array]:
    """The values of `layers`, computed by OpenCV for one image, each layer by itself."""
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    net.enableFusion(False)
    net.setInput(image.astype(np.float32), "data")
    return dict(zip(layers, net.forward(list(layers)), strict=True))


def largest_difference(found: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """The largest difference of a value in `found` over the layer's largest; infinite where shapes differ."""
    return max(difference(value, expected[name]) for name, value in found.items())


def difference(found: Array, expected: Array) -> float:
    if found.shape != expected.shape:
        return float("inf")
    assert np.abs(expected).max() > 0, "a layer of zeros shows nothing"
    return float(np.abs(found - expected).max() / np.abs(expected).max())
