"""The committed numbers: kept from whole results, and compared within their tolerances."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from disk import CLAIM

from deepinside.cli import results as results_command
from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError

TOLERANCES = '"shaky/*": {relative: 0.5, absolute: 0.0}\n"*": {relative: 0.01, absolute: 0.001}\n'


def result(
    root: Path, name: str, *, score: float, status: str = "done", measured: float = 1.0, verdict: str = "holds"
) -> None:
    folder = root / name / "net" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    claim = {**CLAIM, "id": "c", "estimate": measured, "interval": [measured, 3.0], "verdict": verdict}
    found: dict[str, Any] = {"experiment": name, "network": "net", "status": status, "seconds": 1.0}
    (folder / "metrics.json").write_text(json.dumps({**found, "metrics": {"score": score}, "claims": [claim]}))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A reference of two experiments, both with score 10."""
    for name in ("steady", "shaky"):
        result(tmp_path / "first", name, score=10.0)
    results_command.update_reference(tmp_path / "first", tmp_path / "reference", "net")
    (tmp_path / "reference" / "tolerances.yaml").write_text(TOLERANCES)
    return tmp_path


def compared(root: Path) -> list[str]:
    return results_command.compare(root / "second", root / "reference", "net")


def test_equal_numbers_pass(kept: Path) -> None:
    for name in ("steady", "shaky"):
        result(kept / "second", name, score=10.0)
    assert compared(kept) == []


def test_the_number_that_moved_is_named_with_both_values(kept: Path) -> None:
    result(kept / "second", "steady", score=10.2)
    result(kept / "second", "shaky", score=14.0)
    assert compared(kept) == ["steady: score was 10, is 10.2, outside the relative tolerance 0.01"]


def test_a_claims_number_is_compared_too(kept: Path) -> None:
    result(kept / "second", "steady", score=10.0, measured=2.0)
    result(kept / "second", "shaky", score=10.0)
    assert compared(kept) == [
        "steady: claim/c was 1, is 2, outside the relative tolerance 0.01",
        "steady: claim/c/low was 1, is 2, outside the relative tolerance 0.01",
    ]


def test_another_verdict_is_a_change(kept: Path) -> None:
    result(kept / "second", "steady", score=10.0, verdict="inconclusive")
    result(kept / "second", "shaky", score=10.0)
    assert compared(kept) == ["steady: the claim c was holds, is inconclusive"]


@pytest.mark.parametrize("status", ["failed", None])
def test_a_run_that_is_missing_or_failed_is_no_result(kept: Path, status: str | None) -> None:
    result(kept / "second", "shaky", score=10.0)
    if status:
        result(kept / "second", "steady", score=10.0, status=status)
    assert len(compared(kept)) == 1
    assert "steady: expected a complete result" in compared(kept)[0]


def test_a_number_that_is_gone_is_said(kept: Path) -> None:
    result(kept / "second", "shaky", score=10.0)
    result(kept / "second", "steady", score=10.0)
    path = kept / "second" / "steady" / "net" / "default" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": {}}))
    assert compared(kept) == ["steady: score is missing"]


def test_nothing_is_kept_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match="make reproduce"):
        results_command.update_reference(tmp_path, tmp_path / "reference", "net")


@pytest.mark.parametrize(("score", "code"), [(10.0, 0), (20.0, 1)])
def test_the_command_says_by_its_exit_code_whether_all_is_well(
    kept: Path, score: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("steady", "shaky"):
        result(kept / "second", name, score=score)
    places = ["--results", str(kept / "second"), "--reference", str(kept / "reference"), "--network", "net"]
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "compare", *places])
    with pytest.raises(SystemExit) as end:
        results_command.main()
    assert end.value.code == code
    assert ("all numbers agree" in capsys.readouterr().out) == (code == 0)


def test_every_committed_number_belongs_to_an_experiment_and_has_a_tolerance() -> None:
    committed = {path.stem for path in (ROOT / "results" / "reference").glob("*.json")}
    single = {path.stem for path in (ROOT / "experiments").glob("*.yaml") if "MULTIRUN" not in path.read_text()}
    assert committed == single
    import yaml

    tolerances = yaml.safe_load((ROOT / "results" / "reference" / "tolerances.yaml").read_text())
    assert results_command.tolerance("any/thing", tolerances)["relative"] <= 0.02


def claims_said(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "claims", "--results", str(root), *words])
    with pytest.raises(SystemExit) as end:
        results_command.main()
    return end.value.code


def test_claims_stand_in_one_table_over_all_networks_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result(tmp_path, "steady", score=1.0, measured=0.25)
    shutil.copytree(tmp_path / "steady" / "net", tmp_path / "steady" / "other")
    for folder, measured in (("other/default", 0.5), ("other/images.root=mine", 0.75)):
        path = tmp_path / "steady" / folder / "metrics.json"
        path.parent.mkdir(exist_ok=True)
        found = json.loads((tmp_path / "steady/net/default/metrics.json").read_text())
        found["claims"][0]["estimate"] = measured
        path.write_text(json.dumps({**found, "network": "other"}))
    assert claims_said(tmp_path, monkeypatch) == 0
    said = capsys.readouterr().out
    assert all(words in said for words in ("net", "other", "0.25", "0.5", "0.75", "images.root=mine", "3 runs"))
    assert claims_said(tmp_path, monkeypatch, "--network", "net") == 0
    assert "0.75" not in capsys.readouterr().out


def test_a_network_without_results_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result(tmp_path, "steady", score=1.0)
    said = claims_said(tmp_path, monkeypatch, "--network", "nosuch")
    assert str(said).startswith("deepinside-results: --network: expected a network with results in")
    assert str(said).endswith("(net), found 'nosuch'.")
    assert "make reproduce" in str(claims_said(tmp_path / "empty", monkeypatch))
