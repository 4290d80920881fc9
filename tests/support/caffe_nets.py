"""Caffe networks with random weights as prototxt and caffemodel, and their values computed in numpy.

The forward passes are written from Caffe's own layers, in float64 and without any code of the converter.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepinside.networks.caffe.messages import Message, message_class

Array = np.ndarray
V1_NAMES = {
    "Convolution": "CONVOLUTION", "Pooling": "POOLING", "LRN": "LRN", "InnerProduct": "INNER_PRODUCT", "ReLU": "RELU",
    "Dropout": "DROPOUT", "Softmax": "SOFTMAX", "Concat": "CONCAT", "Eltwise": "ELTWISE", "TanH": "TANH",
    "Sigmoid": "SIGMOID", "Power": "POWER", "Flatten": "FLATTEN", "Split": "SPLIT", "Slice": "SLICE",
    "AbsVal": "ABSVAL", "BNLL": "BNLL", "Exp": "EXP", "Deconvolution": "DECONVOLUTION",
}  # fmt: skip


class CaffeNet:
    """A network that is extended layer by layer, and at once computed for one random image.

    `values` has what every layer makes, by the layer's name (of several tops: by the top's), (1, …). `last` is the
    blob made last, which the next layer reads unless told otherwise.
    """

    def __init__(self, size: int | tuple[int, int] = 32, *, channels: int = 3, seed: int = 0, head: str = "") -> None:
        height, width = (size, size) if isinstance(size, int) else size
        self.rng = np.random.default_rng(seed)
        self.image = self.rng.uniform(-100, 100, (1, channels, height, width))
        self.head = head
        self.layers: list[tuple[str, str, list[str], list[str], str]] = []
        self.blobs: dict[str, list[Array]] = {}
        self.now = {"data": self.image}
        self.values: dict[str, Array] = {}
        self.last = "data"

    # --- writing ---------------------------------------------------------------------------------------------

    def prototxt(self, *, v1: bool = False) -> str:
        lines = ['name: "generated"', self.head or input_layer(self.image.shape, v1=v1)]
        for name, kind, bottoms, tops, settings in self.layers:
            said = f"type: {V1_NAMES[kind]}" if v1 else f'type: "{kind}"'
            ends = "".join(f' bottom: "{b}"' for b in bottoms) + "".join(f' top: "{t}"' for t in tops)
            lines.append(f'{"layers" if v1 else "layer"} {{ name: "{name}" {said}{ends} {settings} }}')
        return "\n".join(lines) + "\n"

    def caffemodel(self, *, v1: bool = False) -> bytes:
        net = message_class("NetParameter")(name="generated")
        kinds = {name: kind for name, kind, *_ in self.layers}
        for name, blobs in self.blobs.items():
            if v1:
                layer = net.layers.add(name=name)
                enum = layer.DESCRIPTOR.fields_by_name["type"].enum_type
                layer.type = enum.values_by_name[V1_NAMES[kinds[name]]].number
            else:
                layer = net.layer.add(name=name, type=kinds[name])
            layer.blobs.extend(old_blob(b) if v1 else blob(b) for b in blobs)
        return net.SerializeToString()

    def write(self, folder: Path, *, v1: bool = False) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        prototxt, caffemodel = folder / "deploy.prototxt", folder / "weights.caffemodel"
        prototxt.write_text(self.prototxt(v1=v1), encoding="utf-8")
        caffemodel.write_bytes(self.caffemodel(v1=v1))
        return prototxt, caffemodel

    # --- layers ----------------------------------------------------------------------------------------------

    def add(
        self, name: str, kind: str, bottoms: Sequence[str], value: Array | Sequence[Array], settings: str = "",
        blobs: Sequence[Array] = (), tops: Sequence[str] | None = None,
    ) -> str:  # fmt: skip
        tops = list(tops or [name])
        values = [value] if isinstance(value, np.ndarray) else list(value)
        self.layers.append((name, kind, list(bottoms), tops, settings))
        if blobs:
            self.blobs[name] = list(blobs)
        self.now.update(zip(tops, values, strict=True))
        self.values.update(zip([name] if len(tops) == 1 else tops, values, strict=True))
        self.last = tops[0]
        return self.last

    def random(self, *shape: int) -> Array:
        """Weights that keep the scale of what they multiply."""
        fan = float(np.prod(shape[1:])) or 1.0
        return (self.rng.normal(size=shape) * np.sqrt(2 / fan)).astype(np.float32)

    def x(self, bottom: str | None) -> Array:
        return self.now[bottom or self.last]

    def conv(
        self, name: str, outputs: int, kernel: int | tuple[int, int], *, bottom: str | None = None, stride: int = 1,
        pad: int = 0, group: int = 1, dilation: int = 1, bias: bool = True, separate: bool = False,
    ) -> str:  # fmt: skip
        x, (rows, columns) = self.x(bottom), (kernel, kernel) if isinstance(kernel, int) else kernel
        weight = self.random(outputs, x.shape[1] // group, rows, columns)
        offset = self.rng.normal(size=outputs).astype(np.float32) if bias else None
        size = f"kernel_size: {rows}" if rows == columns else f"kernel_h: {rows} kernel_w: {columns}"
        places = (
            f"stride_h: {stride} stride_w: {stride} pad_h: {pad} pad_w: {pad}"
            if separate
            else f"stride: {stride} pad: {pad}"
        )
        settings = f"convolution_param {{ num_output: {outputs} {size} {places} group: {group} "
        settings += f"dilation: {dilation} bias_term: {str(bias).lower()} weight_filler {{ type: 'xavier' }} }}"
        if dilation == 1:
            settings = settings.replace("dilation: 1 ", "")
        value = convolve(x, weight, offset, stride, pad, group, dilation)
        blobs = [weight] if offset is None else [weight, offset]
        return self.add(name, "Convolution", [bottom or self.last], value, settings, blobs)

    def deconv(self, name: str, outputs: int, kernel: int, *, stride: int = 1, pad: int = 0, group: int = 1) -> str:
        x = self.x(None)
        weight = self.random(x.shape[1], outputs // group, kernel, kernel)
        offset = self.rng.normal(size=outputs).astype(np.float32)
        settings = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} "
        value = deconvolve(x, weight, offset, stride, pad, group)
        return self.add(name, "Deconvolution", [self.last], value, f"{settings}group: {group} }}", [weight, offset])

    def pool(
        self, name: str, kernel: int, *, stride: int = 1, pad: int = 0, how: str = "MAX", bottom: str | None = None,
        everywhere: bool = False,
    ) -> str:  # fmt: skip
        x = self.x(bottom)
        sizes = f"kernel_size: {kernel} stride: {stride} pad: {pad}"
        settings = f"pooling_param {{ pool: {how} {'global_pooling: true' if everywhere else sizes} }}"
        if everywhere:
            value = (x.max if how == "MAX" else x.mean)((2, 3), keepdims=True)
        else:
            value = pooled(x, kernel, stride, pad, how)
        return self.add(name, "Pooling", [bottom or self.last], value, settings)

    def lrn(self, name: str, *, size: int = 5, alpha: float = 1e-3, beta: float = 0.75, within: bool = False) -> str:
        x = self.x(None)
        region = " norm_region: WITHIN_CHANNEL" if within else ""
        settings = f"lrn_param {{ local_size: {size} alpha: {alpha} beta: {beta}{region} }}"
        value = (lrn_within if within else lrn_across)(x, size, alpha, beta)
        return self.add(name, "LRN", [self.last], value, settings)

    def inner(self, name: str, outputs: int, *, bias: bool = True, bottom: str | None = None) -> str:
        x = self.x(bottom)
        flat = x.reshape(1, -1)
        weight = self.random(outputs, flat.shape[1])
        offset = self.rng.normal(size=outputs).astype(np.float32)
        settings = f"inner_product_param {{ num_output: {outputs} bias_term: {str(bias).lower()} }}"
        value = flat @ weight.T.astype(np.float64) + (offset if bias else 0)
        blobs = [weight, offset] if bias else [weight]
        return self.add(name, "InnerProduct", [bottom or self.last], value, settings, blobs)

    def relu(self, name: str, *, slope: float = 0.0, in_place: bool = True, bottom: str | None = None) -> str:
        x = self.x(bottom)
        settings = f"relu_param {{ negative_slope: {slope} }}" if slope else ""
        value = np.where(x > 0, x, slope * x)
        tops = [bottom or self.last] if in_place else None
        return self.add(name, "ReLU", [bottom or self.last], value, settings, tops=tops)

    def simple(self, name: str, kind: str, value: Array, settings: str = "", *, in_place: bool = False) -> str:
        return self.add(name, kind, [self.last], value, settings, tops=[self.last] if in_place else None)

    def dropout(self, name: str) -> str:
        return self.simple(name, "Dropout", self.x(None), "dropout_param { dropout_ratio: 0.5 }", in_place=True)

    def batch_norm(self, name: str, *, eps: float = 1e-5) -> str:
        x, count = self.x(None), self.x(None).shape[1]
        mean = self.rng.normal(size=count).astype(np.float32)
        variance = self.rng.uniform(0.5, 2, count).astype(np.float32)
        factor = np.float32(0.25)
        value = (x - column(mean / factor, x)) / np.sqrt(column(variance / factor, x) + eps)
        blobs = [mean, variance, np.array([factor])]
        settings = f"batch_norm_param {{ use_global_stats: true eps: {eps} }}"
        return self.add(name, "BatchNorm", [self.last], value, settings, blobs)

    def scale(self, name: str, *, bias: bool = True) -> str:
        x, count = self.x(None), self.x(None).shape[1]
        by, offset = (self.rng.normal(size=count).astype(np.float32) for _ in range(2))
        value = x * column(by, x) + (column(offset, x) if bias else 0)
        blobs = [by, offset] if bias else [by]
        settings = f"scale_param {{ bias_term: {str(bias).lower()} }}"
        return self.add(name, "Scale", [self.last], value, settings, blobs, tops=[self.last])

    def prelu(self, name: str, *, shared: bool = False) -> str:
        x = self.x(None)
        slope = self.rng.uniform(-0.5, 0.5, 1 if shared else x.shape[1]).astype(np.float32)
        settings = f"prelu_param {{ channel_shared: {str(shared).lower()} }}"
        value = np.where(x > 0, x, column(slope, x) * x)
        return self.add(name, "PReLU", [self.last], value, settings, [slope], tops=[self.last])

    def eltwise(self, name: str, bottoms: Sequence[str], how: str = "SUM", coeff: Sequence[float] = ()) -> str:
        xs = [self.now[one] for one in bottoms]
        if how == "SUM":
            value = sum(by * x for by, x in zip(coeff or [1] * len(xs), xs, strict=True))
        else:
            value = (np.prod if how == "PROD" else np.max)(np.stack(xs), axis=0)
        given = "".join(f" coeff: {by}" for by in coeff)
        return self.add(name, "Eltwise", bottoms, value, f"eltwise_param {{ operation: {how}{given} }}")

    def concat(self, name: str, bottoms: Sequence[str]) -> str:
        return self.add(name, "Concat", bottoms, np.concatenate([self.now[one] for one in bottoms], 1))

    def softmax(self, name: str = "prob") -> str:
        x = self.x(None)
        exp = np.exp(x - x.max(1, keepdims=True))
        return self.add(name, "Softmax", [self.last], exp / exp.sum(1, keepdims=True))


def input_layer(shape: Sequence[int], *, v1: bool = False) -> str:
    """The input as the files of the time declare it, with a batch of ten crops."""
    sizes = [10, *shape[1:]]
    if v1:
        return 'input: "data" ' + " ".join(f"input_dim: {size}" for size in sizes)
    dims = " ".join(f"dim: {size}" for size in sizes)
    return f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape: {{ {dims} }} }} }}'


# --- blobs -------------------------------------------------------------------------------------------------------


def blob(values: Array) -> Message:
    found = message_class("BlobProto")(data=[np.ascontiguousarray(values, "<f4").tobytes()])
    found.shape.dim.extend(values.shape)
    return found


def old_blob(values: Array) -> Message:
    """With four sizes, as the first files have them: an inner product is 1×1×N×K, biases are 1×1×1×N."""
    num, channels, height, width = (*[1] * (4 - values.ndim), *values.shape)
    data = [np.ascontiguousarray(values, "<f4").tobytes()]
    return message_class("BlobProto")(num=num, channels=channels, height=height, width=width, data=data)


# --- Caffe's definitions -----------------------------------------------------------------------------------------


def column(values: Array, like: Array) -> Array:
    return np.asarray(values, np.float64).reshape(-1, *[1] * (like.ndim - 2))


def convolve(x: Array, weight: Array, offset: Array | None, stride: int, pad: int, group: int, dilation: int) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows, columns = weight.shape[2:]
    height = (x.shape[2] - dilation * (rows - 1) - 1) // stride + 1
    width = (x.shape[3] - dilation * (columns - 1) - 1) // stride + 1
    parts = []
    for part, filters in zip(np.split(x, group, 1), np.split(weight.astype(np.float64), group), strict=True):
        out = np.zeros((1, len(filters), height, width))
        for i in range(rows):
            for j in range(columns):
                top, left = i * dilation, j * dilation
                seen = part[:, :, top : top + stride * height : stride, left : left + stride * width : stride]
                out += np.einsum("nchw,oc->nohw", seen[:, :, :height, :width], filters[:, :, i, j])
        parts.append(out)
    found = np.concatenate(parts, 1)
    return found if offset is None else found + column(offset, found)


def deconvolve(x: Array, weight: Array, offset: Array, stride: int, pad: int, group: int) -> Array:
    kernel = weight.shape[2]
    full = [stride * (size - 1) + kernel for size in x.shape[2:]]
    parts = []
    for part, filters in zip(np.split(x, group, 1), np.split(weight.astype(np.float64), group), strict=True):
        out = np.zeros((1, filters.shape[1], *full))
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                patch = np.einsum("nc,cokl->nokl", part[:, :, i, j], filters)
                out[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] += patch
        parts.append(out)
    found = np.concatenate(parts, 1)
    return found[:, :, pad : full[0] - pad, pad : full[1] - pad] + column(offset, found)


def pooled(x: Array, kernel: int, stride: int, pad: int, how: str) -> Array:
    """Caffe's pooling_layer.cpp: rounded up, clipped; the average's divisor counts the padding, up to its end."""
    sizes = x.shape[2:]
    counts = [int(np.ceil((size + 2 * pad - kernel) / stride)) + 1 for size in sizes]
    if pad:
        counts = [n - ((n - 1) * stride >= size + pad) for n, size in zip(counts, sizes, strict=True)]
    out = np.zeros((*x.shape[:2], *counts))
    for i in range(counts[0]):
        for j in range(counts[1]):
            starts = [i * stride - pad, j * stride - pad]
            ends = [min(start + kernel, size + pad) for start, size in zip(starts, sizes, strict=True)]
            area = (ends[0] - starts[0]) * (ends[1] - starts[1])
            seen = x[:, :, max(starts[0], 0) : ends[0], max(starts[1], 0) : ends[1]]
            out[:, :, i, j] = seen.max((2, 3)) if how == "MAX" else seen.sum((2, 3)) / area
    return out


def lrn_across(x: Array, size: int, alpha: float, beta: float) -> Array:
    reach = size // 2
    square = np.pad(x**2, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    total = sum(square[:, place : place + x.shape[1]] for place in range(size))
    return x / (1 + alpha / size * total) ** beta


def lrn_within(x: Array, size: int, alpha: float, beta: float) -> Array:
    reach = size // 2
    square = np.pad(x**2, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    height, width = x.shape[2:]
    total = sum(square[:, :, i : i + height, j : j + width] for i in range(size) for j in range(size))
    return x / (1 + alpha / size**2 * total) ** beta


# --- the architectures of the era --------------------------------------------------------------------------------


def caffenet(*, size: int = 67, classes: int = 10, seed: int = 0) -> CaffeNet:
    net = CaffeNet(size, seed=seed)
    net.conv("conv1", 8, 11, stride=4)
    net.relu("relu1")
    net.pool("pool1", 3, stride=2)
    net.lrn("norm1", alpha=1e-4)
    net.conv("conv2", 16, 5, pad=2, group=2)
    net.relu("relu2")
    net.pool("pool2", 3, stride=2)
    net.lrn("norm2", alpha=1e-4)
    for place, (outputs, group) in enumerate(((12, 1), (12, 2), (8, 2)), 3):
        net.conv(f"conv{place}", outputs, 3, pad=1, group=group)
        net.relu(f"relu{place}")
    net.pool("pool5", 2, stride=2)
    for place in (6, 7):
        net.inner(f"fc{place}", 24)
        net.relu(f"relu{place}")
        net.dropout(f"drop{place}")
    net.inner("fc8", classes)
    net.softmax()
    return net


def vgg16(*, seed: int = 1) -> CaffeNet:
    net = CaffeNet(64, seed=seed)
    for block, (count, outputs) in enumerate(((2, 4), (2, 6), (3, 8), (3, 8), (3, 8)), 1):
        for place in range(1, count + 1):
            net.conv(f"conv{block}_{place}", outputs, 3, pad=1)
            net.relu(f"relu{block}_{place}")
        net.pool(f"pool{block}", 2, stride=2)
    for place in (6, 7):
        net.inner(f"fc{place}", 16)
        net.relu(f"relu{place}")
        net.dropout(f"drop{place}")
    net.inner("fc8", 12)
    net.softmax()
    return net


def googlenet(*, seed: int = 2) -> CaffeNet:
    net = CaffeNet(96, seed=seed)
    net.conv("conv1/7x7_s2", 8, 7, stride=2, pad=3)
    net.relu("conv1/relu_7x7")
    net.pool("pool1/3x3_s2", 3, stride=2)
    net.lrn("pool1/norm1", alpha=1e-4)
    net.conv("conv2/3x3_reduce", 6, 1)
    net.relu("conv2/relu_3x3_reduce")
    net.conv("conv2/3x3", 8, 3, pad=1)
    net.relu("conv2/relu_3x3")
    net.lrn("conv2/norm2", alpha=1e-4)
    below = net.pool("pool2/3x3_s2", 3, stride=2)
    for name in ("3a", "3b"):
        below = inception(net, f"inception_{name}", below)
    below = net.pool("pool3/3x3_s2", 3, stride=2, bottom=below)
    for name in ("4a", "4b"):
        below = inception(net, f"inception_{name}", below)
    net.pool("pool5/6x6_s1", 6, stride=1, how="AVE", bottom=below)
    net.dropout("pool5/drop_6x6_s1")
    net.inner("loss3/classifier", 11)
    net.softmax()
    return net


def inception(net: CaffeNet, name: str, below: str) -> str:
    ends = [net.conv(f"{name}/1x1", 6, 1, bottom=below)]
    net.relu(f"{name}/relu_1x1")
    for kernel, outputs in ((3, 6), (5, 6)):
        net.conv(f"{name}/{kernel}x{kernel}_reduce", 8, 1, bottom=below)
        net.relu(f"{name}/relu_{kernel}x{kernel}_reduce")
        ends.append(net.conv(f"{name}/{kernel}x{kernel}", outputs, kernel, pad=kernel // 2))
        net.relu(f"{name}/relu_{kernel}x{kernel}")
    net.pool(f"{name}/pool", 3, stride=1, pad=1, bottom=below)
    ends.append(net.conv(f"{name}/pool_proj", 6, 1))
    net.relu(f"{name}/relu_pool_proj")
    return net.concat(f"{name}/output", ends)


def nin(*, seed: int = 3) -> CaffeNet:
    net = CaffeNet(67, seed=seed)
    for block, (outputs, kernel, stride, pad) in enumerate(((8, 11, 4, 0), (10, 5, 1, 2), (10, 3, 1, 1)), 1):
        net.conv(f"conv{block}", outputs, kernel, stride=stride, pad=pad)
        net.relu(f"relu{block - 1}")
        for place in (1, 2):
            cccp = f"cccp{2 * block - 2 + place}"
            net.conv(cccp, outputs, 1)
            net.relu(f"relu_{cccp}")
        net.pool(f"pool{block}", 3, stride=2)
    net.dropout("drop")
    net.conv("conv4-1024", 9, 3, pad=1)
    net.relu("relu10")
    net.conv("cccp8-1024", 7, 1)
    net.relu("relu12")
    net.pool("pool4", 1, how="AVE", everywhere=True)
    net.softmax("loss")
    return net


def resnet(*, seed: int = 4) -> CaffeNet:
    net = CaffeNet(64, seed=seed)
    convolved(net, "conv1", "_conv1", 8, 7, stride=2, pad=3)
    net.relu("conv1_relu")
    below = net.pool("pool1", 3, stride=2)
    for name, outputs, stride in (("2a", 8, 1), ("2b", 8, 1), ("3a", 12, 2), ("3b", 12, 1)):
        branch = below
        if name.endswith("a"):
            branch = convolved(net, f"res{name}_branch1", f"{name}_branch1", outputs, 1, stride=stride, bottom=below)
        convolved(net, f"res{name}_branch2a", f"{name}_branch2a", 4, 1, stride=stride, bottom=below)
        net.relu(f"res{name}_branch2a_relu")
        convolved(net, f"res{name}_branch2b", f"{name}_branch2b", 4, 3, pad=1)
        net.relu(f"res{name}_branch2b_relu")
        end = convolved(net, f"res{name}_branch2c", f"{name}_branch2c", outputs, 1)
        below = net.eltwise(f"res{name}", [branch, end])
        net.relu(f"res{name}_relu")
    net.pool("pool5", 8, how="AVE")
    net.inner("fc1000", 14)
    net.softmax()
    return net


def convolved(net: CaffeNet, name: str, suffix: str, outputs: int, kernel: int, **settings: object) -> str:
    """Convolution, normalisation and scale, the latter two in place, as in the files of ResNet's authors."""
    bottom = net.conv(name, outputs, kernel, bias=False, **settings)  # type: ignore[arg-type]
    net.batch_norm(f"bn{suffix}")
    kind, settings_text, value = net.layers[-1][1], net.layers[-1][4], net.values[f"bn{suffix}"]
    net.layers[-1] = (f"bn{suffix}", kind, [bottom], [bottom], settings_text)
    net.now[bottom], net.last = value, bottom
    net.scale(f"scale{suffix}")
    return bottom


