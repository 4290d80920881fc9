"""Which photos, and in which order."""

import os
import socket
import zipfile
from pathlib import Path

import pytest
from pydantic import ValidationError
from shots import put, run, sources, stems

from deepinside.errors import DeepInsideError
from deepinside.images.settings import PHOTOGRAPHS, ImageSettings
from deepinside.images.sources import fingerprint, listed


def test_a_folder_gives_its_photos_by_name_and_passes_over_the_rest(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "c.webp", ".hidden.jpg", ".cache/d.jpg", "deeper/e.jpg"):
        put(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    assert stems(root=str(tmp_path)) == ["a", "b", "c"]
    assert stems(root=str(tmp_path), recursive=True) == ["a", "b", "c", "e"]
    assert stems(root=str(tmp_path), limit=2) == ["a", "b"]


def test_one_file_a_glob_and_a_list(tmp_path: Path) -> None:
    for name in ("x/b.jpg", "x/a.jpg", "y/c.png", "y/readme.md"):
        put(tmp_path / name)
    listing = tmp_path / "list.txt"
    listing.write_text(
        "# a comment\nx/b.jpg\n\n  y/c.png\n" + str(tmp_path / "x" / "a.jpg") + "\n", encoding="utf-8-sig"
    )
    assert stems(root=str(tmp_path / "x" / "a.jpg")) == ["a"]
    assert stems(root=str(tmp_path / "*" / "*")) == ["a", "b", "c"]
    assert stems(root=str(tmp_path / "**" / "*.jpg")) == ["a", "b"]
    assert stems(root=str(listing)) == ["b", "c", "a"]


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "cats [2013]*" / "a.jpg")
    assert stems(root=str(tmp_path / "cats [2013]*")) == ["a"]


def test_a_file_named_on_its_own_needs_no_suffix(tmp_path: Path) -> None:
    put(tmp_path / "ILSVRC_00001")
    assert stems(root=str(tmp_path / "ILSVRC_00001")) == ["ILSVRC_00001"]


def test_nothing_to_read_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\n")
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    put(tmp_path / "photos" / "deep" / "a.jpg")
    cases = {
        str(tmp_path / "photos"): "has no photos.*images.recursive=true",
        str(tmp_path / "missing"): "neither a folder nor a file nor a glob",
        str(tmp_path / "*.gif"): "No photo matches",
        str(empty): "names no photos",
    }
    for root, message in cases.items():
        with pytest.raises(DeepInsideError, match=message) as caught:
            run(ImageSettings(root=root))
        assert root in str(caught.value)


def test_photographs_lie_in_the_package_and_need_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", offline)
    settings = ImageSettings(names=tuple(PHOTOGRAPHS))
    found, skipped = run(settings)
    assert [photo.stem for photo in found[0].photos] == list(PHOTOGRAPHS)
    assert not skipped
    places = [source.path.as_posix() for source in listed(settings)]
    assert all(
        f"/{package}/{file}" in place for place, (package, file) in zip(places, PHOTOGRAPHS.values(), strict=True)
    )


def test_names_stand_before_the_photos_of_the_root(tmp_path: Path) -> None:
    put(tmp_path / "chelsea.jpg")
    put(tmp_path / "a.jpg")
    assert stems(names=("coffee", "chelsea"), root=str(tmp_path)) == ["coffee", "chelsea", "a", "chelsea-jpg"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"names": ("mona_lisa",)}, "there are astronaut, chelsea, coffee"),
        ({"batch": 0}, "greater than 0"),
        ({"limit": -1}, "greater than 0"),
        ({"resize": "stretch"}, "square"),
        ({"short_side": 256}, "short_side_crop"),
        ({"rot": "photos"}, "rot"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageSettings(**wrong)  # type: ignore[arg-type]


# ---- what a glance tells of them -------------------------------------------------------------------------------------


def test_the_fingerprint_knows_names_sizes_labels_and_boxes(tmp_path: Path) -> None:
    put(tmp_path / "photos" / "a.png")
    put(tmp_path / "photos" / "b.png")
    (tmp_path / "boxes.txt").write_text("a.png\tcat\t0\t0\t3\t3\n")
    (tmp_path / "labels.txt").write_text("a.png cat\n")

    def glance(**settings: object) -> str:
        return fingerprint(sources(root=str(tmp_path / "photos"), **settings))

    marked = {"annotations": str(tmp_path / "boxes.txt")}
    named = {"labels": str(tmp_path / "labels.txt")}
    seen = [glance(), glance(limit=1), glance(**marked), glance(**named)]
    assert glance() == seen[0]
    (tmp_path / "boxes.txt").write_text("a.png\tcat\t0\t0\t3\t4\n")
    (tmp_path / "labels.txt").write_text("a.png dog\n")
    seen += [glance(**marked), glance(**named)]
    put(tmp_path / "photos" / "b.png", size=(50, 50))
    seen.append(glance())
    (tmp_path / "photos" / "b.png").rename(tmp_path / "photos" / "c.png")
    seen.append(glance())
    os.utime(tmp_path / "photos" / "c.png", (0, 0))
    assert glance() == seen[-1]
    assert len(set(seen)) == len(seen)
    assert fingerprint([]) == fingerprint(sources())


def test_the_fingerprint_knows_a_zips_checksums_and_what_is_missing(tmp_path: Path) -> None:
    seen = []
    for data in (b"one", b"two"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.png", data)
        seen.append(fingerprint(sources(root=str(tmp_path / "a.zip"))))
    (tmp_path / "list.txt").write_text("gone.png\n")
    seen.append(fingerprint(sources(root=str(tmp_path / "list.txt"))))
    (tmp_path / "gone.png").write_bytes(b"")
    seen.append(fingerprint(sources(root=str(tmp_path / "list.txt"))))
    assert len(set(seen)) == 4


def test_linked_photos_count_and_linked_folders_do_not(tmp_path: Path) -> None:
    put(tmp_path / "store" / "a.png")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "cats" / "b.png").symlink_to(tmp_path / "store" / "a.png")
    (tmp_path / "photos" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "store")
    (found,) = sources(root=str(tmp_path / "photos"), recursive=True, labels="folder")
    assert (found.name, found.label) == ("cats/b.png", "cats")
