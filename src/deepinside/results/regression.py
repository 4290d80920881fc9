"""Regression: the committed numbers of a results folder, and what differs from them beyond its tolerance."""

import fnmatch
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from deepinside.errors import DeepInsideError
from deepinside.results.folder import is_done, read_metrics, write_json

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
    tolerances = read_tolerances(reference / "tolerances.yaml")
    changed: list[str] = []
    for path in sorted(reference.glob("*.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        if path.stem not in found:
            changed.append(f"{path.stem}: expected a complete result in {root}, found none")
            continue
        changed += differences(path.stem, numbers(known), numbers(found[path.stem]), tolerances)
        changed += changed_verdicts(path.stem, verdicts(known), verdicts(found[path.stem]))
    return changed


def write_badge(root: Path, network: str, changed: Sequence[str]) -> Path:
    """Write `claims-badge.json` into `root` for shields.io's endpoint: how many claims hold, red if numbers `changed`.

    Format: https://shields.io/badges/endpoint-badge
    """
    found = [word for metrics in results_of(root, network).values() for word in verdicts(metrics).values()]
    badge = {
        "schemaVersion": 1,
        "label": "papers' claims",
        "message": f"{found.count('holds')} of {len(found)} hold" + (f", {len(changed)} moved" if changed else ""),
        "color": "red" if changed else "brightgreen",
        "isError": bool(changed),
    }
    path = root / "claims-badge.json"
    write_json(path, badge)
    return path


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
        elif not is_close(found[key], value, limit):
            change = f"{key} was {value:.6g}, is {found[key]:.6g}"
            yield f"{name}: {change}, outside the relative tolerance {limit['relative']:g}"


def tolerance(key: str, tolerances: Mapping[str, Any]) -> Mapping[str, float]:
    """The limits of the first pattern that matches `experiment/metric`; the last pattern matches everything."""
    return next(limits for pattern, limits in tolerances.items() if fnmatch.fnmatch(key, pattern))


def is_close(found: float, known: float, limit: Mapping[str, float]) -> bool:
    return math.isclose(found, known, rel_tol=limit["relative"], abs_tol=limit["absolute"])


def read_tolerances(path: Path) -> dict[str, Any]:
    """The limits by pattern. Raises DeepInsideError if the file is not such a mapping."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DeepInsideError(f"{path}: expected tolerances, found {' '.join(str(error).split())}.") from error
    if not isinstance(found, dict) or "*" not in found:
        raise DeepInsideError(f'{path}: expected limits by pattern, with one for "*", found none.')
    return found
