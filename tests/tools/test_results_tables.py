"""The tables that README and docs show are those of the results they are made from."""

import json
from pathlib import Path

import pytest
import results_tables
from disk import CLAIM


def test_a_claim_is_a_row_with_its_verdict(tmp_path: Path) -> None:
    other = CLAIM | {"id": "zz", "estimate": 1.23456, "interval": None, "n": 2, "verdict": "inconclusive"}
    (tmp_path / "x.json").write_text(json.dumps({"claims": [CLAIM, other]}))
    (tmp_path / "y.json").write_text(json.dumps({"claims": [CLAIM]}))  # the same value again is no second row
    lines = results_tables.claims_table(tmp_path).splitlines()
    assert lines[2:] == [
        "| it is near | Simonyan et al. 2013, eq. 3 | order ≥ 1.5 | 2.5 [2.25, 2.75] | 9 photos | holds |",
        "| it is near | Simonyan et al. 2013, eq. 3 | order ≥ 1.5 | 1.23 | 2 photos | **inconclusive** |",
    ]
    assert results_tables.claims_table(tmp_path, ("Simonyan",)).splitlines() == lines
    assert results_tables.claims_table(tmp_path, ("Mahendran",)).splitlines() == lines[:2]


def test_the_runs_of_a_sweep_are_added_up(tmp_path: Path) -> None:
    for run, seconds in (("default", 1.4), ("seed=1", 2.3)):
        folder = tmp_path / "fig" / "tinycaffenet" / run
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"seconds": seconds}))
    (tmp_path / "sweeps").mkdir()
    assert results_tables.timings_table(tmp_path).splitlines()[2:] == ["| [fig](../experiments/fig.yaml) | 4 |"]


def test_text_goes_between_the_marks_of_a_page() -> None:
    page = "before\n<!-- t -->\nold\n<!-- /t -->\nafter\n"
    assert results_tables.inserted(page, "t", "new\n") == "before\n<!-- t -->\nnew\n<!-- /t -->\nafter\n"
    with pytest.raises(ValueError, match="expected the marks"):
        results_tables.inserted("none", "t", "new\n")


def test_table_one_has_the_papers_numbers_next_to_ours(tmp_path: Path) -> None:
    found = [CLAIM | {"id": name, "estimate": 0.3, "interval": [0.25, 0.342], "verdict": "holds"}
             for name in results_tables.REPRESENTATIONS]  # fmt: skip
    (tmp_path / "mahendran_table1.json").write_text(json.dumps({"claims": found}))
    lines = results_tables.table_one(tmp_path).splitlines()
    assert len(lines) == 5
    assert lines[2] == "| HOG | 28 % ± 8 % | 30.0 % [25.0 %, 34.2 %] | 9 | holds |"
