"""The items of a figure, written and read back."""

from pathlib import Path

import pytest
import torch

from deepinside.errors import DeepInsideError
from deepinside.results.items import ArrayFile
from deepinside.results.shown import read_shown, write_shown
from deepinside.types import ClassProbability, Item, Panel, Prediction

SEEN = Prediction("cat", (ClassProbability("tabby", 3, 2.5, 0.75),), ClassProbability("conv5:3"), "conv5:3", right=None)
PANELS = (
    Panel("photo", torch.rand(3, 4, 5), "photo", "cat", torch.tensor([[0.0, 1.0, 2.0, 3.0]])),
    Panel("ten/map", torch.rand(4, 5), "magnitude", blank="zero everywhere"),
)
ITEM = Item("cat", "A cat", PANELS, {"score": 1.5}, {"loss": torch.rand(7)}, ("note",), "small", "n01", SEEN)


def put(folder: Path, *items: Item) -> None:
    write_shown(folder, items)
    with ArrayFile(folder / "arrays.npz") as arrays:
        for item in items:
            arrays.add(item)


def test_an_item_is_read_back_whole(tmp_path: Path) -> None:
    put(tmp_path, ITEM)
    (found,) = read_shown(tmp_path)
    assert found.caption == "A cat → tabby 75 %, target conv5:3"
    same = ("name", "title", "metrics", "notes", "group", "depicts", "prediction")
    assert all(getattr(found, name) == getattr(ITEM, name) for name in same)
    assert torch.equal(found.trace["loss"], ITEM.trace["loss"])
    for one, other in zip(found.panels, ITEM.panels, strict=True):
        assert (one.name, one.kind, one.caption, one.blank) == (other.name, other.kind, other.caption, other.blank)
        assert torch.equal(one.values, other.values)
    assert torch.equal(found.panels[0].boxes, PANELS[0].boxes)  # type: ignore[arg-type]
    assert found.panels[1].boxes is None


def test_a_folder_that_has_not_saved_its_arrays_says_so(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"with its shown.json, found none\.$"):
        read_shown(tmp_path)
    put(tmp_path)
    write_shown(tmp_path, [ITEM])
    with pytest.raises(DeepInsideError, match=r"the array cat/trace/loss in arrays\.npz, found none; run it again"):
        read_shown(tmp_path)
    (tmp_path / "shown.json").write_text("{")
    with pytest.raises(DeepInsideError, match=r"expected shown\.json and arrays\.npz of a result"):
        read_shown(tmp_path)
