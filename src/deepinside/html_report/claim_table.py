"""The claims of all runs in one table: a row for each claim of an experiment, a column for each network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepinside.console.claims import expected_text
from deepinside.html_report.claim_bars import Axis, axis
from deepinside.html_report.runs import Run

NOT_MEASURED = re.compile(r"The claim (\w+) is not measured: (.*)\.")
"""The note of a run that says why a claim was not measured."""


@dataclass(frozen=True)
class Cell:
    """One claim on one network: its record from `metrics.json`, or the `reason` why it was not measured."""

    run: Run
    claim: Mapping[str, Any] | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        return str(self.claim["verdict"]) if self.claim else "not measured"


@dataclass(frozen=True)
class ClaimRow:
    """A claim of an experiment, by default or with other settings (`label`); `cells` by network."""

    id: str
    experiment: str
    label: str
    claim: str = ""
    source: str = ""
    expected: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def verdicts(self) -> list[str]:
        """The verdicts on all networks where the claim was measured."""
        return [cell.verdict for cell in self.cells.values() if cell.claim]

    @property
    def axis(self) -> Axis:
        """The axis of all networks' measurements."""
        return axis([cell.claim for cell in self.cells.values() if cell.claim])


def claim_table(runs: Iterable[Run]) -> list[ClaimRow]:
    """One row per claim and settings, in the order of the runs; runs with other settings have separate rows."""
    rows: dict[tuple[str, str, str], ClaimRow] = {}
    for run in runs:
        if not run.done:
            continue
        label = "" if run.is_default else run.name
        for claim in run.claims:
            key = (str(claim["id"]), run.experiment, label)
            row = rows.get(key) or ClaimRow(*key[:2], "" if run.is_default else run.label)
            rows[key] = ClaimRow(*key[:2], row.label, **claim_texts(row, claim), cells=row.cells)
            row.cells[run.network] = Cell(run, claim)
        for name, reason in not_measured(run.notes):
            key = (name, run.experiment, label)
            row = rows.setdefault(key, ClaimRow(*key[:2], "" if run.is_default else run.label))
            row.cells.setdefault(run.network, Cell(run, reason=reason))
    return list(rows.values())


def claim_texts(row: ClaimRow, claim: Mapping[str, Any]) -> dict[str, str]:
    """The claim's texts: the row's, or the run's if the row has none."""
    texts = {"claim": claim["claim"], "source": claim["source"], "expected": expected_text(claim)}
    return {name: getattr(row, name) or text for name, text in texts.items()}


def not_measured(notes: Sequence[str]) -> list[tuple[str, str]]:
    """The ids of claims that were not measured according to a run's notes, with the reasons."""
    return [(found[1], found[2]) for found in map(NOT_MEASURED.fullmatch, notes) if found]


def networks(rows: Iterable[ClaimRow]) -> list[str]:
    """The table's columns."""
    return sorted({network for row in rows for network in row.cells})
