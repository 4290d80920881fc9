"""Which classifiers load, and whether their scores and saliency maps are those of the framework they come from.

Every torchvision classification architecture and twenty families of timm, with seeded random weights, are exported by
both exporters of PyTorch. Each file is loaded by deepinside as a user would load it.
Compared are the scores of two images, and a saliency map with plain automatic differentiation on the original.
Six applications of Keras come through tf2onnx, five networks of Caffe's time through `deepinside-model convert`.

    python tools/network_coverage.py run                       # measure the missing cells; may be interrupted
    python tools/network_coverage.py run --only 'vit|swin'     # of these architectures
    python tools/network_coverage.py keras FOLDER              # compare what tools/keras_export.py wrote there
    python tools/network_coverage.py caffe                     # with PYTHONPATH=tests/support, which generates them
    python tools/network_coverage.py table                     # write docs/coverage.md from tools/network_coverage.json
"""

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "tools" / "network_coverage.json", ROOT / "docs" / "coverage.md"
LIMIT = 1e-4
"""Of the largest score, and of the largest value of the map."""
EXPORTERS = ("default", "older")
OLDER_OPSET = 17
SMALL = 96
"""Height and width for convolutional networks: enough for each of them, and quick."""
SIZES = {r"^vit_h_14": 112, r"^(alexnet|vgg|vit|swin|maxvit|deit|mixer|cait|levit|coat|xcit|beit|pit|tnt|twins)": 224}
"""For networks that take only some sizes. The first pattern that fits counts."""
TIMM = (
    "resnet18d", "resnetv2_50", "seresnext26d_32x4d", "dpn68", "dla34", "tf_efficientnet_b0",
    "mobilenetv3_small_100",
    "mixnet_s", "regnety_002", "res2net50_26w_4s", "rexnet_100", "ghostnet_100", "hrnet_w18_small", "repvgg_a0",
    "convnextv2_atto", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224",
    "poolformer_s12",
)  # fmt: skip
KINKS = (
    "scores agree ({scores:.0e}), the map differs by {saliency:.0e}: ReLU units that are on in one and off in the "
    "other: {}"
)
SECONDS = 1200
"""After which an architecture is given up."""

Cell = dict[str, Any]


# ---- the cells -------------------------------------------------------------------------------------------------------


def architectures() -> list[tuple[str, str]]:
    """Source and name of every architecture."""
    from deepinside.config.libraries import imported

    models = imported("torchvision").models
    names = models.list_models(module=models)
    return [*(("torchvision", name) for name in names), *(("timm", name) for name in TIMM)]


def size_of(name: str) -> int:
    return next((size for pattern, size in SIZES.items() if re.search(pattern, name)), SMALL)


def original(source: str, name: str) -> Any:
    """The module with random weights, the same at every call, in evaluation mode."""
    import torch

    from deepinside.config.libraries import imported

    torch.manual_seed(0)
    if source == "timm":
        module = imported("timm").create_model(name, pretrained=False).eval()
        return awake(module, module.get_classifier()) if name.startswith("mixer") else module
    options: dict[str, Any] = {"image_size": size_of(name)} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    module = imported("torchvision").models.get_model(name, weights=None, **options).eval()
    return awake(module, module.heads.head) if name.startswith("vit_") else module


def awake(module: Any, head: Any) -> Any:
    """The module with random weights in its head, where its scores are all zero until it is trained."""
    import torch

    torch.nn.init.normal_(head.weight, std=0.02)
    return module


def images(size: int) -> np.ndarray:
    """Two images of noise, (2, H, W, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def measured(source: str, name: str, exporter: str, folder: Path) -> Cell:
    """Export one architecture, load the file and compare it with the original."""
    import torch

    module, size = original(source, name), size_of(name)
    path = folder / f"{name}_{exporter}.onnx"
    options: dict[str, Any] = {"dynamo": exporter == "default"}
    if exporter == "older":
        options["opset_version"] = OLDER_OPSET
    torch.onnx.export(module, (torch.zeros(1, 3, size, size),), str(path), **options)
    if name.startswith("squeezenet"):  # deepinside reads scores before a final ReLU, behind which a class can be dead
        module.classifier[2] = torch.nn.Identity()
    cell = compared(path, size, module, "float32")
    if agrees(cell):
        return cell
    cell = {**compared(path, size, module, "float64"), "float32": cell["saliency"]}
    flips = 0 if agrees(cell) else relus_that_differ(path, size, module)
    return {**cell, "reason": KINKS.format(flips, **cell)} if flips and cell["scores"] <= LIMIT else cell


def by_autograd(module: Any, native: Any, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (2, classes), and the gradient of the first image's target score with respect to the module's input."""
    import torch

    x = native.clone().requires_grad_()
    scores = module.to(x.dtype)(x)
    (gradient,) = torch.autograd.grad(scores[0, target], x)
    return scores.detach().numpy(), gradient[0].numpy()


