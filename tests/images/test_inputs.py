"""Which photos, under which names, and what arrives at the network."""

import gc
import logging
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from deepinside.errors import DeepInsideError
from deepinside.images import batches as reading
from deepinside.images.batches import AHEAD, Skipped, all_batches, batches, check_some_are_readable, resized, slices
from deepinside.images.names import file_stem
from deepinside.images.settings import PHOTOGRAPHS, ImageSettings
from deepinside.images.sources import listed
from deepinside.networks.spec import InputConvention
from deepinside.values import ImageBatch

CAFFE = InputConvention(size=(8, 8), channels="bgr", mean=(104.0, 117.0, 123.0))


def put(path: Path, level: int = 128, size: tuple[int, int] = (12, 10)) -> Path:
    """A photo of one grey level; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path, format="PNG")
    return path


def run(settings: ImageSettings, convention: InputConvention = CAFFE) -> tuple[list[ImageBatch], list[Skipped]]:
    """Every batch, and the photos that could not be read."""
    found = list(all_batches(settings, convention))
    return [each.batch for each in found if each.batch is not None], [one for each in found for one in each.skipped]


def stems(**settings: object) -> list[str]:
    return [source.stem for source in listed(ImageSettings(**settings))]  # type: ignore[arg-type]


# ---- which files -----------------------------------------------------------------------------------------------------


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
    assert [photo.stem for photo in found[0].photos] == ["astronaut", "chelsea", "coffee", "motorcycle", "rocket"]
    assert not skipped
    package = Path(sys.modules["skimage"].__file__ or "").parent if "skimage" in sys.modules else None
    assert package is None or all(package in source.path.parents for source in listed(settings))


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


# ---- their names -----------------------------------------------------------------------------------------------------


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


# ---- their classes ---------------------------------------------------------------------------------------------------


def labels(**settings: object) -> list[str | None]:
    return [source.label for source in listed(ImageSettings(**settings))]  # type: ignore[arg-type]


def test_labels_from_folders_and_from_stems(tmp_path: Path) -> None:
    for name in ("n01443537/n01443537_17.jpg", "n02123045/tabby.jpg", "n02123045/n021230455.jpg"):
        put(tmp_path / name)
    root = str(tmp_path)
    assert labels(root=root, recursive=True, labels="folder") == ["n01443537", "n02123045", "n02123045"]
    assert labels(root=root, recursive=True, labels="stem") == ["n01443537", None, None]
    assert labels(root=root, recursive=True) == [None] * 3
    assert labels(names=("coffee",), labels="folder") == [None]


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg\tn01443537\t0\t32\t44\t62\nb.jpg\tgolden retriever\n",
        "# Caffe's way\na n01443537\nb.jpg golden retriever\n",
        "a.jpg,n01443537\nb,golden retriever\nelsewhere,n02123045\n",
    ],
)
def test_labels_from_a_file(tmp_path: Path, text: str) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        put(tmp_path / "photos" / name)
    table = tmp_path / "val.txt"
    table.write_text(text)
    assert labels(root=str(tmp_path / "photos"), labels=str(table)) == ["n01443537", "golden retriever", None]


def test_a_wrong_label_file_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    table = tmp_path / "labels.txt"
    with pytest.raises(DeepInsideError, match="cannot be read"):
        labels(root=str(tmp_path), labels=str(table))
    table.write_text("b.jpg n01443537\n")
    with pytest.raises(DeepInsideError, match="names none of the photos"):
        labels(root=str(tmp_path), labels=str(table))
    table.write_text("a.jpg\n")
    with pytest.raises(DeepInsideError, match="expected a name and a label"):
        labels(root=str(tmp_path), labels=str(table))


# ---- where their objects are -----------------------------------------------------------------------------------------


def tiny(folder: Path, *lines: str) -> str:
    """Tiny ImageNet's annotations: photo, label, first and last pixel."""
    path = folder / "val_annotations.txt"
    path.write_text("".join("\t".join(line.split()) + "\n" for line in lines))
    return str(path)


