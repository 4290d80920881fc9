"""The page of a comparison: self-contained, with the pictures of every result."""

import base64
import re
from pathlib import Path

import pyarrow
import pytest
from disk import HOSTILE, put_run
from PIL import Image
from pyarrow import parquet

from deepinside.errors import DeepInsideError
from deepinside.html_report.comparison import SIDE, address, write_comparison
from deepinside.results.comparison import Result, compare, read_result


def results(root: Path) -> list[Result]:
    """Two results whose photos agree; `cup` is only in the second."""
    places = [put_run(root, "fig2/net/a", items=["cat"]), put_run(root, "fig2/net/b", items=["cat", "cup"])]
    for place in places:
        parquet.write_table(pyarrow.table({"name": ["cat"], "score": [1.0]}), place / "items.parquet")
    (places[0] / "panels/map/cat.png").write_bytes((places[1] / "panels/photo/cup.png").read_bytes())
    return [read_result(place) for place in places]


def page(found: list[Result], path: Path) -> str:
    write_comparison(found, compare(found), path)
    return path.read_text(encoding="utf-8")


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    text = page(results(tmp_path), tmp_path / "page.html")
    assert '<link rel="stylesheet"' not in text
    assert "<script" not in text
    assert {src[:22] for src in re.findall(r'src="([^"]*)"', text)} == {"data:image/png;base64,"}


def test_equal_pictures_are_shown_once_and_missing_ones_said(tmp_path: Path) -> None:
    found = results(tmp_path)
    text = page(found, tmp_path / "page.html")
    first = base64.b64encode((found[0].folder / "panels/photo/cat.png").read_bytes()).decode()
    assert text.count(first) == 1
    assert "photo, the same in all" in text
    assert text.count(">A: map<") == text.count(">B: map<") == 2
    assert text.count('<span class="blank">none</span>') == 2  # both panels of cup


def test_names_are_escaped(tmp_path: Path) -> None:
    found = results(tmp_path)
    put_run(tmp_path, "fig2/net/b", items=[HOSTILE.removesuffix(".jpg")], settings={"extra": HOSTILE})
    text = page([found[0], read_result(found[1].folder)], tmp_path / "page.html")
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_large_pictures_are_shrunk_and_damaged_ones_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (3 * SIDE, SIDE)).save(tmp_path / "large.png")
    (tmp_path / "data.png").write_bytes(base64.b64decode(address(tmp_path / "large.png").partition(",")[2]))
    with Image.open(tmp_path / "data.png") as image:
        assert image.size == (SIDE, SIDE // 3)
    (tmp_path / "half.png").write_bytes(b"half")
    assert address(tmp_path / "half.png") == address(tmp_path / "nosuch.png") == ""


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeepInsideError, match="--html: expected a file that can be written"):
        page(results(tmp_path), tmp_path / "file" / "page.html")
