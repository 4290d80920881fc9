"""The claims of all runs in one table: a row for each claim of an experiment, a column for each network."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepinside.html_report.runs import Run

NOT_MEASURED = re.compile(r"The claim (\w+) is not measured: (.*)\.")
"""How the notes of a run begin that say why a claim was not measured."""


@dataclass(frozen=True)
class Cell:
    """One claim on one network: `measured` and whether it holds, or `reason`, why it was not measured."""

    run: Run
    measured: float | None = None
    holds: bool | None = None
    reason: str = ""

    @property
    def verdict(self) -> str:
        if self.holds is None:
            return "not measured"
        return "holds" if self.holds else "does not hold"


@dataclass(frozen=True)
class ClaimRow:
    """A claim of an experiment, or of the experiment with other settings, `label`; `cells` by network."""

    id: str
    experiment: str
    label: str
    claim: str = ""
    source: str = ""
    expected: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def verdicts(self) -> list[str]:
        """By network, of those on which it was measured."""
        return [cell.verdict for cell in self.cells.values() if cell.holds is not None]

    @property
    def facets(self) -> list[tuple[str, str]]:
        """What the row can be chosen by."""
        verdicts = dict.fromkeys(cell.verdict for cell in self.cells.values())
        return [("Experiment", self.experiment), *(("Verdict", verdict) for verdict in verdicts)]


def claim_table(runs: Iterable[Run]) -> list[ClaimRow]:
    """A row for each claim and settings, in the order of the runs; runs with other settings have rows of their own."""
    rows: dict[tuple[str, str, str], ClaimRow] = {}
    for run in runs:
        if not run.done:
            continue
        label = "" if run.is_default else run.name
        for claim in run.claims:
            key = (str(claim["id"]), run.experiment, label)
            row = rows.get(key) or ClaimRow(*key[:2], "" if run.is_default else run.label)
            rows[key] = ClaimRow(*key[:2], row.label, **words(row, claim), cells=row.cells)
            row.cells[run.network] = Cell(run, float(claim["measured"]), bool(claim["holds"]))
        for name, reason in not_measured(run.notes):
            key = (name, run.experiment, label)
            row = rows.setdefault(key, ClaimRow(*key[:2], "" if run.is_default else run.label))
            row.cells.setdefault(run.network, Cell(run, reason=reason))
    return list(rows.values())


def words(row: ClaimRow, claim: Mapping[str, Any]) -> dict[str, str]:
    """What is said of a claim: what the row has already, or what the run says."""
    return {name: getattr(row, name) or str(claim.get(name) or "") for name in ("claim", "source", "expected")}


def not_measured(notes: Sequence[str]) -> list[tuple[str, str]]:
    """The ids of claims that a run's notes say were not measured, with the reason."""
    return [(found[1], found[2]) for found in map(NOT_MEASURED.fullmatch, notes) if found]


def networks(rows: Iterable[ClaimRow]) -> list[str]:
    """The table's columns."""
    return sorted({network for row in rows for network in row.cells})