def test_boxes_and_labels_come_from_the_annotations(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        put(tmp_path / "photos" / f"{name}.png", size=(20, 10))
    lines = ("a.png n1 5 0 9 4", "a.png n2 0 0 1 1", "a.png n1 0 5 19 9", "b.png n2 0 0 19 9")
    settings = ImageSettings(root=str(tmp_path / "photos"), annotations=tiny(tmp_path, *lines))
    a, b, c = run(settings)[0][0].photos
    assert (a.label, b.label, c.label) == ("n1", "n2", None)
    assert a.boxes is not None and a.boxes.tolist() == [[0.25, 0, 0.5, 0.5], [0, 0.5, 1, 1]]
    assert torch.equal(a.boxes_in_view(), a.boxes)
    assert b.boxes is not None and b.boxes.tolist() == [[0, 0, 1, 1]]
    assert c.boxes is None and c.boxes_in_view().shape == (0, 4)


def test_a_label_of_ones_own_chooses_its_boxes(tmp_path: Path) -> None:
    put(tmp_path / "n00000002" / "n00000002_1.png", size=(20, 10))
    put(tmp_path / "n00000002" / "n00000003_1.png", size=(20, 10))
    lines = [f"n0000000{k}_1.png {label}" for k in (2, 3) for label in ("n00000001 0 0 19 9", "n00000002 0 0 9 9")]
    settings = ImageSettings(root=str(tmp_path), recursive=True, labels="stem", annotations=tiny(tmp_path, *lines))
    own, other = run(settings)[0][0].photos
    assert own.label == "n00000002" and own.boxes is not None and own.boxes.tolist() == [[0, 0, 0.5, 1]]
    assert other.label == "n00000003" and other.boxes is not None and other.boxes.tolist() == [[0, 0, 1, 1]]


def test_annotations_of_other_photos_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    settings = ImageSettings(root=str(tmp_path), annotations=tiny(tmp_path, "b.png n1 0 0 1 1"))
    with pytest.raises(DeepInsideError, match="none of the photos"):
        run(settings)


@pytest.mark.parametrize("how", ["square", "short_side_crop"])
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (80, 20)])
def test_boxes_lie_on_their_object_whatever_is_cut_away(tmp_path: Path, size: tuple[int, int], how: str) -> None:
    x0, y0, x1, y1 = size[0] // 2 - 4, size[1] // 2 - 6, size[0] // 2 + 8, size[1] // 2 + 4
    photo = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    photo[y0:y1, x0:x1] = 255
    Image.fromarray(photo).save(tmp_path / "a.png")
    note = tiny(tmp_path, f"a.png n1 {x0} {y0} {x1 - 1} {y1 - 1}")
    settings = ImageSettings(root=str(tmp_path), annotations=note, resize=how)  # type: ignore[arg-type]
    white = InputConvention(size=(120, 120), channels="rgb", mean=(0.0, 0.0, 0.0))
    (batch,), _ = run(settings, white)
    bright = batch.pixels[0, 0] > 127
    rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
    seen = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 120
    assert (batch.photos[0].boxes_in_view()[0] - seen).abs().max() <= 1.01 / 120


def test_what_a_crop_cuts_off_is_cut_off_the_boxes(tmp_path: Path) -> None:
    put(tmp_path / "a.png", size=(40, 10))
    note = tiny(tmp_path, "a.png n1 0 0 9 9", "a.png n1 10 0 19 4", "a.png n1 30 0 39 9")
    (batch,), _ = run(ImageSettings(root=str(tmp_path), annotations=note, resize="short_side_crop"))
    photo = batch.photos[0]
    assert photo.view == (0.375, 0, 0.625, 1)
    assert photo.boxes is not None and len(photo.boxes) == 3
    assert photo.boxes_in_view().tolist() == [[0, 0, 0.5, 0.5]]


# ---- what arrives ----------------------------------------------------------------------------------------------------


def test_photos_arrive_in_order_whatever_the_batch(tmp_path: Path) -> None:
    for index in range(7):
        put(tmp_path / f"{index}.png", level=10 * index, size=(400 - 50 * index, 100))
    for size in (1, 3, 7, 50):
        found, skipped = run(ImageSettings(root=str(tmp_path), batch=size))
        assert [photo.stem for batch in found for photo in batch.photos] == list("0123456")
        assert [photo.number for batch in found for photo in batch.photos] == list(range(7))
        pixels = torch.cat([batch.pixels for batch in found])
        assert torch.equal(CAFFE.to_pixels(pixels)[:, 0, 0, 0], torch.arange(0, 70, 10, dtype=torch.uint8))
        assert not skipped


