import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disk import put_panel, put_run
from PIL import Image

from deepinside.figures.maps import colour_map
from deepinside.html_report.pictures import (
    SMALL,
    Picture,
    PictureWriter,
    ShownItem,
    in_fractions,
    panels,
    read_levels,
    subsampled,
    tiles,
    verdict,
)
from deepinside.types import ClassProbability, Prediction


def studio(root: Path) -> PictureWriter:
    return PictureWriter(root, "fig2/net/default", root / "report" / "pictures" / "run", ("inferno", "signed"))


def shown(items: int, names: int) -> list[ShownItem]:
    pictures = [[Picture(f"p{n}", f"{i}/{n}", "", "", 8, 8) for n in range(names)] for i in range(items)]
    return [ShownItem(str(i), str(i), tuple(row)) for i, row in enumerate(pictures)]


@pytest.mark.parametrize("name", ["inferno", "gray", "signed"])
def test_the_levels_of_a_map_come_back_with_its_name(name: str) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = Image.fromarray(colour_map(name)(levels, bytes=True)[..., :3])
    found = read_levels(picture, ("viridis", name))
    assert found is not None and found[1] == name
    assert np.abs(np.asarray(found[0]).astype(int) - levels).max() <= 1  # grey has two levels of one colour


def test_a_mask_is_black_and_white() -> None:
    mask = np.array([[0, 1], [1, 0]])
    found = read_levels(Image.fromarray(colour_map("mask")(mask, bytes=True)[..., :3]), ("inferno", "signed", "mask"))
    assert found is not None and found[1] == "mask"
    assert np.asarray(found[0]).tolist() == (255 * mask).tolist()


def test_a_photo_is_no_map() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert read_levels(Image.fromarray(noise), ("inferno", "signed")) is None
    assert read_levels(Image.fromarray(noise), ("no such map", "")) is None


def saved(right: bool | None, depicts: str | None = None) -> dict[str, Any]:
    prediction = Prediction("cat", (ClassProbability("tabby"),), label="n1", label_name="tabby", right=right)
    return {"prediction": json.loads(json.dumps(asdict(prediction))), "depicts": depicts}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (saved(True), "right: labelled tabby"),
        (saved(False), "wrong: labelled tabby"),
        (saved(None), ""),
        (saved(True, "n1"), "right: recognised as tabby"),
        (saved(False, "n1"), "wrong: should show tabby"),
        ({}, ""),
    ],
)
def test_an_item_is_said_to_be_right_or_wrong_where_its_class_is_known(item: dict[str, Any], words: str) -> None:
    assert verdict(item) == words


def test_boxes_are_fractions_of_their_picture() -> None:
    assert in_fractions((8, 4, 16, 16), (32, 16)) == (0.25, 0.25, 0.5, 1.0)


def test_items_and_panels_keep_their_order_and_maps_get_levels(tmp_path: Path) -> None:
    put_run(tmp_path, items=["b", "a"], panels=["map", "photo", "conv10", "conv9"])
    found = studio(tmp_path).items(["b", "a"], {"a": "An item"})
    assert [item.title for item in found] == ["An item", "b"]
    assert [picture.panel for picture in found[0].pictures] == ["photo", "conv9", "conv10", "map"]
    assert [bool(picture.levels) for picture in found[0].pictures] == [False, False, False, True]
    assert found[0].pictures[0].shown == found[0].pictures[0].original


def test_the_arrays_tell_the_order_of_the_panels(tmp_path: Path) -> None:
    place = put_run(tmp_path, items=["b", "a"], panels=["photo", "map"])
    np.savez(place / "arrays.npz", **{f"{i}/{p}": np.zeros(1) for i in "ba" for p in ("map", "photo")})
    assert list(panels(place, {"a", "b"})) == [("b", "map"), ("b", "photo"), ("a", "map"), ("a", "photo")]


def test_only_items_with_numbers_are_shown(tmp_path: Path) -> None:
    place = put_run(tmp_path, items=["a"])
    put_panel(place / "panels" / "photo" / "other.png", 0, 8, drawn=False)
    assert {item for item, _ in panels(place, {"a"})} == {"a"}


def test_large_pictures_are_shown_small_and_made_once(tmp_path: Path) -> None:
    place = put_run(tmp_path, items=["a"], panels=["photo"], side=SMALL + 44)
    (item,) = studio(tmp_path).items(["a"], {})
    small = tmp_path / item.pictures[0].shown
    with Image.open(small) as image:
        assert max(image.size) == SMALL
    before = small.stat().st_mtime_ns
    assert studio(tmp_path).items(["a"], {})[0] == item
    assert small.stat().st_mtime_ns == before
    os.utime(place / "panels" / "photo" / "a.png", (1, 1))
    assert studio(tmp_path).items(["a"], {})[0].pictures[0].shown != item.pictures[0].shown


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    place = put_run(tmp_path, items=["a"])
    (place / "panels" / "photo" / "a.png").write_bytes(b"no")
    (item,) = studio(tmp_path).items(["a"], {})
    assert [picture.panel for picture in item.pictures] == ["map"]


@pytest.mark.parametrize(
    ("items", "names", "shape"),
    [(1, 1, (1, 1)), (1, 3, (1, 3)), (1, 21, (2, 4)), (12, 1, (2, 4)), (12, 2, (2, 4)), (5, 4, (2, 4)), (2, 2, (2, 2))],
)
def test_at_most_eight_tiles_stand_for_a_run(items: int, names: int, shape: tuple[int, int]) -> None:
    found = tiles(shown(items, names))
    assert (len(found), len(found[0])) == shape
    assert all(cell is not None for row in found for cell in row)


def test_pairs_of_photo_and_map_stand_under_each_other() -> None:
    found = tiles(shown(5, 2))
    assert [[cell and cell.panel for cell in row] for row in found] == [["p0"] * 4, ["p1"] * 4]


def test_thinning_takes_even_steps() -> None:
    assert subsampled(list(range(10)), 4) == [0, 2, 5, 7]


def test_a_mosaic_is_made_of_tiles(tmp_path: Path) -> None:
    put_run(tmp_path)
    maker = studio(tmp_path)
    with Image.open(tmp_path / maker.mosaic(maker.items(["cat", "cup"], {}))) as image:
        assert image.size == (256, 256)
    assert maker.mosaic([]) == ""
