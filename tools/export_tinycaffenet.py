"""Write the trained `tinycaffenet` as an ONNX file that looks like the model zoo's CaffeNet, and its record.

    python tools/export_tinycaffenet.py --data tiny-imagenet-200 --work build/tinycaffenet --out conf_models

The file has the zoo's value names (`conv1_1`, `conv1_2`, `pool1_1` … `fc8_1`, `prob_1`), its Dropout and soft-max
nodes, weights listed among the graph's inputs and a batch of one, so it takes the path a zoo file takes. Batch
normalisation is folded into the weights. They are stored in half precision, each behind a Cast to float32, which
halves the file. The record's accuracy is that of the written file, run by onnxruntime.
"""

import argparse
import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from train_tinycaffenet import (
    INPUT_SCALE,
    LRN_ALPHA,
    LRN_BETA,
    LRN_SCALE,
    LRN_SIZE,
    MEAN_BGR,
    SIZE,
    Flatten,
    LocalResponseNorm,
    TinyCaffeNet,
    read_split,
)

PACKAGES = ("torch", "numpy", "onnx", "pillow")
IR_VERSION, OPSET = 3, 9  # as in the zoo's caffenet-9
SCALES = {"conv1": LRN_SCALE / INPUT_SCALE, "conv2": 1.0, "conv3": 1 / LRN_SCALE}
"""What the weights are multiplied by, so that the file takes pixels and its LRN has Caffe's alpha."""
BIAS_SCALES = {"conv1": LRN_SCALE, "conv2": LRN_SCALE}


Weights = dict[str, np.ndarray]


@dataclass
class Graph:
    """The nodes and weights written so far; `last` is the value the next node reads."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    last: str = "data_0"

    def add(
        self, kind: str, outputs: list[str], weights: dict[str, np.ndarray] | None = None, **attributes: object
    ) -> None:
        names = [self.store(name, values) for name, values in (weights or {}).items()]
        self.nodes.append(helper.make_node(kind, [self.last, *names], outputs, **attributes))
        self.last = outputs[0]

    def store(self, name: str, values: np.ndarray) -> str:
        """Keeps the values, numbers as float16 with a Cast behind them; the name under which a node reads them."""
        if values.dtype != np.float32:
            self.weights.append(numpy_helper.from_array(values, name))
            return name
        self.weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        self.nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
        return name


def folded(name: str, layer: nn.Module) -> dict[str, np.ndarray]:
    """Weights and bias of a convolution or full layer with its batch normalisation multiplied in."""
    if isinstance(layer, nn.Linear):
        weight, bias = layer.weight.double(), layer.bias.double()
    else:
        linear, norm = layer[0], layer[1]
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = linear.weight.double() * gain.view(-1, *[1] * (linear.weight.ndim - 1))
        bias = norm.bias.double() - norm.running_mean.double() * gain
    scaled: tuple[Tensor, Tensor] = (weight * SCALES.get(name, 1.0), bias * BIAS_SCALES.get(name, 1.0))
    return {f"{name}_{part}_0": values.float().contiguous().numpy() for part, values in zip("wb", scaled, strict=True)}


def write_layer(graph: Graph, name: str, layer: nn.Module, owner: str) -> None:
    """One layer of the network as ONNX nodes; `owner` is the convolution or full layer a ReLU or Dropout follows."""
    if name.startswith("conv"):
        conv = layer[0]
        pads, strides = list(conv.padding) * 2, list(conv.stride)
        shape = {"kernel_shape": list(conv.kernel_size), "pads": pads, "strides": strides, "group": conv.groups}
        graph.add("Conv", [f"{name}_1"], folded(name, layer), **shape)
    elif name.startswith("fc"):
        graph.add("Gemm", [f"{name}_1"], folded(name, layer), transB=1)
    elif isinstance(layer, nn.ReLU):
        graph.add("Relu", [f"{owner}_2"])
    elif isinstance(layer, nn.MaxPool2d):
        # Caffe rounds the size up; exporters write that as padding at the end
        graph.add("MaxPool", [f"{name}_1"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
    elif isinstance(layer, LocalResponseNorm):
        graph.add("LRN", [f"{name}_1"], size=LRN_SIZE, alpha=LRN_ALPHA, beta=LRN_BETA, bias=1.0)
    elif isinstance(layer, nn.Dropout):
        graph.add("Dropout", [f"{owner}_3", f"_{owner}_mask_1"], ratio=layer.p)
    elif isinstance(layer, Flatten):
        graph.add("Reshape", ["OC2_DUMMY_0"], {"OC2_DUMMY_1": np.array([1, -1], np.int64)})


def to_onnx(net: TinyCaffeNet) -> onnx.ModelProto:
    graph, owner = Graph(), ""
    for name, layer in net.named_children():
        owner = name if name.startswith(("conv", "fc")) else owner
        write_layer(graph, name, layer, owner)
    graph.add("Softmax", ["prob_1"], axis=1)
    kinds = {np.dtype(np.float16): TensorProto.FLOAT16, np.dtype(np.int64): TensorProto.INT64}
    inputs = [helper.make_tensor_value_info("data_0", TensorProto.FLOAT, [1, 3, SIZE, SIZE])]
    for weight in graph.weights:
        array = numpy_helper.to_array(weight)
        inputs.append(helper.make_tensor_value_info(weight.name, kinds[array.dtype], array.shape))
    outputs = [helper.make_tensor_value_info("prob_1", TensorProto.FLOAT, [1, net.fc8.out_features])]
    body = helper.make_graph(graph.nodes, "tinycaffenet", inputs, outputs, graph.weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


def posteriors(file: Path, pixels: Tensor) -> Iterator[np.ndarray]:
    """The file's soft-max output for every image, one at a time, from raw BGR pixels minus the mean."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it would warn of weights listed among the inputs
    options.intra_op_num_threads = 1  # one small image at a time: more threads only wait for each other
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    mean = np.array(MEAN_BGR, np.float32).reshape(3, 1, 1)
    for image in pixels.numpy():
        yield session.run(["prob_1"], {"data_0": (image.astype(np.float32) - mean)[None]})[0][0]


