"""The committed numbers: kept from whole results, and compared within their tolerances."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deepinside import reference
from deepinside.errors import DeepInsideError
from deepinside.home import HOME

TOLERANCES = '"shaky/*": {relative: 0.5, absolute: 0.0}\n"*": {relative: 0.01, absolute: 0.001}\n'


def result(root: Path, name: str, *, score: float, status: str = "done", measured: float = 1.0) -> None:
    folder = root / name / "net" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    claim = {"id": "c", "source": "s", "claim": "w", "measured": measured, "expected": "e", "holds": True}
    found: dict[str, Any] = {"experiment": name, "network": "net", "status": status, "seconds": 1.0}
    (folder / "metrics.json").write_text(json.dumps({**found, "metrics": {"score": score}, "claims": [claim]}))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A reference of two experiments, both with score 10."""
    for name in ("steady", "shaky"):
        result(tmp_path / "first", name, score=10.0)
    reference.keep(tmp_path / "first", tmp_path / "reference", "net")
    (tmp_path / "reference" / "tolerances.yaml").write_text(TOLERANCES)
    return tmp_path


def compared(root: Path) -> list[str]:
    return reference.compare(root / "second", root / "reference", "net")


def test_equal_numbers_pass(kept: Path) -> None:
    for name in ("steady", "shaky"):
        result(kept / "second", name, score=10.0)
    assert compared(kept) == []


def test_the_number_that_moved_is_named_with_both_values(kept: Path) -> None:
    result(kept / "second", "steady", score=10.2)
    result(kept / "second", "shaky", score=14.0)
    assert compared(kept) == ["steady: score was 10, is 10.2, beyond 0.01 of it"]


def test_a_claims_number_is_compared_too(kept: Path) -> None:
    result(kept / "second", "steady", score=10.0, measured=2.0)
    result(kept / "second", "shaky", score=10.0)
    assert compared(kept) == ["steady: claim/c was 1, is 2, beyond 0.01 of it"]


@pytest.mark.parametrize("status", ["failed", None])
def test_a_run_that_is_missing_or_failed_is_no_result(kept: Path, status: str | None) -> None:
    result(kept / "second", "shaky", score=10.0)
    if status:
        result(kept / "second", "steady", score=10.0, status=status)
    assert len(compared(kept)) == 1
    assert "steady: expected a whole result" in compared(kept)[0]


def test_a_number_that_is_gone_is_said(kept: Path) -> None:
    result(kept / "second", "shaky", score=10.0)
    result(kept / "second", "steady", score=10.0)
    path = kept / "second" / "steady" / "net" / "default" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {}}))
    assert compared(kept) == ["steady: score is gone"]


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match="make reproduce"):
        reference.keep(tmp_path, tmp_path / "reference", "net")


@pytest.mark.parametrize(("score", "code"), [(10.0, 0), (20.0, 1)])
def test_the_command_says_by_its_exit_code_whether_all_is_well(
    kept: Path, score: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("steady", "shaky"):
        result(kept / "second", name, score=score)
    places = ["--results", str(kept / "second"), "--reference", str(kept / "reference"), "--network", "net"]
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "compare", *places])
    with pytest.raises(SystemExit) as end:
        reference.main()
    assert end.value.code == code
    assert ("every number is where" in capsys.readouterr().out) == (code == 0)


def test_every_committed_number_belongs_to_an_experiment_and_has_a_tolerance() -> None:
    committed = {path.stem for path in (HOME / "results" / "reference").glob("*.json")}
    single = {path.stem for path in (HOME / "experiments").glob("*.yaml") if "MULTIRUN" not in path.read_text()}
    assert committed == single
    import yaml

    tolerances = yaml.safe_load((HOME / "results" / "reference" / "tolerances.yaml").read_text())
    assert reference.tolerance("any/thing", tolerances)["relative"] <= 0.02
