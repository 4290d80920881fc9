"""The console script `deepinside-model`: inspect an ONNX file, draft its YAML, convert from Caffe, fetch, list.

Imports are lazy: `--help`, `list` and usage errors need neither onnx nor torch.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepinside.config.libraries import library_name
from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from rich.table import Table

    from deepinside.networks.draft import Draft
    from deepinside.networks.spec import NetworkSpec

FOLDER = Path("conf_models")
WIDTH = 140  # of tables that are not printed to a terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, or 1 with one sentence on stderr."""
    chosen = _parser().parse_args(argv)
    try:
        chosen.run(chosen)
    except DeepInsideError as error:
        print(f"deepinside-model: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="deepinside-model", description="Networks: inspect, draft, convert from Caffe, fetch, list."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="print layers, input, target and soft-max of an ONNX file")
    inspect.add_argument("file", type=Path, metavar="FILE.onnx")
    inspect.set_defaults(run=_inspect)
    _add_draft(commands)
    _add_convert(commands)
    _add_fetch(commands)
    known = commands.add_parser("list", help="list the known networks and where their files are")
    known.set_defaults(run=_list)
    return parser


def _add_draft(commands: Any) -> None:
    draft = commands.add_parser("draft", help="write a first draft of the YAML for an ONNX file")
    draft.add_argument("file", type=Path, metavar="FILE.onnx")
    draft.add_argument("--name", help="the network's name (default: the file's)")
    draft.add_argument("--labels", metavar="STEM", help="the name of its label list, e.g. imagenet_1000")
    place = draft.add_mutually_exclusive_group()
    place.add_argument("--folder", type=Path, default=FOLDER, help=f"the folder to write to (default: {FOLDER})")
    place.add_argument("--stdout", action="store_true", help="print the YAML instead of writing it")
    draft.set_defaults(run=_draft)


def _add_convert(commands: Any) -> None:
    convert = commands.add_parser(
        "convert",
        help="convert a Caffe network to ONNX and YAML",
        description="Convert a Caffe classifier to NAME.onnx and NAME.yaml, under Caffe's own layer names, and verify.",
        epilog="Without --mean the prototxt's mean_value is taken. Layers of the training phase, losses and accuracy "
        "are left out.",
    )
    convert.add_argument(
        "prototxt", type=Path, metavar="deploy.prototxt", help="the network, in any of Caffe's formats"
    )
    convert.add_argument("caffemodel", type=Path, nargs="?", metavar="weights.caffemodel", help="its trained weights")
    convert.add_argument("--mean", metavar="MEAN", help="a mean image or mean (.binaryproto, .npy), or 104,117,123")
    convert.add_argument(
        "--mean-fit", choices=("crop", "resize", "channels"), default="crop",
        help="a mean image's centre, as Caffe's data layer (default); the image resized to the input, as its first "
        "Python classifier; or its average by channel, as its C++ example",
    )  # fmt: skip
    convert.add_argument("--name", help="the network's name (default: the caffemodel's)")
    convert.add_argument("--labels", metavar="STEM", help="the name of its label list, e.g. imagenet_1000")
    convert.add_argument("--folder", type=Path, default=FOLDER, help=f"the folder to write to (default: {FOLDER})")
    convert.set_defaults(run=_convert)


def _add_fetch(commands: Any) -> None:
    fetch = commands.add_parser("fetch", help="download a network's file into the cache and verify it")
    chosen = fetch.add_mutually_exclusive_group(required=True)
    chosen.add_argument("name", metavar="NAME", nargs="?")
    chosen.add_argument("--all", action="store_true", help="every network of `list` that has an address")
    fetch.add_argument("--dry-run", action="store_true", help="print what would be fetched, and from where")
    fetch.set_defaults(run=_fetch)


# --- commands ----------------------------------------------------------------------------------------------------


def _inspect(chosen: Namespace) -> None:
    from deepinside.networks.draft import draft

    found = draft(chosen.file, tried=True)
    for line in _summary(found):
        print(line)
    _show(_layer_table(found))


def _draft(chosen: Namespace) -> None:
    from deepinside.networks.draft import draft, to_yaml, write

    found = draft(chosen.file, name=chosen.name, labels=chosen.labels, tried=True)
    if found.refused:
        raise DeepInsideError(found.refused)
    for note in found.notes:
        print(note, file=sys.stderr)
    if chosen.stdout:
        print(to_yaml(found), end="")
        return
    path = write(found, chosen.folder)
    print(
        f"wrote {path}. Lines marked CHECK are guesses: correct them, set checked: true, then run with "
        f"network={found.spec.name}."
    )


def _convert(chosen: Namespace) -> None:
    from deepinside.networks.caffe.convert import convert

    if chosen.caffemodel is None:
        raise DeepInsideError(
            f"{chosen.prototxt} has no weights: give the .caffemodel after it, as in convert deploy.prototxt "
            f"weights.caffemodel"
        )
    found, files = convert(
        chosen.prototxt, chosen.caffemodel, chosen.folder, name=chosen.name, mean=chosen.mean,
        mean_fit=chosen.mean_fit, labels=chosen.labels,
    )  # fmt: skip
    for note in found.notes:
        print(note, file=sys.stderr)
    if chosen.labels is None:
        guess = f"{found.spec.labels} is a guess" if found.spec.labels else "classes have numbers"
        print(f"Caffe's files have no labels: {guess}. Give --labels, or write labels in the YAML.", file=sys.stderr)
    print(f"wrote {', '.join(map(str, files))}. Run with network={found.spec.name}.")


def _fetch(chosen: Namespace) -> None:
    from deepinside.networks.spec import find_spec

    names = sorted(_known()) if chosen.all else [chosen.name]
    specs = [find_spec(str(_known().get(name, name))) for name in names]
    for spec in specs:
        if chosen.dry_run:
            _say_what_would_be_fetched(spec)
        elif spec.urls or not chosen.all:
            _fetch_one(spec)


def _say_what_would_be_fetched(spec: "NetworkSpec") -> None:
    size = f", {spec.bytes / 1e6:.0f} MB" if spec.bytes else ""
    print(f"{spec.name}: {spec.file}{size}, {_where(spec)}")
    for url in spec.urls if _where(spec) == "not downloaded" else ():
        print(f"  {url}")


def _fetch_one(spec: "NetworkSpec") -> None:
    from deepinside.networks.load import load, locate

    if library_name(spec.file):
        print(load(spec, reverify=True))
        return
    path = locate(spec)
    network = load(spec, reverify=True)
    print(path)
    worst = max(network.checks.values())
    print(f"{len(network.checks)} layers agree with onnxruntime; largest difference {worst:.1e}", file=sys.stderr)


def _list(_: Namespace) -> None:
    from rich.table import Table

    from deepinside.networks.spec import read_spec

    table = Table("network", "title", "size", "where", box=None, pad_edge=False)
    for _name, path in sorted(_known().items()):
        spec = read_spec(path)
        size = f"{spec.bytes / 1e6:.0f} MB" if spec.bytes else ""
        table.add_row(spec.name, spec.title, size, _where(spec))
    _show(table)


# --- output ------------------------------------------------------------------------------------------------------


def _summary(found: "Draft") -> list[str]:
    shape = " x ".join(map(str, found.shape))
    target = next(layer for layer in found.layers if layer.name == found.spec.target)
    ends = {
        "softmax": "ends in a soft-max, which is removed",
        "sigmoid": "ends in a sigmoid for each class, which is removed",
    }
    end = ends.get(found.spec.output or "", "ends in scores, without a soft-max")
    lines = [
        f"file     {found.spec.file}, {(found.spec.bytes or 0) / 1e6:.1f} MB, SHA-256 {found.spec.sha256}",
        f"input    {found.image}: {shape}",
        f"output   {end}",
        f"target   {target.name} ({target.value}), {target.shape[0]} classes",
    ]
    lines += [f"         {note}" for note in found.notes]
    return [*lines, f"usable   no: {found.refused}" if found.refused else "usable   yes, verified with onnxruntime"]


def _layer_table(found: "Draft") -> "Table":
    from rich.table import Table

    table = Table("layer", "ONNX value", "operator", "shape", box=None, pad_edge=False)
    for layer in found.layers:
        table.add_row(layer.name, layer.value, layer.kind, " x ".join(map(str, layer.shape)))
    return table


def _known() -> dict[str, Path]:
    """YAML files by network name: the built-in ones, overridden by those of the working directory."""
    from deepinside.networks.spec import conf_models

    return {path.stem: path for folder in (conf_models(), Path.cwd() / FOLDER) for path in folder.glob("*.yaml")}


def _where(spec: "NetworkSpec") -> str:
    from deepinside.networks.cache import cache_folder

    if spec.local_file.is_file():
        return "built in" if not spec.urls and spec.checked is None else "next to its YAML"
    return "in the cache" if (cache_folder() / Path(spec.file).name).is_file() else "not downloaded"


def _show(table: "Table") -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
