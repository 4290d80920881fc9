"""Where a run's folder goes, and that nothing half-written is ever taken for a result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from disk import CLAIM

from deepinside.errors import DeepInsideError
from deepinside.results import folder as results
from deepinside.types import Claim, safe_name, unique

DEFAULTS = {"name": "fig", "network": {"name": "net"}, "technique": {"l2": 1.0, "targets": ["a"]}, "seed": 0}


def config(**technique: Any) -> dict[str, Any]:
    return {**DEFAULTS, "technique": {**DEFAULTS["technique"], **technique}}  # type: ignore[dict-item]


def done(folder: Path, settings: dict[str, Any]) -> Path:
    with results.writing(folder) as aside:
        results.write_config(aside / "config.yaml", settings)
        results.write_json(aside / "metrics.json", {"schema": results.SCHEMA, "status": "done", "metrics": {}})
    return folder


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# ---- where ----


def test_a_person_can_predict_the_place(tmp_path: Path) -> None:
    place = results.folder_for
    assert place(tmp_path, DEFAULTS, DEFAULTS) == tmp_path / "fig" / "net" / "default"
    changed = place(tmp_path, {**config(l2=0.01), "seed": 3}, DEFAULTS)
    assert changed.name == "technique.l2=0.01,seed=3"
    assert place(tmp_path, config(targets=["b", "c d"]), DEFAULTS).name == "technique.targets=b+c_d"


def test_where_and_how_fast_do_not_count_as_differences() -> None:
    here = {"runtime": {"results": "a", "threads": 1, "model_cache": None, "device": "cpu"}}
    there = {"runtime": {"results": "b", "threads": 9, "model_cache": "c", "device": "cuda"}}
    assert results.changed_keys({**DEFAULTS, **there}, {**DEFAULTS, **here}) == {"runtime.device": "cuda"}


def test_what_the_report_says_does_not_count_as_a_difference() -> None:
    told = {"name": "a", "seed": 0, "story": {"question": "Why?", "link": ""}}
    assert results.identity(told) == results.identity({"name": "a", "seed": 0, "story": {}}) == {"name": "a", "seed": 0}
    assert "history.a" in results.identity({"history": {"a": 1}})


def test_a_long_place_is_cut_and_stays_unlike_others(tmp_path: Path) -> None:
    long, other = config(targets=["x" * 200]), config(targets=["x" * 199 + "y"])
    names = {results.folder_for(tmp_path, settings, DEFAULTS).name for settings in (long, other)}
    assert len(names) == 2
    assert all(len(name) <= results.LONGEST for name in names)


def test_no_name_leads_out_of_the_results_folder(tmp_path: Path) -> None:
    for name in ("../../etc", "..", "/etc", ".", "a/b", ""):
        found = results.folder_for(tmp_path, {**DEFAULTS, "name": name, "network": {"name": name}}, DEFAULTS)
        assert found.resolve().parents[2] == tmp_path.resolve(), name
        assert len(found.relative_to(tmp_path).parts) == 3


def test_another_configuration_never_overwrites(tmp_path: Path) -> None:
    first = done(results.folder_for(tmp_path, config(l2=0.1), config(l2=0.1)), config(l2=0.1))
    # the experiment's YAML has been edited since: its defaults are others now
    second = results.folder_for(tmp_path, config(l2=0.2), config(l2=0.2))
    assert first.name == "default"
    assert second.name.startswith("default~")
    assert second == results.folder_for(tmp_path, config(l2=0.2), config(l2=0.2))
    assert second != results.folder_for(tmp_path, config(l2=0.3), config(l2=0.3))
    assert results.folder_for(tmp_path, config(l2=0.1), config(l2=0.1)) == first


def test_values_that_spell_alike_get_different_places(tmp_path: Path) -> None:
    first = done(results.folder_for(tmp_path, config(targets=["a b"]), DEFAULTS), config(targets=["a b"]))
    assert results.folder_for(tmp_path, config(targets=["a_b"]), DEFAULTS) != first


def test_true_is_one_target_however_it_is_written(tmp_path: Path) -> None:
    names = {results.folder_for(tmp_path, config(target=value), DEFAULTS).name for value in (True, "true", "True")}
    assert names == {"technique.target=true"}
    lists = {results.folder_for(tmp_path, config(targets=[value, "a"]), DEFAULTS).name for value in (True, "true")}
    assert lists == {"technique.targets=true+a"}
    folder = done(results.folder_for(tmp_path, config(target=True), DEFAULTS), config(target=True))
    assert results.folder_for(tmp_path, config(target="true"), DEFAULTS) == folder
    assert results.folder_for(tmp_path, config(target=1), DEFAULTS) != folder
    variants = ({**DEFAULTS, "variants": {"own": {"target": value}}} for value in (True, "true"))
    assert len({results.folder_for(tmp_path, one, DEFAULTS) for one in variants}) == 1


def test_a_configuration_read_back_is_the_same_one(tmp_path: Path) -> None:
    settings = config(l2=1e-7, targets=["n01", "1e-3", "yes", "12", "Ä\u2028'\""], other=None, deep={}, flag=True)
    assert results.folder_for(tmp_path, settings, settings) == done(
        results.folder_for(tmp_path, settings, settings), settings
    )
    assert results.read_config(tmp_path / "fig" / "net" / "default") == settings


def test_a_result_whose_configuration_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    folder = done(results.folder_for(tmp_path, DEFAULTS, DEFAULTS), DEFAULTS)
    for text in ("a: [", "- list\n", ""):
        (folder / "config.yaml").write_text(text)
        assert results.folder_for(tmp_path, DEFAULTS, DEFAULTS) != folder


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"done"', '{"status": "failed"}', '{"metrics": {}}', '{"status": "don']
)
def test_only_a_folder_that_says_done_is_a_result(text: str, tmp_path: Path) -> None:
    assert not results.is_done(tmp_path)
    (tmp_path / "metrics.json").write_text(text)
    assert not results.is_done(tmp_path)
    (tmp_path / "metrics.json").write_text('{"status": "done"}')
    assert results.is_done(tmp_path)


# ---- written aside ----


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "default"
    with results.writing(folder) as aside:
        (aside / "x").write_text("new")
        assert not folder.exists()
    assert (folder / "x").read_text() == "new"
    assert [path.name for path in folder.parent.iterdir()] == ["default"]


def test_what_breaks_off_leaves_the_old_result_as_it_was(tmp_path: Path) -> None:
    folder = done(tmp_path / "default", DEFAULTS)
    with pytest.raises(ZeroDivisionError), results.writing(folder) as aside:
        (aside / "x").write_text("half")
        raise ZeroDivisionError
    assert results.is_done(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["default"]


def test_a_new_result_replaces_the_old_one_wholly(tmp_path: Path) -> None:
    folder = done(tmp_path / "default", DEFAULTS)
    (folder / "stale.png").write_text("old")
    done(folder, DEFAULTS)
    assert not (folder / "stale.png").exists()


def test_what_a_killed_process_left_is_swept_away_by_the_next(tmp_path: Path, gone: int) -> None:
    folder = tmp_path / "a[1]=*,default"
    for name in (f"{folder.name}.part-{gone}", "other.part-1x", f"other.part-{gone}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text('{"status": "done"}')
    running = tmp_path / f"{folder.name}.part-{os.getppid()}"
    running.mkdir()
    done(folder, DEFAULTS)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {folder.name, "other.part-1x", f"other.part-{gone}", running.name}


def test_killed_between_two_names_the_old_result_comes_back(tmp_path: Path, gone: int) -> None:
    """`default` had been moved aside and the new one not yet named: a process that fails later must not lose it."""
    folder = tmp_path / "default"
    done(tmp_path / f"default.old-{gone}", DEFAULTS)
    with pytest.raises(ZeroDivisionError), results.writing(folder):
        raise ZeroDivisionError
    assert results.is_done(folder)


def test_a_results_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DeepInsideError) as refused, results.writing(tmp_path / "file" / "a" / "default"):
        pass
    assert str(refused.value).startswith("results: ")
    assert "set runtime.results" in str(refused.value)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"No space left.*free space"), results.writing(tmp_path / "default"):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_stands_in_the_place_or_beside_a_whole_result(tmp_path: Path) -> None:
    folder = tmp_path / "default"
    results.write_failure(folder, DEFAULTS, "too steep")
    found = results.read_metrics(folder)
    assert found is not None
    assert (found["status"], found["reason"], found["experiment"]) == ("failed", "too steep", "fig")
    done(folder, DEFAULTS)
    results.write_failure(folder, DEFAULTS, "no luck")
    assert results.is_done(folder)
    assert (results.read_metrics(tmp_path / "default.failed") or {})["reason"] == "no luck"
    done(folder, DEFAULTS)
    assert [path.name for path in tmp_path.iterdir()] == ["default"]


# ---- what is written ----


def test_numbers_json_does_not_know_are_refused_by_name(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(DeepInsideError, match=r"metrics\.json: expected numbers, found .* for metrics\.share"):
            results.write_json(tmp_path / "metrics.json", {"metrics": {"share": value}})
    assert list(tmp_path.iterdir()) == []


def test_the_summary_is_the_contract() -> None:
    verdict = Claim(**CLAIM)
    found = results.metrics_summary(
        config=DEFAULTS, seconds=1.23456, metrics={"a": 1.0}, by_group={}, intervals={}, count=30,
        items={"x": {"a": 1.0}}, predictions={"x": {"caption": "x → cat 9 %"}}, right={"of": 1, "right": 1},
        claims=[verdict], deviations=["d"], skipped=[{"name": "p", "reason": "r"}], notes=[],
    )  # fmt: skip
    assert list(found)[:5] == ["schema", "experiment", "network", "status", "seconds"]
    assert (found["schema"], found["experiment"], found["network"], found["status"]) == (3, "fig", "net", "done")
    assert found["claims"] == [CLAIM]
    assert json.loads(json.dumps(found)) == found


def test_names_are_safe_and_unlike() -> None:
    assert safe_name("<img src=x onerror=alert(1)>/..\\ ä") == "img_src=x_onerror=alert_1_.._ä"
    assert safe_name("..") == "_"
    assert unique(["crane", "Crane", "crane", "crane-2", "x"]) == ["crane", "Crane-2", "crane-3", "crane-2-2", "x"]


def test_a_result_stands_for_its_own_configuration_and_inputs_only(tmp_path: Path) -> None:
    folder, inputs = tmp_path / "out", {"photos": "ab"}
    found: dict[str, Any] = {"schema": results.SCHEMA, "status": "done", "skipped": []}
    assert results.finished_result(folder, DEFAULTS, inputs) is None
    with results.writing(folder) as aside:
        results.write_config(aside / "config.yaml", DEFAULTS)
        results.write_json(aside / "provenance.json", {"inputs": inputs})
        results.write_json(aside / "metrics.json", found)
    assert results.finished_result(folder, DEFAULTS, inputs) == found
    assert (
        results.finished_result(folder, {**DEFAULTS, "runtime": {"threads": 7, "overwrite": True}}, inputs) is not None
    )
    assert results.finished_result(folder, config(l2=2.0), inputs) is None
    assert results.finished_result(folder, DEFAULTS, {"photos": "ac"}) is None
    results.write_json(folder / "metrics.json", {"status": "done", "skipped": [{"name": "a", "reason": "b"}]})
    assert results.finished_result(folder, DEFAULTS, inputs) is None  # perhaps it can be read now
