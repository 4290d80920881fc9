"""What differs between results: every kind of difference, and folders that are no complete result."""

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from disk import CLAIM, put_failure, put_run
from pyarrow import parquet

from deepinside.errors import DeepInsideError
from deepinside.results.comparison import Section, class_text, compare, labels, read_result

TOLERANCES = {"*": {"relative": 0.1, "absolute": 0.0}}


def put(root: Path, folder: str, score: float, **given: Any) -> Path:
    """A complete result of two items; `cat` has a prediction."""
    place = put_run(root, folder, metrics={"metrics": {"score": score}, "claims": [CLAIM]}, **given)
    rows = {
        "name": ["cat", "cup"], "sha256": ["a", "b"], "top1": ["tabby", None], "top1_probability": [0.5, None],
        "score": [score, 1.0],
    }  # fmt: skip
    parquet.write_table(pyarrow.table(rows), place / "items.parquet")
    return place


def differences(*folders: Path, **given: Any) -> dict[str, Section]:
    return {one.name: one for one in compare([read_result(folder) for folder in folders], **given)}


def rows(section: Section) -> dict[str, tuple[str, ...]]:
    return {row.key: row.texts for row in section.differences}


def test_a_result_does_not_differ_from_itself(tmp_path: Path) -> None:
    place = put(tmp_path, "fig2/net/default", 2.0)
    assert not any(one.differences for one in differences(place, place).values())


def test_every_kind_of_difference_and_nothing_else(tmp_path: Path) -> None:
    first = put(tmp_path, "fig2/net/default", 2.0)
    second = put(tmp_path, "fig2/net/seed=1", 3.0, settings={"seed": 1, "extra": {"key": None}})
    metrics = json.loads((second / "metrics.json").read_text())
    metrics["claims"][0] |= {"verdict": "fails", "estimate": 0.5}
    (second / "metrics.json").write_text(json.dumps({**metrics, "notes": ["a note"]}))
    found = differences(first, second)
    assert rows(found["Configuration"]) == {"seed": ("0", "1"), "extra.key": ("–", "none")}
    assert rows(found["Metrics"]) == {"score": ("2", "3")}
    assert rows(found["Items"]) == {"cat: score": ("2", "3")}
    assert rows(found["Deviations and notes"]) == {"a note": ("–", "note")}
    assert rows(found["Claims"])["it is near"][1].startswith("fails: 0.5 [2.25, 2.75], 9 photos")
    assert not found["Provenance"].differences
    assert found["Metrics"].differences[0].change == "+1 (+50 %)"


def test_the_best_classes_of_an_item_are_one_difference(tmp_path: Path) -> None:
    first, second = (put(tmp_path, f"fig2/net/{name}", 2.0) for name in ("a", "b"))
    table = parquet.read_table(second / "items.parquet").to_pydict()
    parquet.write_table(pyarrow.table({**table, "top1": ["cougar", None]}), second / "items.parquet")
    assert rows(differences(first, second)["Items"]) == {"cat: best classes": ("tabby 50 %", "cougar 50 %")}


def test_three_results_of_different_experiments_and_networks(tmp_path: Path) -> None:
    places = [
        put(tmp_path, f"{name}/default", 2.0 + n) for n, name in enumerate(("fig2/net", "fig2/other", "fig3/net"))
    ]
    found = differences(*places)
    assert rows(found["Configuration"])["network.name"] == ("net", "other", "net")
    assert rows(found["Metrics"])["score"] == ("2", "3", "4")
    assert found["Metrics"].differences[0].change == ""
    assert labels(places) == ["A", "B", "C"]


def test_numbers_within_the_tolerances_are_counted(tmp_path: Path) -> None:
    first, second = (put(tmp_path, f"fig2/net/{score}", score) for score in (2.0, 2.1))
    found = differences(first, second, tolerances=TOLERANCES)
    assert not found["Metrics"].differences
    assert found["Metrics"].close == found["Items"].close == 1
    assert rows(differences(first, second)["Metrics"]) == {"score": ("2", "2.1")}


def test_a_folder_without_a_complete_result_is_one_sentence(tmp_path: Path) -> None:
    whole = put(tmp_path, "fig2/net/whole", 2.0)
    (tmp_path / "fig2/net/begun.part").mkdir()
    failed = put_failure(tmp_path, "fig2/net/failed", "no such layer")
    for name, said in {
        "nosuch": "expected the folder of a result, found none.",
        "begun": "found an unfinished run, which the same command finishes.",
        "begun.part": "with its metrics.json, found none.",
        "whole/metrics.json": "found a file.",
    }.items():
        with pytest.raises(DeepInsideError, match=said):
            read_result(tmp_path / "fig2/net" / name)
    with pytest.raises(DeepInsideError, match=r"found a failed run \(no such layer\)"):
        read_result(failed)
    for name in ("config.yaml", "provenance.json", "metrics.json", "items.parquet"):
        before = (whole / name).read_bytes()
        (whole / name).write_bytes(before[: len(before) // 2] + b"\0{[")
        with pytest.raises(DeepInsideError, match=f"damaged.*{name.split('.')[0] if name.startswith('items') else ''}"):
            read_result(whole)
        (whole / name).write_bytes(before)


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.9999, "lemon 100 %"), (0.324, "lemon 32 %"), (0.00123, "lemon 0.12 %"), (None, "lemon")],
)
def test_a_class_has_its_probability_in_percent(probability: float | None, text: str) -> None:
    assert class_text("lemon", probability) == text
