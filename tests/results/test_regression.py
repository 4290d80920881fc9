"""The committed numbers: kept from complete results, and compared within their tolerances."""

import json
from pathlib import Path

import pytest
import yaml
from disk import put_numbers

from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError
from deepinside.results import regression

TOLERANCES = '"shaky/*": {relative: 0.5, absolute: 0.0}\n"*": {relative: 0.01, absolute: 0.001}\n'


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A reference of two experiments, both with score 10."""
    for name in ("steady", "shaky"):
        put_numbers(tmp_path / "first", name, score=10.0)
    regression.update_reference(tmp_path / "first", tmp_path / "reference", "net")
    (tmp_path / "reference" / "tolerances.yaml").write_text(TOLERANCES)
    return tmp_path


def compared(root: Path) -> list[str]:
    return regression.compare(root / "second", root / "reference", "net")


def test_equal_numbers_pass(kept: Path) -> None:
    for name in ("steady", "shaky"):
        put_numbers(kept / "second", name, score=10.0)
    assert compared(kept) == []


def test_the_number_that_moved_is_named_with_both_values(kept: Path) -> None:
    put_numbers(kept / "second", "steady", score=10.2)
    put_numbers(kept / "second", "shaky", score=14.0)
    assert compared(kept) == ["steady: score was 10, is 10.2, outside the relative tolerance 0.01"]


def test_a_claims_number_is_compared_too(kept: Path) -> None:
    put_numbers(kept / "second", "steady", score=10.0, measured=2.0)
    put_numbers(kept / "second", "shaky", score=10.0)
    assert compared(kept) == [
        "steady: claim/c was 1, is 2, outside the relative tolerance 0.01",
        "steady: claim/c/low was 1, is 2, outside the relative tolerance 0.01",
    ]


def test_another_verdict_is_a_change(kept: Path) -> None:
    put_numbers(kept / "second", "steady", score=10.0, verdict="inconclusive")
    put_numbers(kept / "second", "shaky", score=10.0)
    assert compared(kept) == ["steady: the claim c was holds, is inconclusive"]


def test_the_badge_counts_the_claims_that_hold_and_turns_red_if_a_number_moved(kept: Path) -> None:
    put_numbers(kept / "second", "steady", score=10.0, verdict="inconclusive")
    put_numbers(kept / "second", "shaky", score=10.0)
    path = regression.write_badge(kept / "second", "net", [])
    assert json.loads(path.read_text()) == {
        "schemaVersion": 1, "label": "papers' claims", "message": "1 of 2 hold",
        "color": "brightgreen", "isError": False,
    }  # fmt: skip
    badge = json.loads(regression.write_badge(kept / "second", "net", compared(kept)).read_text())
    assert (badge["message"], badge["color"], badge["isError"]) == ("1 of 2 hold, 1 moved", "red", True)


@pytest.mark.parametrize("status", ["failed", None])
def test_a_run_that_is_missing_or_failed_is_no_put_numbers(kept: Path, status: str | None) -> None:
    put_numbers(kept / "second", "shaky", score=10.0)
    if status:
        put_numbers(kept / "second", "steady", score=10.0, status=status)
    assert len(compared(kept)) == 1
    assert "steady: expected a complete result" in compared(kept)[0]


def test_a_number_that_is_gone_is_said(kept: Path) -> None:
    put_numbers(kept / "second", "shaky", score=10.0)
    put_numbers(kept / "second", "steady", score=10.0)
    path = kept / "second" / "steady" / "net" / "default" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {}}))
    assert compared(kept) == ["steady: score is missing"]


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match="make reproduce"):
        regression.update_reference(tmp_path, tmp_path / "reference", "net")


def test_every_committed_number_belongs_to_an_experiment_and_has_a_tolerance() -> None:
    committed = {path.stem for path in (ROOT / "results" / "reference").glob("*.json")}
    single = {path.stem for path in (ROOT / "experiments").glob("*.yaml") if "MULTIRUN" not in path.read_text()}
    assert committed == single
    tolerances = yaml.safe_load((ROOT / "results" / "reference" / "tolerances.yaml").read_text())
    assert regression.tolerance("any/thing", tolerances)["relative"] <= 0.02


@pytest.mark.parametrize("text", ["- a list", "a: {relative: 0.1, absolute: 0}", "a: ["])
def test_tolerances_that_cannot_be_used_are_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "limits.yaml").write_text(text)
    with pytest.raises(DeepInsideError, match=r"limits.yaml: expected .*, found .*\.$"):
        regression.read_tolerances(tmp_path / "limits.yaml")
