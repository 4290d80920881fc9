"""The regression check: ratios that may not fall below what `floors.yaml` says. Seconds are never compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FLOORS = Path(__file__).with_name("floors.yaml")
Floors = Mapping[str, Mapping[str, float]]


def read(path: Path = FLOORS) -> Floors:
    """By workload and way, how many times as long as deepinside it has to take at least."""
    return yaml.safe_load(path.read_text())


def broken(name: str, work: Mapping[str, Any], floors: Mapping[str, float]) -> list[str]:
    """What is wrong with a workload's record, one sentence each; a way that is not installed says nothing."""
    found = []
    for way, floor in floors.items():
        record = work["ways"].get(way)
        if record is None:
            continue
        if not record["agrees"]:
            found.append(f"{name}: {way}'s numbers differ by {record['difference']:.1e}")
        elif record["ratio"]["median"] < floor:
            found.append(f"{name}: {way} takes {record['ratio']['median']:.2f} times as long, expected {floor} or more")
    return found
