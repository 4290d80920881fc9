"""The committed numbers of `make reproduce`, and whether a new run still gives them: `deepinside-results`."""

import argparse
import fnmatch
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deepinside import report
from deepinside.errors import DeepInsideError
from deepinside.results import is_done, read_metrics, write_json

KEPT = ("experiment", "network", "metrics", "claims")
SHOWN = ("fig1_class_models",)
"""The experiments whose figures are kept too, because the README shows them."""


def results_of(root: Path, network: str) -> dict[str, dict[str, Any]]:
    """`metrics.json` of every experiment's whole default run on `network` under `root`, by experiment."""
    folders = sorted(folder for folder in root.glob(f"*/{network}/default") if is_done(folder))
    return {folder.parts[-3]: read_metrics(folder) or {} for folder in folders}


def keep(root: Path, reference: Path, network: str) -> None:
    """Write the numbers of `root` as the reference."""
    found = results_of(root, network)
    if not found:
        raise DeepInsideError(f"expected whole results for {network} in {root}, found none; run `make reproduce`.")
    reference.mkdir(parents=True, exist_ok=True)
    for name, metrics in found.items():
        write_json(reference / f"{name}.json", {key: metrics[key] for key in KEPT})
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


def show_claims(root: Path, network: str) -> None:
    """One table of every claim measured on `network`, and where the results lie."""
    found = results_of(root, network)
    report.SCREEN.print(report.claims_table(claim for metrics in found.values() for claim in metrics["claims"]))
    report.SCREEN.print(f"{len(found)} experiments on {network}; figures and numbers in {root.resolve()}", markup=False)


def main() -> None:
    """The console script `deepinside-results`."""
    parser = argparse.ArgumentParser(prog="deepinside-results", description=__doc__)
    parser.add_argument("what", choices=["claims", "compare", "keep", "report"])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--reference", type=Path, default=Path("results/reference"))
    parser.add_argument("--network", default="tinycaffenet")
    asked = parser.parse_args()
    try:
        sys.exit(answer(asked))
    except DeepInsideError as error:
        sys.exit(f"deepinside-results: {error}")


def answer(asked: argparse.Namespace) -> int:
    if asked.what == "claims":
        show_claims(asked.results, asked.network)
    elif asked.what == "report":
        from deepinside.pages import write_report

        print(f"report: {write_report(asked.results)}")
    elif asked.what == "keep":
        keep(asked.results, asked.reference, asked.network)
    else:
        moved = compare(asked.results, asked.reference, asked.network)
        print("\n".join(moved) or "every number is where the reference has it")
        return 1 if moved else 0
    return 0
