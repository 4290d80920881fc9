"""The committed numbers of `make reproduce`, and whether a new run still gives them: `deepinside-results`."""

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
from deepinside.errors import DeepInsideError
from deepinside.results.folder import is_done, read_metrics, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from deepinside.html_report.claim_table import Cell, ClaimRow
    from deepinside.html_report.runs import Run

REFERENCE_KEYS = ("experiment", "network", "metrics", "claims")
KEPT_NETWORK = "tinycaffenet"
SHOWN = ("fig1_class_models",)
"""The experiments whose figures are kept too, because the README shows them."""


def results_of(root: Path, network: str) -> dict[str, dict[str, Any]]:
    """`metrics.json` of every experiment's whole default run on `network` under `root`, by experiment."""
    folders = sorted(folder for folder in root.glob(f"*/{network}/default") if is_done(folder))
    return {folder.parts[-3]: read_metrics(folder) or {} for folder in folders}


def update_reference(root: Path, reference: Path, network: str) -> None:
    """Write the numbers of `root` as the reference."""
    found = results_of(root, network)
    if not found:
        raise DeepInsideError(f"expected whole results for {network} in {root}, found none; run `make reproduce`.")
    reference.mkdir(parents=True, exist_ok=True)
    for name, metrics in found.items():
        write_json(reference / f"{name}.json", {key: metrics[key] for key in REFERENCE_KEYS})
        if name in SHOWN:
            (reference / "figures").mkdir(exist_ok=True)
            shutil.copy(root / name / network / "default" / "figure.png", reference / "figures" / f"{name}.png")
        print(f"kept {name}: {len(metrics['metrics'])} numbers, {len(metrics['claims'])} claims")


def compare(root: Path, reference: Path, network: str) -> list[str]:
    """What differs from the reference beyond its tolerances, a sentence each; an empty list where nothing does."""
    found = results_of(root, network)
    tolerances = yaml.safe_load((reference / "tolerances.yaml").read_text(encoding="utf-8"))
    moved: list[str] = []
    for path in sorted(reference.glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        if path.stem not in found:
            moved.append(f"{path.stem}: expected a whole result in {root}, found none")
            continue
        moved += differences(path.stem, numbers(known), numbers(found[path.stem]), tolerances)
    return moved


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every metric by name, and every claim's measured value as `claim/…`."""
    claims = {f"claim/{claim['id']}": claim["measured"] for claim in metrics["claims"]}
    return {**metrics["metrics"], **claims}


def differences(
    name: str, known: Mapping[str, float], found: Mapping[str, float], tolerances: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in known.items():
        limit = tolerance(f"{name}/{key}", tolerances)
        if key not in found:
            yield f"{name}: {key} is gone"
        elif not math.isclose(found[key], value, rel_tol=limit["relative"], abs_tol=limit["absolute"]):
            yield f"{name}: {key} was {value:.6g}, is {found[key]:.6g}, beyond {limit['relative']:g} of it"


def tolerance(key: str, tolerances: Mapping[str, Any]) -> Mapping[str, float]:
    """The limits of the first pattern that fits `experiment/metric`; every file ends with one that fits all."""
    return next(limits for pattern, limits in tolerances.items() if fnmatch.fnmatch(key, pattern))


def show_claims(root: Path, network: str | None) -> None:
    """One table of every claim of every run under `root`, a column for each network; of one network alone if named."""
    from deepinside.html_report.claim_table import claim_table

    runs = whole_runs(root)
    check_network(root, network, {run.network for run in runs})
    rows = claim_table(run for run in runs if network in (None, run.network))
    tables.SCREEN.print(claims_across(rows))
    tables.SCREEN.print(f"{len(runs)} runs; figures and numbers in {root.resolve()}", markup=False)


def claims_across(rows: "Sequence[ClaimRow]") -> "Table":
    """One line a claim and experiment, one column a network: what was measured and whether the claim holds."""
    from rich.markup import escape
    from rich.table import Table

    from deepinside.html_report.claim_table import networks

    columns = networks(rows)
    table = Table(title="The papers' claims, by network", show_lines=True)
    for name in ("claim", "experiment", "expected", *columns):
        table.add_column(name, overflow="fold")
    for row in rows:
        where = f"{row.experiment}\n{row.label}" if row.label else row.experiment
        cells = [said(row.cells[network]) if network in row.cells else "" for network in columns]
        table.add_row(*map(escape, (row.id, where, row.expected)), *map(escape, cells))
    return table


def said(cell: "Cell") -> str:
    """What a cell of the table of claims says."""
    return f"{cell.measured:.4g}\n{cell.verdict}" if cell.measured is not None else cell.verdict


def whole_runs(root: Path) -> "list[Run]":
    """Every whole result under `root`, on one's own photos and with other settings too, those of a paper together."""
    from deepinside.html_report.runs import read_run, scan_results
    from deepinside.html_report.views import experiments

    found = (read_run(root, folder, stamp) for folder, stamp in scan_results(root).runs.items())
    return [run for one in experiments(run for run in found if run is not None) for run in one.runs if run.done]


def check_network(root: Path, network: str | None, known: set[str]) -> None:
    """Raise DeepInsideError where there are no results at all, or none on the network asked for."""
    if not known:
        raise DeepInsideError(f"expected whole results in {root}, found none; run `make reproduce`.")
    if network is not None and network not in known:
        raise DeepInsideError(
            f"--network: expected one with results in {root}, which are {', '.join(sorted(known))}; found {network!r}."
        )


def main() -> None:
    """The console script `deepinside-results`."""
    parser = argparse.ArgumentParser(prog="deepinside-results", description=__doc__)
    parser.add_argument("what", choices=["claims", "compare", "keep", "report"])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--reference", type=Path, default=Path("results/reference"))
    parser.add_argument("--network", help="one network; claims: all, keep and compare: tinycaffenet, if left out")
    asked = parser.parse_args()
    try:
        sys.exit(answer(asked))
    except DeepInsideError as error:
        sys.exit(f"deepinside-results: {error}")


def answer(asked: argparse.Namespace) -> int:
    if asked.what == "claims":
        show_claims(asked.results, asked.network)
    elif asked.what == "report":
        from deepinside.html_report import write_report

        print(f"report: {write_report(asked.results)}")
    elif asked.what == "keep":
        update_reference(asked.results, asked.reference, asked.network or KEPT_NETWORK)
    else:
        moved = compare(asked.results, asked.reference, asked.network or KEPT_NETWORK)
        print("\n".join(moved) or "every number is where the reference has it")
        return 1 if moved else 0
    return 0
