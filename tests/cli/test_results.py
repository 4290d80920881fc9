"""The command `deepinside-results`: its exit codes, the table of claims, and one sentence per error."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from disk import put_numbers

from deepinside.cli import results as results_command
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


@pytest.mark.parametrize(("score", "code"), [(10.0, 0), (20.0, 1)])
def test_the_command_says_by_its_exit_code_whether_all_is_well(
    kept: Path, score: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("steady", "shaky"):
        put_numbers(kept / "second", name, score=score)
    places = ["--results", str(kept / "second"), "--reference", str(kept / "reference"), "--network", "net"]
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "compare", *places])
    with pytest.raises(SystemExit) as end:
        results_command.main()
    assert end.value.code == code
    assert ("all numbers agree" in capsys.readouterr().out) == (code == 0)


def claims_said(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["deepinside-results", "claims", "--results", str(root), *words])
    with pytest.raises(SystemExit) as end:
        results_command.main()
    return end.value.code


def test_claims_stand_in_one_table_over_all_networks_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_numbers(tmp_path, "steady", score=1.0, measured=0.25)
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


def test_claims_that_one_run_could_not_measure_share_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_numbers(tmp_path, "steady", score=1.0, measured=0.25)
    path = tmp_path / "steady/net/default/metrics.json"
    notes = [f"The claim {name} is not measured: no boxes." for name in ("small_objects", "top_five")]
    path.write_text(json.dumps({**json.loads(path.read_text()), "notes": notes}))
    assert claims_said(tmp_path, monkeypatch) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("·")]
    assert said == ["· not measured, because no boxes: small objects, top five (steady)"]


def test_a_network_without_results_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_numbers(tmp_path, "steady", score=1.0)
    said = claims_said(tmp_path, monkeypatch, "--network", "nosuch")
    assert str(said).startswith("deepinside-results: --network: expected a network with results in")
    assert str(said).endswith("(net), found 'nosuch'.")
    assert "make reproduce" in str(claims_said(tmp_path / "empty", monkeypatch))
