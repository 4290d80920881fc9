"""Write HOG, HOG with bilinear orientations and dense SIFT as one ONNX network, `conf_models/hog_sift.onnx`.

    python tools/export_hog_sift.py --out conf_models

Nothing is learned: every weight follows from the definitions of UoCTTI HOG (Felzenszwalb et al. 2010) and dense SIFT
(Lowe 2004), as VLFeat computes them and Mahendran & Vedaldi 2014, Sect. 4, write them as convolutions. The file is the
same to the byte wherever this is run.
"""

import argparse
from dataclasses import dataclass, field
from math import pi, sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 128
"""Height and width of the image."""
IR_VERSION, OPSET = 8, 13
CLAMP = 0.2
"""No normalised bin is larger, in HOG and in SIFT."""
TINY = 1e-36
"""Stands for zero below a root or a fraction, so that a flat region has a gradient of zero and not 0/0."""
MARGIN = 1e-5
"""Of a bin."""
HOG_ORIENTATIONS, HOG_CELL, HOG_LEAST_ENERGY = 9, 8, 1e-20
SIFT_ORIENTATIONS, SIFT_BIN, SIFT_LEAST_ENERGY = 4, 5, 1e-6
SIFT_CELLS, SIFT_STEP, SIFT_WINDOW = 4, 3, 1.5
"""4×4 cells a descriptor, one descriptor every 3 cells, weighted by a Gaussian of 1.5 cells."""


@dataclass
class Graph:
    """The nodes and constants written so far."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, kind: str, output: str, *inputs: str, **attributes: object) -> str:
        """A node computing the value `output`; returns its name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, values: object) -> str:
        """A constant: float32 if `values` are floats, int64 if they are integers."""
        array = np.asarray(values)
        self.constants[name] = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return name

    def conv(self, output: str, source: str, filters: np.ndarray, bias: object = None, **attributes: object) -> str:
        constants = [self.constant(f"{output}_filters", filters.astype(float))]
        constants += [] if bias is None else [self.constant(f"{output}_bias", bias)]
        return self.add("Conv", output, source, *constants, kernel_shape=list(filters.shape[2:]), **attributes)

    def model(self, size: int, outputs: list[str]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, size, size])
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None, None, None]) for name in outputs]
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "hog_sift", [image], values, constants)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="deepinside")


def add_gradient(graph: Graph) -> None:
    """`gradient` (N, 2, H-2, W-2): half the difference of the neighbours, right and down; `magnitude`: its norm."""
    filters = np.zeros((2, 1, 3, 3))
    filters[0, 0, 1] = filters[1, 0, :, 1] = -0.5, 0, 0.5
    graph.conv("gradient", "image", filters)
    graph.add("Mul", "gradient_squared", "gradient", "gradient")
    graph.add("ReduceSum", "energy", "gradient_squared", graph.constant("channels", [1]), keepdims=1)
    graph.add("Clip", "energy_positive", "energy", graph.constant("tiny", TINY))
    graph.add("Sqrt", "magnitude", "energy_positive")


def add_angle(graph: Graph) -> None:
    """`angle` (N, 1, h, w): that of the gradient in half turns, from -1/2 (up) by 0 (right) and 1/2 (down) to 3/2."""
    for place, name in enumerate(("across", "down")):
        bounds = [graph.constant(f"{name}_{key}", [place + shift]) for key, shift in (("start", 0), ("end", 1))]
        graph.add("Slice", name, "gradient", *bounds, "channels")
    graph.add("Abs", "across_mirrored", "across")
    graph.add("Add", "half_angle_run", "magnitude", "across_mirrored")
    graph.add("Div", "half_angle_slope", "down", "half_angle_run")
    graph.add("Atan", "half_angle", "half_angle_slope")
    graph.add("Mul", "tilt", "half_angle", graph.constant("half_turns_per_half_radian", 2 / pi))
    graph.add("Less", "is_leftward", "across", graph.constant("zero", 0.0))
    graph.add("Sub", "tilt_from_left", graph.constant("one", 1.0), "tilt")
    graph.add("Where", "angle", "is_leftward", "tilt_from_left", "tilt")
    graph.add("Mul", "angle_moment", "angle", "magnitude")


