"""The table of all items' numbers and the file of their arrays: read back by other programs, the same bytes twice."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet

from deepinside.errors import DeepInsideError
from deepinside.results.items import ArrayFile, ItemRow, ItemTable
from deepinside.types import ClassProbability, Item, Panel, Prediction

ROWS = [
    ItemRow("a", "A", {"score": 1.0, "iou": 0.5}, "small", "n01", "ab"),
    ItemRow("b", "<b>", {"score": 2.0}),
    ItemRow("ä/c", 'c "quoted"', {"late": -3.0}, "large"),
]


def table() -> ItemTable:
    found = ItemTable()
    found.add(ROWS[:2])
    found.add(ROWS[2:])
    return found


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    table().write(tmp_path / "items.parquet")
    found = parquet.read_table(tmp_path / "items.parquet").to_pylist()
    assert [row["name"] for row in found] == ["a", "b", "ä/c"]
    assert found[0] == {
        "name": "a", "title": "A", "group": "small", "label": "n01", "sha256": "ab", "caption": "",
        "score": 1.0, "iou": 0.5,
        "late": None,
    }  # fmt: skip
    assert (found[1]["iou"], found[1]["group"], found[2]["late"]) == (None, None, -3.0)


def test_the_same_lines_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        table().write(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_empty_table_is_a_table(tmp_path: Path) -> None:
    ItemTable().write(tmp_path / "items.parquet")
    assert parquet.read_table(tmp_path / "items.parquet").num_rows == 0


def test_columns_and_first() -> None:
    found = table()
    assert np.array_equal(found.columns()["score"], [1, 2, np.nan], equal_nan=True)
    assert np.array_equal(found.columns()["late"], [np.nan, np.nan, -3], equal_nan=True)
    assert found.numbers_of([0, 1]) == {"a": {"score": 1.0, "iou": 0.5}, "b": {"score": 2.0}}


def test_the_rows_of_a_figure_are_the_first_or_the_extremes_in_turn() -> None:
    found = ItemTable()
    found.add(
        [ItemRow(str(i), str(i), {} if iou is None else {"iou": iou}) for i, iou in enumerate([3, None, 1, 4, 2])]
    )
    assert found.shown(3) == [0, 1, 2]
    assert found.shown(4, "iou") == found.shown(99, "iou") == [3, 2, 0, 4]
    assert found.shown(3, "iou") == [3, 2]
    assert found.shown(2, "no such metric") == [0, 1]


def test_columns_are_in_the_order_of_the_items() -> None:
    found = ItemTable()
    found.add(
        [ItemRow("a", "a", {f"m{k}": 1.0 for k in range(40)}), ItemRow("b", "b", {"z": 1.0, "m7": 2.0, "y": 3.0})]
    )
    assert list(found.numbers) == [*(f"m{k}" for k in range(40)), "z", "y"]


def test_many_items_take_little_memory() -> None:
    found = ItemTable()
    found.add(ItemRow(str(i), "", {f"m{k}": float(i) for k in range(10)}) for i in range(5000))
    assert sum(column.itemsize * len(column) for column in found.numbers.values()) == 5000 * 10 * 8


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(DeepInsideError, match=r"items\.a\.score: expected a number, found"):
        ItemRow("a", "A", {"score": number}).refuse_nan()


def test_arrays_taken_over_are_the_arrays(tmp_path: Path) -> None:
    items = [
        Item(n, n, (Panel("map", torch.full((2, 2), i), "signed"),), {}, {"objective": torch.ones(3)})
        for i, n in enumerate("abc")
    ]
    for name, some in (("one.npz", items[:2]), ("two.npz", items[2:])):
        with ArrayFile(tmp_path / name, compressed=False) as arrays:
            for item in some:
                arrays.add(item)
    with ArrayFile(tmp_path / "taken.npz") as taken:
        taken.take(tmp_path / "one.npz")
        taken.take(tmp_path / "two.npz")
    with ArrayFile(tmp_path / "whole.npz") as whole:
        for item in items:
            whole.add(item)
    assert (tmp_path / "taken.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    with np.load(tmp_path / "taken.npz") as found:
        assert set(found.files) == {f"{n}/{k}" for n in "abc" for k in ("map", "trace/objective")}
        assert found["c/map"].dtype == np.float32 and (found["c/map"] == 2).all()


def test_arrays_are_the_raw_values_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    values = torch.tensor([[0.1, -2.0], [1e-30, 3.0]])
    panels = (Panel("photo", torch.ones(3, 2, 2), "photo"), Panel("ten/saliency", values, "signed"))
    item = Item("cat ü", "", panels, trace={"score": torch.tensor([1.0, 2.0], dtype=torch.float64)})
    for name in ("a.npz", "b.npz"):
        with ArrayFile(tmp_path / name) as arrays:
            arrays.add(item)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as found:
        assert set(found) == {"cat ü/photo", "cat ü/ten/saliency", "cat ü/trace/score"}
        assert np.array_equal(found["cat ü/ten/saliency"], values.numpy())
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None


def test_a_prediction_is_a_row_of_columns(tmp_path: Path) -> None:
    best = (ClassProbability("tabby", 3, 2.5, 0.75), ClassProbability("tench", 0, 1.0, 0.25))
    seen = Prediction("cat", best, best[1], "n01440764", "n02123045", "tabby", right=True)
    found = ItemTable()
    found.add([ItemRow("cat", "cat", {}, caption=seen.caption, prediction=seen), ItemRow("unseen", "unseen", {})])
    found.write(tmp_path / "items.parquet")
    first, second = parquet.read_table(tmp_path / "items.parquet").to_pylist()
    told = {
        "target": "n01440764",
        "target_name": "tench",
        "target_index": 0,
        "target_probability": 0.25,
        "top1": "tabby",
    }
    assert told.items() <= first.items()
    assert (first["top2_probability"], first["top3"], first["right"]) == (0.25, None, True)
    assert first["caption"] == "cat → tabby 75 % ✓, target tench 25 %"
    assert (second["top1"], second["right"]) == (None, None)
    assert found.right() == {"of": 1, "right": 1}
    assert list(found.predictions_of(range(len(found)))) == ["cat"]
    assert not found.columns(), "predictions are no metrics"