def compared(path: Path, size: int, module: Any, precision: Any) -> Cell:
    """Differences of scores and of a saliency map from those of the module, relative to its largest value."""
    import torch

    import deepinside as di

    network, photos, target = di.load(path, precision=precision), images(size), 3
    x = network.input.to_network(torch.from_numpy(photos).permute(0, 3, 1, 2)).to(network.dtype)
    scores, gradient = by_autograd(module, network.input.native(x), target)
    with torch.no_grad():
        found = network.scores(x).numpy()
    units = np.array(network.input.pixels_per_unit).reshape(3, 1, 1)
    shown = np.asarray(di.saliency(network, photos[0], target=target).map)
    return {
        **of_network(network),
        "scores": relative(found, scores),
        "saliency": relative(shown, np.abs(gradient / units).max(axis=0)),
    }


def relus_that_differ(path: Path, size: int, module: Any) -> int:
    """The number of ReLU units that are on in the module and off in the file's network, or the reverse, in float64."""
    import torch

    import deepinside as di

    network, known = di.load(path, precision="float64"), []
    x = network.input.to_network(torch.from_numpy(images(size)).permute(0, 3, 1, 2)).to(network.dtype)[:1]
    hooks = [
        layer.register_forward_hook(lambda _, __, output: known.append(output > 0))
        for layer in module.modules()
        if isinstance(layer, torch.nn.ReLU)
    ]
    with torch.no_grad():
        module.to(x.dtype)(network.input.native(x))
    for hook in hooks:
        hook.remove()
    names = [name for name, layer in network.layers.items() if layer.kind == "Relu"]
    if len(names) != len(known):  # some of them are functions, which no hook sees
        return 0
    found = network.activations(x, names)
    return sum(int(((found[name] > 0) != on).sum()) for name, on in zip(names, known, strict=True))


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(f"{np.abs(found - wanted).max() / np.abs(wanted).max():.1e}")


def agrees(cell: Cell) -> bool:
    return not cell.get("reason") and cell["scores"] <= LIMIT and (cell["saliency"] or 0.0) <= LIMIT


# ---- other frameworks ------------------------------------------------------------------------------------------------


def keras(folder: Path) -> None:
    """Measure every NAME.onnx of a folder against TensorFlow's values in NAME.npz."""
    cells = {f"keras {path.stem} tf2onnx": keras_cell(path) for path in sorted(folder.glob("*.onnx"))}
    write({**read(), **cells})