def test_a_photo_has_its_pixels_its_original_and_its_hash(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", level=200, size=(12, 10))
    (batch,), _ = run(ImageSettings(root=str(path)))
    photo = batch.photos[0]
    assert batch.pixels.dtype == torch.float32
    assert torch.equal(photo.pixels, batch.pixels[0])
    assert photo.pixels[:, 3, 3].tolist() == [200 - 123, 200 - 117, 200 - 104]
    assert len(photo.sha256) == 64


def test_a_grey_network_gets_one_channel(tmp_path: Path) -> None:
    put(tmp_path / "a.png", level=200)
    grey = InputConvention(size=(8, 6), channels="grey", mean=(50.0,), std=(1.0,))
    (batch,), _ = run(ImageSettings(root=str(tmp_path)), grey)
    assert tuple(batch.pixels.shape) == (1, 1, 8, 6)
    assert torch.allclose(batch.pixels, torch.full((1, 1, 8, 6), 150.0), atol=1e-3)


def test_without_photos_there_is_one_empty_batch() -> None:
    found, skipped = run(ImageSettings())
    assert len(found) == 1
    assert len(found[0]) == 0
    assert tuple(found[0].pixels.shape) == (0, 3, 8, 8)
    assert not skipped


def test_one_unreadable_photo_is_skipped_and_the_others_are_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "a.jpg")
    put(tmp_path / "z" / "c.jpg")
    (tmp_path / "z" / "b.jpg").write_text("not an image")
    with caplog.at_level(logging.WARNING):
        found, skipped = run(ImageSettings(root=str(tmp_path), recursive=True, batch=2))
    assert [(photo.stem, photo.number) for batch in found for photo in batch.photos] == [("a", 0), ("c", 2)]
    assert [fault.name for fault in skipped] == ["z/b.jpg"]
    assert f"skipped z/b.jpg: {skipped[0].reason}" in caplog.text


def test_a_missing_file_of_a_list_is_skipped(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n")
    found, skipped = run(ImageSettings(root=str(tmp_path / "list.txt")))
    assert len(found[0]) == 1
    assert skipped == [Skipped("b.jpg", "No such file or directory")]


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DeepInsideError, match=r"None of 1 photos can be read; a\.jpg: it is empty"):
        run(ImageSettings(root=str(tmp_path)))


def ramp(width: int, height: int) -> Image.Image:
    """Red rises by one level a column, green by one a row."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8))


def test_square_stretches_the_whole_photo() -> None:
    found = np.asarray(resized(ramp(200, 100), (50, 50), short_side=None)).astype(float)
    expected = (np.arange(50) + 0.5)[None] * 4 - 0.5
    assert np.abs(found[20:30, 5:45, 0] - expected[:, 5:45]).max() <= 1
    assert np.abs(found[5:45, 20, 1] - expected[0, 5:45] / 2).max() <= 1


def test_short_side_crop_keeps_the_shape_and_cuts_the_middle() -> None:
    found = np.asarray(resized(ramp(200, 100), (40, 40), short_side=50)).astype(float)
    columns = 100 + (np.arange(40) - 19.5) * 2 - 0.5
    rows = 50 + (np.arange(40) - 19.5) * 2 - 0.5
    assert np.abs(found[20, 2:38, 0] - columns[2:38]).max() <= 1
    assert np.abs(found[2:38, 20, 1] - rows[2:38]).max() <= 1


def test_a_photo_of_the_right_size_is_not_touched() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for short_side in (None, 32):
        assert np.array_equal(np.asarray(resized(Image.fromarray(noise), (32, 32), short_side=short_side)), noise)


def test_shrinking_averages_instead_of_picking() -> None:
    board = Image.fromarray((np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)).convert("RGB")
    found = np.asarray(resized(board, (16, 16), short_side=None)).astype(int)
    assert np.abs(found - 127.5).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("how", ["square", "short_side_crop"])
def test_the_thinnest_photos_are_read(tmp_path: Path, size: tuple[int, int], how: str) -> None:
    put(tmp_path / "a.png", level=77, size=size)
    (batch,), skipped = run(ImageSettings(root=str(tmp_path), resize=how))  # type: ignore[arg-type]
    assert not skipped
    assert (CAFFE.to_pixels(batch.pixels) == 77).all()


def test_photos_can_be_loaded_larger_than_the_network(tmp_path: Path) -> None:
    put(tmp_path / "a.png", size=(300, 150))
    settings = ImageSettings(root=str(tmp_path), enlarge=2.5)
    (batch,), _ = run(settings)
    assert tuple(batch.pixels.shape) == (1, 3, 20, 20)


def test_a_short_side_below_the_crop_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    with pytest.raises(DeepInsideError, match="make it at least 8"):
        run(ImageSettings(root=str(tmp_path), resize="short_side_crop", short_side=7))


# ---- how it flows ----------------------------------------------------------------------------------------------------


def test_few_photos_live_at_any_time(tmp_path: Path) -> None:
    for index in range(40):
        put(tmp_path / f"{index:02}.png", level=index)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    for loaded in all_batches(ImageSettings(root=str(tmp_path), batch=4), CAFFE):
        assert loaded.batch is not None
        alive += [weakref.ref(photo.pixels) for photo in loaded.batch.photos]
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 40
    assert most <= 4 * (1 + AHEAD)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files read so far, by name."""
    noted: list[str] = []
    original = reading.decode

    def note(data: bytes, path: Path, *, needed: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
        noted.append(path.name)
        return original(data, path, needed=needed)

    monkeypatch.setattr(reading, "decode", note)
    yield noted


def test_the_next_batches_are_read_while_one_is_computed_and_no_more(tmp_path: Path, reads: list[str]) -> None:
    for index in range(9):
        put(tmp_path / f"{index}.png")
    stream = all_batches(ImageSettings(root=str(tmp_path), batch=2), CAFFE)
    next(stream)
    deadline = time.monotonic() + 10
    while len(reads) < 2 * (1 + AHEAD) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert sorted(reads) == [f"{index}.png" for index in range(2 * (1 + AHEAD))]
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("photos")]