def bins(orientations: int) -> range:
    """The bins that angles from -π/2 to 3π/2 can fall into, K of them a half turn, and the next one."""
    return range(-((orientations + 1) // 2), (3 * orientations + 1) // 2 + 1)


def fold(orientations: int) -> np.ndarray:
    """(2K, bins): adds up the bins that are a full turn apart."""
    return np.array([[float((k - j) % (2 * orientations) == 0) for k in bins(orientations)]
                     for j in range(2 * orientations)])  # fmt: skip


def add_nearest_bins(graph: Graph, name: str, orientations: int) -> tuple[str, np.ndarray]:
    """(N, S, h, w) of which a matrix (2K, S) makes histograms: the magnitude in the bin of the nearest direction.

    Channel k holds the magnitude if the angle lies beyond the middle of bins k-1 and k, so a bin is the difference of
    two. The middle itself belongs to bin k-1, as in VLFeat: `MARGIN` keeps rounding from moving it.
    """
    edges = np.array([k - 0.5 + MARGIN for k in bins(orientations)]) / orientations
    graph.add("Greater", f"{name}_is_beyond", "angle", graph.constant(f"{name}_edges", edges.reshape(1, -1, 1, 1)))
    graph.add("Cast", f"{name}_beyond", f"{name}_is_beyond", to=TensorProto.FLOAT)
    differences = np.eye(len(edges)) - np.eye(len(edges), k=1)
    return graph.add("Mul", f"{name}_bins", f"{name}_beyond", "magnitude"), fold(orientations) @ differences


def add_bilinear_bins(graph: Graph, name: str, orientations: int) -> tuple[str, np.ndarray]:
    """The same with the magnitude m shared between the two nearest directions, in proportion to the angles.

    The share of bin k at angle a, max(0, 1 - |a - k|), is the second difference over k of max(0, a - k). So channel k
    holds max(0, m·a - m·k), one convolution and one ReLU.
    """
    steps = [k - 1 for k in (*bins(orientations), bins(orientations).stop, bins(orientations).stop + 1)]
    graph.add("Concat", f"{name}_moments", "angle_moment", "magnitude", axis=1)
    filters = np.array([[float(orientations), -float(k)] for k in steps])
    graph.conv(f"{name}_beyond", f"{name}_moments", filters[:, :, None, None])
    second = sum(factor * np.eye(len(steps) - 2, len(steps), k=k) for k, factor in enumerate((1.0, -2.0, 1.0)))
    return graph.add("Relu", f"{name}_bins", f"{name}_beyond"), fold(orientations) @ second


def add_cells(graph: Graph, name: str, source: str, histogram: np.ndarray, cell: int, pad: int) -> str:
    """(N, 2K, rows, columns): histograms over overlapping windows of 2×2 cells, weighted by a triangle.

    `histogram` (2K, S) makes the 2K bins of the source's channels. It is applied to sums along columns, which are few;
    before the sums along rows, since differences of larger sums lose digits.
    """
    triangle = 1 - np.abs(np.arange(2 * cell) - cell + 0.5) / cell
    count, channels = histogram.shape
    along = {"strides": [cell, 1], "pads": [pad, 0, pad, 0]}
    graph.conv(f"{name}_columns", source, np.tile(triangle[:, None], (channels, 1, 1, 1)), group=channels, **along)
    graph.conv(f"{name}_histograms", f"{name}_columns", histogram[:, :, None, None])
    across = {"strides": [1, cell], "pads": [0, pad, 0, pad]}
    return graph.conv(f"{name}_cells", f"{name}_histograms", np.tile(triangle, (count, 1, 1, 1)), group=count, **across)


def add_hog(graph: Graph, name: str, *, bilinear: bool) -> list[str]:
    """`name` (N, 27, h, w): 18 directions and 9 orientations, the mean over the four blocks a cell is in, times two.

    `name_texture` appends the 4 block energies: VLFeat's 31 channels.
    """
    count = 2 * HOG_ORIENTATIONS
    source, histogram = (add_bilinear_bins if bilinear else add_nearest_bins)(graph, name, HOG_ORIENTATIONS)
    # one more than half a cell: the gradient lacks the image's border, where VLFeat takes it to be zero
    cells = add_cells(graph, name, source, histogram, HOG_CELL, HOG_CELL // 2 + 1)
    undirected = np.tile(np.eye(HOG_ORIENTATIONS), 2)
    graph.conv(f"{name}_undirected", cells, undirected[:, :, None, None])
    graph.add("Concat", f"{name}_both", cells, f"{name}_undirected", axis=1)
    corners = [add_block(graph, name, place) for place in add_block_norms(graph, name)]
    graph.add("Sum", f"{name}_blocks", *corners)
    graph.add("Mul", name, f"{name}_blocks", graph.constant(f"{name}_half", 0.5))
    energy = np.concatenate([np.zeros(count), np.full(HOG_ORIENTATIONS, 1 / sqrt(count))])
    textures = [graph.conv(f"{corner}_texture", corner, energy[None, :, None, None]) for corner in corners]
    return [name, graph.add("Concat", f"{name}_texture", name, *textures, axis=1)]


def add_block_norms(graph: Graph, name: str) -> list[str]:
    """For each corner, the norm of the block of 2×2 cells that has the cell in it; the border's cells are repeated."""
    graph.add("Mul", f"{name}_squares", f"{name}_undirected", f"{name}_undirected")
    graph.add("ReduceSum", f"{name}_energy", f"{name}_squares", "channels", keepdims=1)
    pads = graph.constant(f"{name}_border", [0, 0, 1, 1, 0, 0, 1, 1])
    graph.add("Pad", f"{name}_padded", f"{name}_energy", pads, mode="edge")
    graph.conv(f"{name}_block_energy", f"{name}_padded", np.ones((1, 1, 2, 2)))
    least = graph.constant(f"{name}_least", HOG_LEAST_ENERGY)
    graph.add("Clip", f"{name}_block_positive", f"{name}_block_energy", least)
    graph.add("Sqrt", f"{name}_norms", f"{name}_block_positive")
    side = SIZE // HOG_CELL
    graph.constant(f"{name}_axes", [2, 3])
    found = []
    for corner, (row, column) in {"nw": (0, 0), "ne": (0, 1), "sw": (1, 0), "se": (1, 1)}.items():
        starts = graph.constant(f"{name}_{corner}_start", [row, column])
        ends = graph.constant(f"{name}_{corner}_end", [row + side, column + side])
        found.append(graph.add("Slice", f"{name}_{corner}", f"{name}_norms", starts, ends, f"{name}_axes"))
    return found


def add_block(graph: Graph, name: str, norms: str) -> str:
    graph.add("Div", f"{norms}_normalised", f"{name}_both", norms)
    most = graph.constant(f"{norms}_most", CLAMP)
    return graph.add("Clip", f"{norms}_clamped", f"{norms}_normalised", "", most)


def add_sift(graph: Graph, name: str) -> list[str]:
    """`name` (N, 128, h, w): 4×4 cells of 8 directions (row, column, direction), normalised and clamped."""
    count = 2 * SIFT_ORIENTATIONS
    source, histogram = add_bilinear_bins(graph, name, SIFT_ORIENTATIONS)
    cells = add_cells(graph, name, source, histogram, SIFT_BIN, 0)
    offsets = np.arange(SIFT_CELLS) - (SIFT_CELLS - 1) / 2
    weights = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / SIFT_WINDOW**2)
    each = np.eye(SIFT_CELLS)
    blocks = np.einsum("rc,rR,cC,dD->rcdDRC", weights, each, each, np.eye(count))
    graph.conv(f"{name}_blocks", cells, blocks.reshape(-1, *blocks.shape[3:]), strides=[SIFT_STEP, SIFT_STEP])
    graph.add("Mul", f"{name}_squares", f"{name}_blocks", f"{name}_blocks")
    graph.add("ReduceSum", f"{name}_energy", f"{name}_squares", "channels", keepdims=1)
    graph.add("Add", f"{name}_positive", f"{name}_energy", graph.constant(f"{name}_least", SIFT_LEAST_ENERGY))
    graph.add("Sqrt", f"{name}_norms", f"{name}_positive")
    graph.add("Div", f"{name}_normalised", f"{name}_blocks", f"{name}_norms")
    return [graph.add("Clip", name, f"{name}_normalised", "", graph.constant(f"{name}_most", CLAMP))]


def to_onnx() -> onnx.ModelProto:
    """The network."""
    graph = Graph()
    add_gradient(graph)
    add_angle(graph)
    outputs = add_hog(graph, "hog", bilinear=False) + add_hog(graph, "hogb", bilinear=True) + add_sift(graph, "dsift")
    model = graph.model(SIZE, outputs)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("conf_models"), help="folder of hog_sift.onnx")
    path = parser.parse_args().out / "hog_sift.onnx"
    path.write_bytes(to_onnx().SerializeToString(deterministic=True))
    print(path)


if __name__ == "__main__":
    main()
