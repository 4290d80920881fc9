"""Verifies that torch and onnxruntime agree at every layer, and that trained networks recognise a reference photo."""

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch
from onnx import ModelProto, TensorProto
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network, joined
from deepinside.networks.onnx import plain
from deepinside.networks.onnx.graph import with_outputs

if TYPE_CHECKING:
    import onnxruntime

LIMIT = 1e-4
PROBES = 2
KINDS = {"tensor(float16)": torch.float16}
"""Dtypes of the input other than float32."""
THREADS = 2  # fixed, so that the recorded differences are the same on each run


class UnverifiedError(DeepInsideError):
    """torch and onnxruntime disagree, or torch raises an error."""


def verify(original: ModelProto, network: Network, *, limit: float = LIMIT, seed: int = 0) -> dict[str, float]:
    """Largest |torch − onnxruntime| at each layer over the layer's largest value, on a probe of two random images.

    onnxruntime runs the file's own graph, before any graph pass (one image at a time if its batch size is 1), so the
    passes are verified as well as the conversion. Raises `DeepInsideError` naming the first layer above `limit`.
    """
    probe = probe_images(network, seed=seed, count=probes(original))
    truth = _run_onnx(original, network, network.input.native(probe))
    found = _run_torch(network, probe)
    checks: dict[str, float] = {}
    for name, expected in truth.items():
        checks[name] = difference(found[name], expected)
        if not checks[name] <= limit:
            raise UnverifiedError(
                f"{network.name}: torch and onnxruntime should agree to {limit:g} of a layer's largest value, "
                f"but layer {name!r} ({network.layers[name].kind}) differs by {checks[name]:.2g}"
            )
    return checks


def probes(original: ModelProto) -> int:
    """The number of probe images: different from the file's batch size, so that a fixed batch is detected."""
    stored = {tensor.name for tensor in original.graph.initializer}
    image = next(value for value in original.graph.input if value.name not in stored)
    return PROBES + 1 if plain.sizes_of(image)[:1] == (PROBES,) else PROBES


def difference(found: Tensor, expected: Tensor) -> float:
    """max |found − expected| / max |expected|; infinite if shapes differ or a value is not finite."""
    if found.shape != expected.shape:
        return float("inf")
    gap, scale = (found - expected).abs_().max().item(), expected.abs().max().item()
    if gap == 0 or not (isfinite(gap) and isfinite(scale)):
        return 0.0 if gap == 0 else float("inf")
    return gap / scale if scale > 0 else float("inf")


def probe_images(network: Network, *, seed: int = 0, count: int = PROBES) -> Tensor:
    """Random images in image space, (count, 3, H, W): intensities 0–255, drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, network.input.count, *network.size)
    return network.input.to_network(torch.randint(0, 256, shape, generator=generator).to(torch.uint8))


def check_reference(network: Network, pixels: Tensor, classes: tuple[str, ...]) -> str:
    """The WordNet id of the top class of a photo, RGB uint8 (3, h, w) of any size, whose shorter side is scaled to the
    input's before a centre crop.

    Raises `DeepInsideError` unless it is one of `classes`.
    """
    with torch.no_grad():
        best = int(network.scores(network.input.to_network(_resize(pixels, network.size))[None]).argmax())
    label = network.labels[best] if best < len(network.labels) else None
    if label is None or label.wnid not in classes:
        names = ", ".join(f"{known.wnid} {known.name}" for known in network.labels if known.wnid in classes)
        saw = f"{label.wnid} {label.name}" if label else f"class {best}, which has no label"
        raise DeepInsideError(f"{network.name}: the reference photo should be {names or list(classes)}, found {saw}")
    return label.wnid


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = pixels.shape[1:]
    factor = max(size[0] / height, size[1] / width)
    scaled_size = (round(height * factor), round(width * factor))
    scaled = torch.nn.functional.interpolate(pixels[None].float(), size=scaled_size, mode="bilinear", antialias=True)
    top, left = (scaled_size[0] - size[0]) // 2, (scaled_size[1] - size[1]) // 2
    return scaled[0, :, top : top + size[0], left : left + size[1]].round().clamp(0, 255)


def _run_torch(network: Network, probe: Tensor) -> dict[str, Tensor]:
    try:
        with torch.no_grad():
            return network.activations(probe, list(network.layers))
    except (RuntimeError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise UnverifiedError(
            f"{network.name}: the converted graph should take a batch of {len(probe)}, but stops: {words}"
        ) from None


def _run_onnx(original: ModelProto, network: Network, native: Tensor) -> Mapping[str, Tensor]:
    values = {layer.value: name for name, layer in network.layers.items()}
    known = {output for node in original.graph.node for output in node.output}
    wanted = [value for value in values if value in known]
    light, weights = with_outputs(computable(original), wanted)
    session = _session(light)
    taken = next(value for value in session.get_inputs() if value.name not in weights)
    images = as_taken(native, tuple(taken.shape), taken.type)
    one = network.single_image
    fixed = taken.shape[0] if isinstance(taken.shape[0], int) and taken.shape[0] > 0 else None
    runs = []
    for portion in images.split(1 if one else fixed or len(images)):
        fed = {taken.name: filled(portion, fixed or len(portion)).numpy(), **weights}
        runs.append([_of_images(found, len(portion), fixed or len(portion)) for found in session.run(wanted, fed)])
    join = joined if one else torch.cat
    return {values[value]: join(list(parts)) for value, parts in zip(wanted, zip(*runs, strict=True), strict=True)}


def computable(original: ModelProto) -> ModelProto:
    """The file's model in a dtype that onnxruntime supports on a CPU: float32 for bfloat16 and float64."""
    stored = {tensor.name: tensor for tensor in original.graph.initializer}
    if not {TensorProto.BFLOAT16, TensorProto.DOUBLE} & plain.kinds_of_numbers(original.graph, stored):
        return original
    model = ModelProto()
    model.CopyFrom(original)
    plain.in_float32(model.graph, stored)
    del model.graph.initializer[:]
    model.graph.initializer.extend(stored.values())
    return model


def as_taken(native: Tensor, sizes: tuple[object, ...], kind: str) -> Tensor:
    """Images (N, C, H, W) in the layout and dtype of an input with these sizes and this type."""
    ordered = native.permute(*plain.TO_CHANNELS_LAST) if plain.channels_last(sizes) else native
    return ordered.to(KINDS.get(kind, torch.float32)).contiguous()


def filled(images: Tensor, count: int) -> Tensor:
    """At least `count` images; the last one is repeated."""
    return torch.cat([images, *[images[-1:]] * (count - len(images))])


def _of_images(found: np.ndarray, images: int, batch: int) -> Tensor:
    """The rows of the first `images` of a `batch`, if rows can be assigned to images; as float32."""
    values = torch.from_numpy(found).float()
    each = len(values) // batch if values.ndim and len(values) % batch == 0 else len(values)
    return values[: images * each] if each * batch == len(values) else values


def _session(model: ModelProto) -> "onnxruntime.InferenceSession":
    import onnxruntime  # a late import: not needed if the verification is cached

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DeepInsideError(f"onnxruntime refuses the file: {' '.join(str(error).split())[:300]}") from None
