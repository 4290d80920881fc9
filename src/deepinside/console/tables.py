"""Prints the result of a run to the terminal."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deepinside.console import loading


class Screen(Console):
    """A console that ignores a closed pipe, as with `| head`, so that the run continues."""

    def print(self, *told: Any, **options: Any) -> None:
        loading.end()
        super().print(*told, **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


SCREEN = Screen(highlight=False, soft_wrap=True, emoji=False)
if not SCREEN.is_terminal:
    SCREEN.width = 140  # a log has no width


def print_run(folder: Path, found: Mapping[str, Any], verbosity: str = "normal") -> None:
    """Print the result's folder, metrics, claims, notes and skipped photos; nothing if `quiet`."""
    if verbosity == "quiet":
        return
    if found.get("skipped_as_done"):
        said = f"{folder}: already done, nothing to do; runtime.overwrite=true recomputes it."
        SCREEN.print(said, markup=False)
        return
    SCREEN.print(f"{found['experiment']} on {found['network']}: {found['seconds']:.1f} s, {folder}", markup=False)
    for name, value in found["metrics"].items():
        SCREEN.print(f"  {name} {value:.4g}", markup=False)
    if found.get("by_group"):
        SCREEN.print(groups_table(found["by_group"]))
    if found["claims"]:
        SCREEN.print(claims_table(found["claims"]))
    for note in found.get("notes", []):
        SCREEN.print(f"  note: {note}", markup=False)
    for skipped in found["skipped"]:
        SCREEN.print(f"  skipped {skipped['name']}: {skipped['reason']}", markup=False)


def groups_table(by_group: Mapping[str, Mapping[str, float]]) -> Table:
    """One row per metric, one column per group of items."""
    table = Table("mean of", *by_group, title="By group")
    for name in dict.fromkeys(name for values in by_group.values() for name in values):
        cells = [f"{values[name]:.4g}" if name in values else "" for values in by_group.values()]
        table.add_row(name, *cells)
    return table


def claims_table(claims: Iterable[Mapping[str, Any]]) -> Table:
    """One row per claim; the full sentence of each claim is in `metrics.json`."""
    table = Table("claim", "source", "measured", "expected", "verdict", title="The papers' claims, measured here")
    for claim in claims:
        verdict = "holds" if claim["holds"] else "does not hold"
        table.add_row(claim["id"], claim["source"], f"{claim['measured']:.4g}", claim["expected"], verdict)
    return table
