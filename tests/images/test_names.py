"""Names that no file system minds, and no two alike."""

import os
import sys
import time
from pathlib import Path, PurePath

import pytest
from shots import put, run, stems

from deepinside.images.batches import Skipped
from deepinside.images.names import file_stem, unique_stems
from deepinside.images.settings import ImageSettings


def test_twins_in_different_folders_carry_their_folders(tmp_path: Path) -> None:
    for name in ("left/cat.jpg", "right/cat.jpg", "right/dog.jpg", "left/far/cat.jpg"):
        put(tmp_path / name)
    found = stems(root=str(tmp_path), recursive=True)
    assert found == ["left-cat", "left-far-cat", "right-cat", "dog"]


def test_twins_in_one_folder_carry_their_suffix(tmp_path: Path) -> None:
    for name in ("cat.jpg", "cat.png", "dog.png"):
        put(tmp_path / name)
    assert stems(root=str(tmp_path)) == ["cat-jpg", "cat-png", "dog"]


def test_names_that_differ_in_case_alone_are_twins(tmp_path: Path) -> None:
    for name in ("a/Cat.jpg", "b/cat.jpg"):
        put(tmp_path / name)
    assert stems(root=str(tmp_path), recursive=True) == ["a-Cat", "b-cat"]


def test_the_same_file_twice_is_numbered(tmp_path: Path) -> None:
    put(tmp_path / "cat.jpg")
    put(tmp_path / "cat-jpg-2.jpg")
    listing = tmp_path / "list.txt"
    listing.write_text("cat.jpg\ncat-jpg-2.jpg\ncat.jpg\n")
    assert stems(root=str(listing)) == ["cat-jpg", "cat-jpg-2", "cat-jpg-3"]


def test_a_limit_changes_no_name(tmp_path: Path) -> None:
    for name in ("a/cat.jpg", "b/cat.jpg"):
        put(tmp_path / name)
    assert stems(root=str(tmp_path), recursive=True, limit=1) == ["a-cat"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Katze im Schnee (2), grün", "Katze im Schnee (2), grün"),
        ("猫", "猫"),
        ("gru\u0308n", "grün"),
        ('a:b*c?"<>|\\d', "a_b_c______d"),
        ("line\nbreak\ttab\0", "line_break_tab_"),
        (".hidden", "_hidden"),
        ("..", "__"),
        ("", "_"),
        ("dot. ", "dot._"),
        ("con", "_con"),
        ("LPT1.x", "_LPT1.x"),
        ("undecodable\udcff", "undecodable_"),
    ],
)
def test_a_name_is_kept_as_far_as_file_systems_allow(name: str, safe: str) -> None:
    assert file_stem(name) == safe


def test_long_names_are_cut_and_stay_different() -> None:
    one, two = file_stem("ü" * 200 + "1"), file_stem("ü" * 200 + "2")
    assert one != two
    assert len(one.encode()) <= 120
    assert one.startswith("üüüü")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse these names")
def test_hostile_files_are_read_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hostile = [
        b"a\nb.jpg",
        b"\xff\xfe.jpg",
        b"$(rm -rf x).jpg",
        b"-rf.jpg",
        b"%s{0}.jpg",
        b"nul.jpg",
        b"x" * 250 + b".jpg",
    ]
    for name in hostile:
        put(tmp_path / os.fsdecode(name))
    broken = tmp_path / os.fsdecode(b"broken\n\xff.jpg")
    broken.write_bytes(b"")
    found, skipped = run(ImageSettings(root=str(tmp_path)))
    names = [photo.stem for batch in found for photo in batch.photos]
    assert len(set(names)) == len(hostile)
    for name in names:
        (tmp_path / f"{name}_saliency.png").write_bytes(name.encode())
    assert skipped == [Skipped("broken\\n\\udcff.jpg", "it is empty (0 bytes)")]
    assert "skipped broken\\n" in caplog.text


def test_ten_thousand_of_one_name_are_numbered_at_once() -> None:
    started = time.process_time()
    found = unique_stems([PurePath("cat.jpg")] * 10_000)
    assert time.process_time() - started < 5  # trying every number for each would take minutes
    assert len(set(found)) == 10_000
    assert (found[0], found[-1]) == ("cat-jpg", "cat-jpg-10000")
