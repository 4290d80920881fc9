"""The console script `deepinside-results`: tables of claims, the report, and comparison with committed numbers."""

import argparse
import fnmatch
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deepinside.console import tables
from deepinside.console.claims import MARKS, count_text, estimate_text
from deepinside.errors import DeepInsideError
from deepinside.results.folder import is_done, read_config, read_metrics, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from deepinside.html_report.claim_table import Cell, ClaimRow
    from deepinside.html_report.runs import Run

REFERENCE_KEYS = ("experiment", "network", "metrics", "claims")
REFERENCE_NETWORK = "tinycaffenet"
OWN_NETWORKS = ("hog_sift",)
"""Networks that only their own experiments use, so their results count whatever network the others run on."""
SHOWN = ("fig1_class_models",)
"""The experiments whose figures are also kept, because the README shows them."""


def results_of(root: Path, network: str) -> dict[str, dict[str, Any]]:
    """`metrics.json` of every experiment's complete default run on `network`, or its own, under `root`."""
    known = (network, *OWN_NETWORKS)
    folders = sorted(folder for name in known for folder in root.glob(f"*/{name}/default") if is_done(folder))
    return {folder.parts[-3]: read_metrics(folder) or {} for folder in folders}


def update_reference(root: Path, reference: Path, network: str) -> None:
    """Write the numbers of `root` as the reference."""
    found = results_of(root, network)
    if not found:
        raise DeepInsideError(f"expected complete results for {network} in {root}, found none; run `make reproduce`.")
    reference.mkdir(parents=True, exist_ok=True)
    for name, metrics in found.items():
        write_json(reference / f"{name}.json", {key: metrics[key] for key in REFERENCE_KEYS})
        if name in SHOWN:
            (reference / "figures").mkdir(exist_ok=True)
            shutil.copy(root / name / network / "default" / "figure.png", reference / "figures" / f"{name}.png")
        print(f"kept {name}: {len(metrics['metrics'])} numbers, {len(metrics['claims'])} claims")


