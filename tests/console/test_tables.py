"""What stands on the screen when a run is over."""

from pathlib import Path
from typing import Any

import pytest

from deepinside.console import tables

FOUND: dict[str, Any] = {
    "experiment": "fig2_saliency",
    "network": "net",
    "seconds": 3.14159,
    "metrics": {"score": 1.23456, "ten/score": 2.0},
    "claims": [
        {"id": "order", "source": "Paper", "claim": "it falls", "measured": 2.0, "expected": "≥ 1.5", "holds": True},
        {"id": "mixes", "source": "Tool", "claim": "differs", "measured": 0.95, "expected": "≤ 0.9", "holds": False},
    ],
    "skipped": [{"name": "[bold]odd:cat:[/bold].jpg", "reason": "not an image"}],
}  # fmt: skip


def said(found: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[str]:
    tables.print_run(Path("results/a[b]/default"), found)
    return capsys.readouterr().out.splitlines()


def test_a_run_says_where_its_result_is_and_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(FOUND, capsys)
    assert lines[0] == "fig2_saliency on net: 3.1 s, results/a[b]/default"
    assert lines[1:3] == ["  score 1.235", "  ten/score 2"]


def test_a_claim_that_fails_is_reported_as_failed_with_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(FOUND, capsys)
    (order,) = [line for line in lines if "order" in line]
    (mixes,) = [line for line in lines if "mixes" in line]
    assert "≥ 1.5" in order
    assert "does not hold" not in order
    assert "0.95" in mixes
    assert "does not hold" in mixes


def test_names_of_files_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(FOUND, capsys)[-1] == "  skipped [bold]odd:cat:[/bold].jpg: not an image"


def test_no_empty_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(said({**FOUND, "claims": [], "skipped": []}, capsys)) == 3
