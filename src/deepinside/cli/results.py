"""The console script `deepinside-results`: tables of claims, the report, and comparison with committed numbers."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepinside.cli import diff, export
from deepinside.console import tables
from deepinside.console.claims import MARKS, count_text, estimate_text, threshold_text
from deepinside.errors import DeepInsideError
from deepinside.results.folder import read_config
from deepinside.results.regression import OWN_NETWORKS, REFERENCE_NETWORK, compare, update_reference, write_badge

if TYPE_CHECKING:
    from rich.table import Table

    from deepinside.html_report.claim_table import Cell, ClaimRow
    from deepinside.html_report.runs import Run


def show_claims(root: Path, network: str | None) -> None:
    """Print a table of all claims under `root`, with a column per network, or only the network named."""
    from deepinside.html_report.claim_table import claim_table

    runs = complete_runs(root)
    check_network(root, network, {run.network for run in runs})
    rows = claim_table(run for run in runs if network is None or run.network in (network, *OWN_NETWORKS))
    if all(len(row.cells) == 1 for row in rows):
        for line in claim_lines(rows):
            tables.SCREEN.print(line, markup=False)
    else:
        tables.SCREEN.print(claims_across(rows))
    verdicts = [
        (f"{sentence(row)} ({where(row)}, {name})", cell.verdict) for row in rows for name, cell in row.cells.items()
    ]
    tables.SCREEN.print(tables.tally(verdicts), markup=False)
    tables.SCREEN.print(f"{len(runs)} runs; figures and numbers in {root.resolve()}", markup=False)


def claim_lines(rows: "Sequence[ClaimRow]") -> Iterator[str]:
    """Claims measured on one network, as in `✓ SENTENCE: 0.68 [0.64, 0.71], 10 photos, expected ≥ 0.5 (NAME)`.

    Those that one run could not measure for one reason share a line.
    """
    unmeasured: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        (cell,) = row.cells.values()
        if cell.claim is None:
            unmeasured.setdefault((where(row), cell.reason), []).append(sentence(row))
    for row in rows:
        (cell,) = row.cells.values()
        if cell.claim is not None:
            measured = f"{estimate_text(cell.claim)}, {count_text(cell.claim)}, expected {threshold_text(cell.claim)}"
            yield f"{MARKS[cell.verdict]} {sentence(row)}: {measured} ({where(row)})"
        elif names := unmeasured.pop((where(row), cell.reason), None):
            yield f"· not measured, because {cell.reason}: {', '.join(names)} ({where(row)})"


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
        command = commands.add_parser(name, help=words, description=words, parents=[common])
        if name == "report":
            words = "write the page of this result as one self-contained HTML file"
            command.add_argument("--single-file", type=Path, metavar="RUN", help=words)
            words = "the web address where the results folder is published, for preview pictures of shared links"
            command.add_argument("--url", metavar="URL", help=words)
    diff.add_command(commands)
    export.add_command(commands)
    words = "draw a result's figure again, without computing anything"
    add_figure_options(commands.add_parser("figure", help=words, description=words))
    return found


COMMANDS = {
    "claims": "the table of all claims",
    "compare": "compare the numbers with the committed reference; exit code 1 if one moved (see also: diff)",
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


def write_html(arguments: argparse.Namespace) -> Path:
    """Write the report, or the page of one result as a single file; returns the path."""
    if arguments.single_file is not None:
        from deepinside.html_report.single_file import write_single_file

        return write_single_file(arguments.single_file)
    from deepinside.html_report import write_report

    return write_report(arguments.results, arguments.url)


def run_command(arguments: argparse.Namespace) -> int:
    if arguments.what == "figure":
        redraw_figure(arguments)
    elif arguments.what == "diff":
        diff.print_differences(arguments)
    elif arguments.what == "export":
        export.export(arguments)
    elif arguments.what == "claims":
        show_claims(arguments.results, arguments.network)
    elif arguments.what == "report":
        print(f"report: {write_html(arguments)}")
    elif arguments.what == "keep":
        update_reference(arguments.results, arguments.reference, arguments.network or REFERENCE_NETWORK)
    else:
        network = arguments.network or REFERENCE_NETWORK
        changed = compare(arguments.results, arguments.reference, network)
        write_badge(arguments.results, network, changed)
        print("\n".join(changed) or "all numbers agree with the reference")
        return 1 if changed else 0
    return 0