def compare(root: Path, reference: Path, network: str) -> list[str]:
    """One sentence for each number that differs from the reference beyond its tolerance."""
    found = results_of(root, network)
    tolerances = yaml.safe_load((reference / "tolerances.yaml").read_text(encoding="utf-8"))
    changed: list[str] = []
    for path in sorted(reference.glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        if path.stem not in found:
            changed.append(f"{path.stem}: expected a complete result in {root}, found none")
            continue
        changed += differences(path.stem, numbers(known), numbers(found[path.stem]), tolerances)
        changed += changed_verdicts(path.stem, verdicts(known), verdicts(found[path.stem]))
    return changed


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every metric by name, and every claim's estimate, n and interval as `claim/…`."""
    found = dict(metrics["metrics"])
    for claim in metrics["claims"]:
        name = f"claim/{claim['id']}"
        found |= {name: claim["estimate"], f"{name}/n": claim["n"]}
        found |= dict(zip((f"{name}/low", f"{name}/high"), claim["interval"] or (), strict=False))
    return found


def verdicts(metrics: Mapping[str, Any]) -> dict[str, str]:
    return {claim["id"]: claim["verdict"] for claim in metrics["claims"]}


def changed_verdicts(name: str, known: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each claim with another verdict; a claim that is gone is among `differences`."""
    for key, value in known.items():
        if found.get(key, value) != value:
            yield f"{name}: the claim {key} was {value}, is {found[key]}"


def differences(
    name: str, known: Mapping[str, float], found: Mapping[str, float], tolerances: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in known.items():
        limit = tolerance(f"{name}/{key}", tolerances)
        if key not in found:
            yield f"{name}: {key} is missing"
        elif not math.isclose(found[key], value, rel_tol=limit["relative"], abs_tol=limit["absolute"]):
            change = f"{key} was {value:.6g}, is {found[key]:.6g}"
            yield f"{name}: {change}, outside the relative tolerance {limit['relative']:g}"


def tolerance(key: str, tolerances: Mapping[str, Any]) -> Mapping[str, float]:
    """The limits of the first pattern that matches `experiment/metric`; the last pattern matches everything."""
    return next(limits for pattern, limits in tolerances.items() if fnmatch.fnmatch(key, pattern))


def show_claims(root: Path, network: str | None) -> None:
    """Print a table of all claims under `root`, with a column per network, or only the network named."""
    from deepinside.html_report.claim_table import claim_table

    runs = complete_runs(root)
    check_network(root, network, {run.network for run in runs})
    rows = claim_table(run for run in runs if network is None or run.network in (network, *OWN_NETWORKS))
    tables.SCREEN.print(claims_across(rows))
    verdicts = [
        (f"{sentence(row)} ({where(row)}, {name})", cell.verdict) for row in rows for name, cell in row.cells.items()
    ]
    tables.SCREEN.print(tables.tally(verdicts), markup=False)
    tables.SCREEN.print(f"{len(runs)} runs; figures and numbers in {root.resolve()}", markup=False)


def claims_across(rows: "Sequence[ClaimRow]") -> "Table":
    """One row per claim and experiment, one column per network: verdict, estimate, 95 % interval and n."""
    from rich.markup import escape
    from rich.table import Table

    from deepinside.html_report.claim_table import networks

    columns = networks(rows)
    table = Table(title="The papers' claims, by network", box=None, pad_edge=False, title_justify="left")
    table.add_column("claim", overflow="fold", ratio=1)
    table.add_column("experiment", overflow="fold")
    for name in ("expected", *columns):
        table.add_column(name, no_wrap=True)
    for row in rows:
        cells = [cell_text(row.cells[network]) if network in row.cells else "" for network in columns]
        table.add_row(*map(escape, (sentence(row), where(row), row.expected, *cells)))
    return table


def sentence(row: "ClaimRow") -> str:
    """The claim as a sentence; its id in words if no run has measured it."""
    return row.claim or row.id.replace("_", " ")


def where(row: "ClaimRow") -> str:
    return f"{row.experiment} {row.label}".strip()


def cell_text(cell: "Cell") -> str:
    """The text of a cell in the table of claims."""
    if cell.claim is None:
        return cell.verdict
    return f"{MARKS[cell.verdict]} {estimate_text(cell.claim)}, {count_text(cell.claim)}"


def complete_runs(root: Path) -> "list[Run]":
    """Every complete result under `root`, including other photos and settings, grouped by paper."""
    from deepinside.html_report.runs import read_run, scan_results
    from deepinside.html_report.views import experiments

    found = (read_run(root, folder, stamp) for folder, stamp in scan_results(root).runs.items())
    return [run for one in experiments(run for run in found if run is not None) for run in one.runs if run.done]


def check_network(root: Path, network: str | None, known: set[str]) -> None:
    """Raise DeepInsideError if there are no results, or none on the requested network."""
    if not known:
        raise DeepInsideError(f"expected complete results in {root}, found none; run `make reproduce`.")
    if network is not None and network not in known:
        raise DeepInsideError(
            f"--network: expected a network with results in {root} ({', '.join(sorted(known))}), found {network!r}."
        )


def main() -> None:
    """The console script `deepinside-results`."""
    arguments = parser().parse_args()
    try:
        sys.exit(run_command(arguments))
    except DeepInsideError as error:
        sys.exit(f"deepinside-results: {error}")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="deepinside-results", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--results", type=Path, default=Path("results"))
    common.add_argument("--reference", type=Path, default=Path("results/reference"))
    common.add_argument(
        "--network", help="a single network (default: all for claims, tinycaffenet for keep and compare)"
    )
    commands = found.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, words in COMMANDS.items():
        commands.add_parser(name, help=words, description=words, parents=[common])
    words = "draw a result's figure again, without computing anything"
    add_figure_options(commands.add_parser("figure", help=words, description=words))
    return found


COMMANDS = {
    "claims": "the table of all claims",
    "compare": "compare the results with the committed reference",
    "keep": "store the results as the reference",
    "report": "write the report index.html",
}


def add_figure_options(command: argparse.ArgumentParser) -> None:
    """RUN and the settings of a figure; a setting that is not given stays as it is."""
    command.add_argument("run", type=Path, metavar="RUN", help="the folder of a result")
    command.add_argument("--output", type=Path, metavar="FOLDER", help="write there and leave RUN as it is")
    for name in ("pdf", "svg"):
        command.add_argument(f"--{name}", action="append_const", dest="formats", const=name)
    for name in ("title", "labels"):
        command.add_argument(f"--{name}", action=argparse.BooleanOptionalAction)
    command.add_argument("--panels", type=lambda words: tuple(words.split(",")), metavar="A,B", help="panels to show")
    for name in ("columns", "limit"):
        command.add_argument(f"--{name}", type=int)
    for name in ("width", "inches", "percentile"):
        command.add_argument(f"--{name}", type=float)
    for name in ("layout", "style", "magnitude-map", "signed-map"):
        command.add_argument(f"--{name}")


def redraw_figure(arguments: argparse.Namespace) -> None:
    """Draw a result's figure with the settings given; prints the files."""
    from deepinside.config.settings import construct
    from deepinside.experiment.schema import FigureSettings
    from deepinside.figures.redraw import redraw

    config = read_config(arguments.run)
    if config is None:
        raise DeepInsideError(f"{arguments.run}: expected the folder of a result, with its config.yaml, found none.")
    stated = {name: value for name, value in vars(arguments).items() if value is not None}
    changes = {name: stated[name] for name in FigureSettings.__dataclass_fields__ if name in stated}
    settings = construct(FigureSettings, {**config.get("figure", {}), **changes}, "figure")
    redraw(arguments.run, settings, arguments.output)
    for ending in settings.formats:
        print(f"figure: {(arguments.output or arguments.run) / f'figure.{ending}'}")


def run_command(arguments: argparse.Namespace) -> int:
    if arguments.what == "figure":
        redraw_figure(arguments)
    elif arguments.what == "claims":
        show_claims(arguments.results, arguments.network)
    elif arguments.what == "report":
        from deepinside.html_report import write_report

        print(f"report: {write_report(arguments.results)}")
    elif arguments.what == "keep":
        update_reference(arguments.results, arguments.reference, arguments.network or REFERENCE_NETWORK)
    else:
        changed = compare(arguments.results, arguments.reference, arguments.network or REFERENCE_NETWORK)
        print("\n".join(changed) or "all numbers agree with the reference")
        return 1 if changed else 0
    return 0
