"""Keras applications as ONNX files by tf2onnx, with what TensorFlow computes for two images, to compare with.

Runs where tensorflow-cpu 2.21 and tf2onnx 1.17 are installed; deepinside is not needed there.

    python tools/keras_export.py FOLDER
    python tools/network_coverage.py keras FOLDER  # where deepinside is installed
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

NAMES = ("ResNet50", "InceptionV3", "Xception", "MobileNetV2", "DenseNet121", "MobileNetV3Small")
SIZE = 96
"""Height and width: enough for each of them, and quick."""
CLASSES = 1000
TARGET = 3


def images() -> np.ndarray:
    """Two images of noise, (2, H, W, 3) uint8; those of network_coverage.py."""
    return np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


def built(name: str, activation: str | None) -> tf.keras.Model:
    """The application with random weights, ending in `activation`."""
    make = getattr(tf.keras.applications, name)
    base = make(weights=None, input_shape=(SIZE, SIZE, 3), include_top=False, pooling="avg")
    scores = tf.keras.layers.Dense(CLASSES, activation=activation, name="predictions")(base.output)
    return tf.keras.Model(base.input, scores)


def export(name: str, folder: Path) -> None:
    """Write NAME.onnx, which ends in a soft-max, and NAME.npz: class scores and the gradient of one of them."""
    tf.keras.utils.set_random_seed(0)
    complete, plain = built(name, "softmax"), built(name, None)
    plain.set_weights(complete.get_weights())
    signature = [tf.TensorSpec([None, SIZE, SIZE, 3], tf.float32, name="image")]
    graph, _ = tf2onnx.convert.from_function(tf.function(complete), input_signature=signature, opset=17)
    onnx.save(graph, folder / f"{name}.onnx")
    x = tf.constant(images(), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = plain(x, training=False)
        target = scores[0, TARGET]
    gradient = tape.gradient(target, x)[0]
    np.savez(folder / f"{name}.npz", scores=scores.numpy(), gradient=gradient.numpy())


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in (name for name in NAMES if not (folder / f"{name}.npz").exists()):
        export(name, folder)
        print(name, flush=True)


if __name__ == "__main__":
    main()