def keras_cell(path: Path) -> Cell:
    """A Keras application, which takes RGB intensities with the channels last, and ends in a soft-max."""
    import deepinside as di
    from deepinside.api.functions import find_network_spec
    from deepinside.networks.load import load

    expected = np.load(path.with_suffix(".npz"))
    spec = find_network_spec(path)
    plain = replace(spec.input, channels="rgb", scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    network = load(replace(spec, input=plain))
    shown = di.saliency(network, images(network.size[0])[0], target=3).map
    return {
        **of_network(network),
        "scores": relative(scores_of(network, images(network.size[0])), expected["scores"]),
        "saliency": relative(np.asarray(shown), np.abs(expected["gradient"]).max(axis=2)),
    }


def caffe() -> None:
    """Measure the networks that tests/support/caffe_nets.py generates against OpenCV, which reads Caffe's files."""
    from caffe_nets import ARCHITECTURES

    with tempfile.TemporaryDirectory() as folder:
        cells = {f"caffe {name} convert": caffe_cell(net(), Path(folder) / name) for name, net in ARCHITECTURES.items()}
    write({**read(), **cells})


def caffe_cell(net: Any, folder: Path) -> Cell:
    """A Caffe network converted, as its YAML describes it; OpenCV computes no gradients."""
    import torch
    from caffe_oracles import by_opencv

    import deepinside as di
    from deepinside.networks.caffe.convert import convert

    files = net.write(folder)
    convert(*files, folder, name="net")
    network = di.load(folder / "net.yaml")
    expected = by_opencv(*files, net.image, [network.target])[network.target]
    with torch.no_grad():
        found = network.scores(torch.from_numpy(net.image).float().flip(1)).numpy()  # RGB; Caffe takes BGR
    return {**of_network(network), "scores": relative(found, expected.reshape(found.shape)), "saliency": None}


def of_network(network: Any) -> Cell:
    batch = "one image at a time" if network.single_image else "any"
    return {"size": network.size[0], "layers": len(network.layers), "batch": batch}


def scores_of(network: Any, photos: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return network.scores(network.input.to_network(torch.from_numpy(photos).permute(0, 3, 1, 2))).numpy()


# ---- one process a cell ----------------------------------------------------------------------------------------------


def run(only: str) -> None:
    """Measure the missing cells. Each runs in a fork of this process, which has imported everything."""
    import onnxruntime  # noqa: F401
    import torch

    import deepinside as di

    torch.set_num_threads(1)
    assert di.load and list(architectures())
    for source, name, exporter in missing(only):
        key = f"{source} {name} {exporter}"
        cell = in_a_fork(source, name, exporter)
        write({**read(), key: cell})
        print(key, cell, flush=True)


def missing(only: str) -> list[tuple[str, str, str]]:
    cells = [(source, name, exporter) for source, name in architectures() for exporter in EXPORTERS]
    known = read()
    return [cell for cell in cells if " ".join(cell) not in known and re.search(only, " ".join(cell))]


def in_a_fork(source: str, name: str, exporter: str) -> Cell:
    """The cell, or the reason why there is none."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=send, args=(theirs, source, name, exporter))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            return {"reason": f"not measured: more than {SECONDS} seconds"}
        return ours.recv()
    except EOFError:
        process.join()
        return {"reason": f"not measured: the process ended with {process.exitcode}, as it does without enough memory"}
    finally:
        process.kill()
        process.join()


def send(pipe: Any, source: str, name: str, exporter: str) -> None:
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.environ["DEEPINSIDE_CACHE"] = folder
        try:
            cell = measured(source, name, exporter, Path(folder))
        except Exception as error:
            cell = {"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}
    pipe.send(cell)


def read() -> dict[str, Cell]:
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def write(cells: dict[str, Cell]) -> None:
    rows = [f"{json.dumps(key)}: {json.dumps(cells[key])}" for key in sorted(cells)]
    RECORD.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


# ---- the page --------------------------------------------------------------------------------------------------------


def page(cells: dict[str, Cell]) -> str:
    """docs/coverage.md of the cells in tools/network_coverage.json."""
    rows = [f"{source} {name}" for source, name in architectures()]
    others = [key for key in cells if key.partition(" ")[0] in ("keras", "caffe")]
    wanted = [f"{row} {exporter}" for row in rows for exporter in EXPORTERS] + others
    measured_ones = [cells[key] for key in wanted if key in cells]
    good = sum(map(agrees, measured_ones))
    lines = [
        "# Coverage",
        "",
        "Architectures with random weights, exported by both exporters of PyTorch (the default one, and the older",
        f"one at opset {OLDER_OPSET}), loaded as files and compared with the original module: the largest difference",
        "of the scores and of the saliency map, relative to the largest value. In float32; where rounding alone",
        "exceeds the limit, in float64, with the map's difference in float32 in brackets. `make coverage` measures",
        "the missing cells and writes this page. SqueezeNet's scores are those before its last ReLU, behind which a",
        "class can be dead.",
        "",
        f"{good} of {len(measured_ones)} cells tried agree to {LIMIT:g}, the others say why; "
        f"{len(wanted) - len(measured_ones)} of {len(wanted)} are not tried yet.",
        "",
        "| architecture | input | default: scores, map | older: scores, map |",
        "| --- | --- | --- | --- |",
    ]
    lines += [row_of(row, [cells.get(f"{row} {exporter}") for exporter in EXPORTERS]) for row in rows]
    return "\n".join([*lines, *others_table({key: cells[key] for key in sorted(others, reverse=True)})]) + "\n"


def others_table(cells: Mapping[str, Cell]) -> list[str]:
    """The table of the networks that do not come from PyTorch."""
    return [
        "",
        "Networks of other frameworks with random weights. Keras applications, exported by tf2onnx, are compared with",
        "TensorFlow. Generated networks in Caffe's files, converted by `deepinside-model convert`, are compared with",
        "OpenCV, which reads these files too and computes no gradients: their maps are not compared.",
        "",
        "| network | input | through | scores, map |",
        "| --- | --- | --- | --- |",
        *(
            f"| {source}:{name} | {cell.get('size', '')} | {way} | {shown(cell)} |"
            for (source, name, way), cell in ((key.split(" "), cell) for key, cell in cells.items())
        ),
    ]


def row_of(row: str, cells: list[Cell | None]) -> str:
    size = next((cell["size"] for cell in cells if cell and "size" in cell), size_of(row.partition(" ")[2]))
    return f"| {row.replace(' ', ':')} | {size} | {' | '.join(map(shown, cells))} |"


def shown(cell: Cell | None) -> str:
    if cell is None:
        return "not measured"
    if cell.get("reason"):
        return cell["reason"].replace("|", "\\|")
    numbers = f"{cell['scores']:.0e}" + ("" if cell["saliency"] is None else f", {cell['saliency']:.0e}")
    if "float32" in cell:
        numbers += f" (float32: {cell['float32']:.0e})"
    return numbers if agrees(cell) else f"**{numbers}**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--only", default="", metavar="REGEX", help="of SOURCE ARCHITECTURE EXPORTER")
    commands.add_parser("keras").add_argument("folder", type=Path)
    commands.add_parser("caffe")
    commands.add_parser("table")
    chosen = parser.parse_args()
    if chosen.command == "run":
        run(chosen.only)
    elif chosen.command == "keras":
        keras(chosen.folder)
    elif chosen.command == "caffe":
        caffe()
    PAGE.write_text(page(read()), encoding="utf-8")


if __name__ == "__main__":
    main()