def test_two_runs_give_the_same_bytes() -> None:
    settings = ImageSettings(names=("chelsea", "rocket"), resize="short_side_crop", short_side=256)
    convention = InputConvention(size=(224, 224))
    first, second = (run(settings, convention)[0][0].pixels for _ in range(2))
    assert torch.equal(first, second)


def test_any_part_of_the_list_is_the_same_as_in_the_whole(tmp_path: Path) -> None:
    for index in range(7):
        put(tmp_path / f"{index}.png", level=10 * index)
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "4.png").write_bytes(b"")
    settings = ImageSettings(root=str(tmp_path), batch=2)
    sources = listed(settings)
    whole = {photo.number: photo for each in all_batches(settings, CAFFE) if each.batch for photo in each.batch.photos}
    assert sorted(whole) == [0, 1, 2, 5, 6]
    parts = [range(5, 7), range(3, 5), range(1, 4), range(0)]
    found = list(batches(sources, iter(parts), settings, CAFFE))
    assert [each.numbers for each in found] == parts
    assert [None if each.batch is None else [photo.number for photo in each.batch.photos] for each in found] == [
        [5, 6], None, [1, 2], [],
    ]  # fmt: skip
    assert [[one.name for one in each.skipped] for each in found] == [[], ["3.png", "4.png"], ["3.png"], []]
    for photo in (photo for each in found if each.batch for photo in each.batch.photos):
        assert photo.stem == whole[photo.number].stem
        assert torch.equal(photo.pixels, whole[photo.number].pixels)


def test_parts_are_asked_for_as_they_are_wanted(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    settings = ImageSettings(root=str(tmp_path))
    taken: list[int] = []

    def parts() -> Iterator[range]:
        for number in range(10):
            taken.append(number)
            yield range(1)

    stream = batches(listed(settings), parts(), settings, CAFFE)
    next(stream)
    assert len(taken) == 1 + AHEAD
    stream.close()


def test_slices_are_fixed() -> None:
    assert slices(5, 2) == [range(0, 2), range(2, 4), range(4, 5)]
    assert slices(0, 2) == [range(0)]


def test_some_that_are_readable_are_enough() -> None:
    check_some_are_readable(0, [])
    check_some_are_readable(2, [Skipped("a", "broken")])
    with pytest.raises(DeepInsideError, match="None of 1 photos can be read; a: broken"):
        check_some_are_readable(1, [Skipped("a", "broken")])
