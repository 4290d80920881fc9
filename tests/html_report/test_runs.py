import json
from pathlib import Path

import pytest
from disk import CLAIM, put_failure, put_run, put_sweep

from deepinside.html_report.runs import Run, plain, read_run, scan_results, slug


def read(root: Path, folder: str) -> Run:
    found = read_run(root, folder, "stamp")
    assert found is not None
    return found


def test_runs_failures_and_unfinished_work_are_told_apart(tmp_path: Path) -> None:
    put_run(tmp_path)
    put_failure(tmp_path, "fig2/net/default.failed", "no")
    for left in ("seed=1.part", "seed=2.part-77", "seed=3.old-77", ".hidden", "empty"):
        (tmp_path / "fig2" / "net" / left).mkdir()
    put_run(tmp_path, "reference/net/default")
    put_run(tmp_path, "report/net/default")
    found = scan_results(tmp_path)
    assert list(found.runs) == ["fig2/net/default", "fig2/net/default.failed"]
    assert found.unfinished == ["fig2/net/seed=1.part", "fig2/net/seed=2.part-77"]


def test_a_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert scan_results(tmp_path / "none").runs == {}


def test_a_stamp_changes_with_the_result(tmp_path: Path) -> None:
    place = put_run(tmp_path)
    before = scan_results(tmp_path).runs
    (place / "metrics.json").write_text("{}")
    assert scan_results(tmp_path).runs != before


def test_what_differs_is_told_from_the_run_without_changes_beside_it(tmp_path: Path) -> None:
    put_run(tmp_path)
    put_run(
        tmp_path,
        "fig2/net/seed=3",
        settings={"seed": 3, "images": {"root": "/a/very/long/path/to/some/photos/of/cats"}},
    )
    found = read(tmp_path, "fig2/net/seed=3")
    assert [(change.key, change.value, change.before) for change in found.changes] == [
        ("images.root", "/a/very/long/path/to/some/photos/of/cats", None),
        ("seed", 3, 0),
    ]
    assert found.label == "root=…ong/path/to/some/photos/of/cats, seed=3"
    assert found.override == ""  # no YAML of that experiment is there to override
    assert read(tmp_path, "fig2/net/default").label == "defaults"


def test_the_defaults_of_a_known_experiment_are_composed(tmp_path: Path) -> None:
    from deepinside.config.composition import compose_dict

    config = compose_dict(["experiment=fig2_saliency", "network=tinycaffenet", "seed=5"])
    put_run(tmp_path, "fig2_saliency/tinycaffenet/seed=5", settings=config)
    assert read(tmp_path, "fig2_saliency/tinycaffenet/seed=5").label == "seed=5"


def test_where_the_defaults_are_not_known_the_folder_names_the_run(tmp_path: Path) -> None:
    put_run(tmp_path, "gone/net/seed=3", settings={"seed": 3})
    found = read(tmp_path, "gone/net/seed=3")
    assert (found.compared, found.label, found.override) == (False, "seed=3", "")


def test_numbers_and_technique_are_read(tmp_path: Path) -> None:
    put_run(tmp_path, metrics={"claims": [CLAIM]})
    found = read(tmp_path, "fig2/net/default")
    assert (found.technique, found.count, found.done, found.claims) == ("saliency", 2, True, [CLAIM])
    assert Run.from_plain(found.plain()) == found


def test_a_broken_result_is_none_and_a_broken_configuration_no_fault(tmp_path: Path) -> None:
    place = put_run(tmp_path)
    (place / "config.yaml").write_text("a: [")
    assert read(tmp_path, "fig2/net/default").title == "fig2"
    (place / "metrics.json").write_text("no")
    assert read_run(tmp_path, "fig2/net/default", "") is None


def test_a_sweep_is_read(tmp_path: Path) -> None:
    put_sweep(tmp_path, "a & b")
    (tmp_path / "sweeps" / "broken").mkdir()
    (found,) = scan_results(tmp_path).sweeps
    assert found.title == "fig2 over l2"
    assert (found.name, found.axes, len(found.runs)) == ("a & b", {"technique.l2": [-1, 0.001, 0.01]}, 3)


def test_a_sweep_without_a_numeric_axis_has_no_page(tmp_path: Path) -> None:
    place = put_sweep(tmp_path)
    known = json.loads((place / "sweep.json").read_text())
    for axes in ({"experiment": ["fig1", "fig2"]}, {"seed": [0]}, {"technique.show": [True, False]}, {}):
        (place / "sweep.json").write_text(json.dumps({**known, "axes": axes}))
        assert scan_results(tmp_path).sweeps == []


def test_slugs_are_plain_and_never_the_same() -> None:
    folders = ["a/b/ü c", "a/b/ö c", "a/b/" + "x" * 300, "a/b/" + "x" * 301, "A/b/c", "a/b/c"]
    found = [slug(folder) for folder in folders]
    assert len({name.casefold() for name in found}) == len(folders)
    assert all(name.isascii() and len(name) < 100 and "/" not in name for name in found)


@pytest.mark.parametrize(("value", "words"), [(1e-8, "1e-08"), ([1, 2], "1, 2"), (None, "none"), ("a", "a")])
def test_values_are_written_plainly(value: object, words: str) -> None:
    assert plain(value) == words