def accuracy(file: Path, data: Path, wnids: list[str]) -> dict[str, float]:
    pixels, labels = read_split(data, "val", wnids)
    ranked = np.argsort(-np.stack(list(posteriors(file, pixels))), 1)[:, :5]
    hits = ranked == labels.numpy()[:, None]
    return {"top1": float(hits[:, 0].mean()), "top5": float(hits.any(1).mean()), "images": len(labels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the tiny-imagenet-200 folder")
    parser.add_argument("--work", type=Path, default=Path("build/tinycaffenet"), help="where the checkpoint lies")
    parser.add_argument("--out", type=Path, default=Path("conf_models"))
    arguments = parser.parse_args()
    state = torch.load(arguments.work / "checkpoint.pt", weights_only=True)
    wnids = [w for w in (arguments.data / "wnids.txt").read_text().split() if (arguments.data / "train" / w).is_dir()]
    net = TinyCaffeNet(len(wnids), state["recipe"]["dropout"])
    weights = {k.removeprefix("module."): v for k, v in state["mean_net"].items() if k.startswith("module.")}
    net.load_state_dict(weights)
    file = arguments.out / "tinycaffenet.onnx"
    with torch.no_grad():
        onnx.save(to_onnx(net.eval()), file)
    record = {
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "validation": accuracy(file, arguments.data, wnids),
        "data": "Tiny ImageNet, the 100 of its 200 classes listed in labels/tiny_imagenet_100.txt",
        "recipe": state["recipe"],
        "seconds": sum(row["seconds"] for row in state["curve"]),
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("torch", "numpy", "onnx", "pillow")},
        },
        "curve": state["curve"],
    }
    (arguments.out / "tinycaffenet.record.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps({key: record[key] for key in ("sha256", "bytes", "validation")}, indent=1))


if __name__ == "__main__":
    main()
