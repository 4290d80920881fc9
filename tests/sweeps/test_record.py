"""What a sweep's folder holds, what it is called, and that it is whole or not there."""

import csv
import json
from pathlib import Path

import pytest

from deepinside.results.folder import LONGEST
from deepinside.sweeps import record
from deepinside.sweeps.runs import Run, Sweep

NAMES = ("seen", "tiny")


def run(status: str = "done", **overrides: object) -> Run:
    metrics = {"score": 2.5} if status == "done" else {}
    return Run(overrides, "seen/tiny/default", *NAMES, status, None, 1.5, metrics)  # type: ignore[arg-type]


def result(folder: Path, **found: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


def test_axes_are_what_the_runs_differ_in() -> None:
    sweep = Sweep("name", "deepinside", [run(seed=s, l2=0.5, layers=[1, s]) for s in (3, 1)])
    assert sweep.axes == {"seed": [3, 1], "layers": [[1, 3], [1, 1]]}
    mixed = Sweep("name", "deepinside", [run(seed=0), run(seed=0, l2=0.5)])
    assert mixed.axes == {"l2": [0.5]}  # swept in one experiment's file, not in the other's


def test_a_sweep_is_called_after_its_experiment_and_values() -> None:
    changes = {"technique.l2": [1e-3, 0.01], "network": ["a", "b"], "runtime.threads": [1], "runtime.results": ["x"]}
    assert record.sweep_name("fig1", changes) == "fig1,technique.l2=0.001+0.01,network=a+b"
    assert record.sweep_name("fig1", {"images.root": ["my photos/x"]}) == "fig1,images.root=my_photos_x"


def test_a_long_name_is_cut_and_still_tells_sweeps_apart() -> None:
    first, second = (record.sweep_name("fig1", {"seed": list(range(n))}) for n in (90, 91))
    assert len(first) == len(second) == LONGEST
    assert first.startswith("fig1,seed=0+1+2")
    assert first != second
    assert first == record.sweep_name("fig1", {"seed": list(range(90))})


def test_the_record_is_written_and_replaced_whole(tmp_path: Path) -> None:
    sweep = Sweep("name", "deepinside -m seed=1,2", [run(seed=1), run("failed", seed=2)])
    for _ in range(2):
        folder = record.write(tmp_path, sweep)
    assert folder == tmp_path / "sweeps" / "name"
    assert [path.name for path in folder.parent.iterdir()] == ["name"]
    assert {path.name for path in folder.iterdir()} == {
        "sweep.json",
        "sweep.csv",
        "seeds.csv",
        "figure.png",
        "metrics.png",
    }
    found = json.loads((folder / "sweep.json").read_text())
    assert (found["schema"], found["name"], found["command"]) == (1, "name", "deepinside -m seed=1,2")
    assert found["axes"] == {"seed": [1, 2]}
    assert found["runs"][0] == {
        "overrides": {"seed": 1}, "folder": "seen/tiny/default", "experiment": "seen", "network": "tiny",
        "status": "done", "reason": None, "seconds": 1.5, "metrics": {"score": 2.5},
    }  # fmt: skip


def test_what_goes_wrong_leaves_the_old_record(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "old").touch()
    with pytest.raises(ZeroDivisionError), record.replacing(tmp_path / "sweep") as aside:
        (aside / "new").touch()
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["sweep", "old"]


def test_means_over_seeds_by_everything_else() -> None:
    runs = [
        Run({"seed": seed, "l2": l2}, "f", *NAMES, "done", None, 1.0, {"score": l2 + seed})
        for l2 in (1, 5) for seed in (0, 1, 2)
    ]  # fmt: skip
    runs.append(Run({"seed": 3, "l2": 1}, None, *NAMES, "failed"))
    runs.append(Run({"seed": 0, "l2": 9}, "f", *NAMES, "done", metrics={"score": 7}))
    first, second, alone = csv.DictReader(record.means_csv(Sweep("n", "c", runs)).splitlines())
    assert (first["l2"], first["experiment"], first["n"], first["score"]) == ("1", "seen", "3", "2.0")
    assert (float(first["score/low"]), float(first["score/high"])) == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert (second["n"], second["score"]) == ("3", "6.0")
    assert (alone["n"], alone["score"], alone["score/low"]) == ("1", "7.0", "")


def test_a_row_a_run_with_empty_cells_where_it_has_no_value() -> None:
    runs = [run(seed=1, layers=["a", "b"]), run("failed", seed=2)]
    runs[1] = Run({"seed": 2}, None, *NAMES, "failed", 'said "no", twice', 0.1)
    rows = list(csv.DictReader(record.as_csv(Sweep("n", "c", runs)).splitlines()))
    assert rows[0] == {
        "seed": "1", "layers": "a+b", "experiment": "seen", "network": "tiny", "status": "done", "reason": "",
        "seconds": "1.5", "folder": "seen/tiny/default", "score": "2.5",
    }  # fmt: skip
    assert (rows[1]["layers"], rows[1]["score"], rows[1]["folder"]) == ("", "", "")
    assert rows[1]["reason"] == 'said "no", twice'


def test_a_run_nobody_reported_on_is_what_its_folder_says(tmp_path: Path) -> None:
    done = result(tmp_path / "a" / "t" / "done", status="done", seconds=2.0, metrics={"score": 1.0})
    result(tmp_path / "a" / "t" / "bad", status="failed", reason="diverged")
    half = tmp_path / "a" / "t" / "half"
    found = [record.as_found({}, folder, tmp_path, NAMES) for folder in (done, done.with_name("bad"), half, None)]
    assert [entry.status for entry in found] == ["done", "failed", "missing", "missing"]
    assert (found[0].folder, found[0].seconds, found[0].metrics) == ("a/t/done", 2.0, {"score": 1.0})
    assert found[1].reason == "diverged"
    assert [entry.folder for entry in found[2:]] == ["a/t/half", None]