ARCHITECTURES = {"caffenet": caffenet, "vgg16": vgg16, "googlenet": googlenet, "nin": nin, "resnet": resnet}


def random_net(seed: int) -> CaffeNet:
    """Six to ten layers that fit each other, some in branches."""
    rng = np.random.default_rng(seed)
    net = CaffeNet((int(rng.integers(12, 30)), int(rng.integers(12, 30))), channels=int(rng.choice([1, 3])), seed=seed)
    net.conv("first", 4, int(rng.choice([1, 3, 5])), stride=int(rng.choice([1, 2])), pad=int(rng.choice([0, 1])))
    for place in range(int(rng.integers(5, 9))):
        grow(net, f"l{place}", rng)
    net.inner("scores", int(rng.integers(2, 9)))
    net.softmax()
    return net


def grow(net: CaffeNet, name: str, rng: np.random.Generator) -> None:
    x, below = net.x(None), net.last
    kind = rng.choice(["conv", "pool", "relu", "lrn", "norm", "prelu", "branch", "residual", "elu", "power", "dropout"])
    if kind == "conv":
        kernel, dilation = int(rng.choice([1, 3])), int(rng.choice([1, 2]))
        group = 2 if x.shape[1] % 2 == 0 and rng.random() < 0.5 else 1
        net.conv(name, int(rng.choice([2, 4, 6])), kernel, pad=kernel // 2 * dilation, dilation=dilation, group=group)
    elif kind == "pool":
        kernel, stride = int(rng.choice([2, 3])), int(rng.choice([1, 2]))
        if min(x.shape[2:]) > 4:
            net.pool(name, kernel, stride=stride, pad=int(rng.choice([0, 1])), how=str(rng.choice(["MAX", "AVE"])))
    elif kind == "relu":
        net.relu(name, slope=float(rng.choice([0, 0.2])))
    elif kind == "lrn":
        net.lrn(name, size=int(rng.choice([3, 5])), alpha=1e-3, within=bool(rng.random() < 0.5))
    elif kind == "norm":
        net.batch_norm(name)
        net.scale(f"{name}s")
    elif kind == "prelu":
        net.prelu(name, shared=bool(rng.random() < 0.5))
    elif kind == "branch":
        ends = [net.conv(f"{name}{side}", 2, 1, bottom=below) for side in "ab"]
        net.concat(name, ends)
    elif kind == "residual":
        net.conv(f"{name}c", x.shape[1], 3, pad=1)
        coeff = [0.5, 2.0] if rng.random() < 0.5 else []
        net.eltwise(name, [below, net.last], how="SUM" if coeff else str(rng.choice(["SUM", "MAX"])), coeff=coeff)
    elif kind == "elu":
        net.simple(name, "ELU", np.where(x > 0, x, np.expm1(np.minimum(x, 0))))
    elif kind == "power":
        net.simple(name, "Power", 0.5 * x + 1, "power_param { scale: 0.5 shift: 1 }")
    else:
        net.dropout(name)
