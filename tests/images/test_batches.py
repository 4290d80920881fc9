"""What arrives at the network, and how it flows."""

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from shots import CAFFE, put, run

from deepinside.errors import DeepInsideError
from deepinside.images import batches as reading
from deepinside.images.batches import (
    AHEAD,
    Skipped,
    all_batches,
    batches,
    check_some_are_readable,
    fit,
    slices,
    start_reading,
)
from deepinside.images.load import ENOUGH, decode, to_tensor
from deepinside.images.settings import ImageSettings, view
from deepinside.images.sources import listed
from deepinside.networks.spec import InputConvention


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


def fitted(image: Image.Image, side: int, *, short_side: int | None = None) -> NDArray[np.uint8]:
    """(side, side, 3)."""
    settings = ImageSettings(resize="short_side_crop" if short_side else "square", short_side=short_side)
    return fit(image, settings, (side, side)).pixels.permute(1, 2, 0).numpy()


def test_square_stretches_the_whole_photo() -> None:
    found = fitted(ramp(200, 100), 50).astype(float)
    expected = (np.arange(50) + 0.5)[None] * 4 - 0.5
    assert np.abs(found[20:30, 5:45, 0] - expected[:, 5:45]).max() <= 1
    assert np.abs(found[5:45, 20, 1] - expected[0, 5:45] / 2).max() <= 1


def test_short_side_crop_keeps_the_shape_and_cuts_the_middle() -> None:
    found = fitted(ramp(200, 100), 40, short_side=50).astype(float)
    columns = 100 + (np.arange(40) - 19.5) * 2 - 0.5
    rows = 50 + (np.arange(40) - 19.5) * 2 - 0.5
    assert np.abs(found[20, 2:38, 0] - columns[2:38]).max() <= 1
    assert np.abs(found[2:38, 20, 1] - rows[2:38]).max() <= 1


def test_a_photo_of_the_right_size_is_not_touched() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for short_side in (None, 32):
        assert np.array_equal(fitted(Image.fromarray(noise), 32, short_side=short_side), noise)


def test_shrinking_averages_instead_of_picking() -> None:
    board = Image.fromarray((np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)).convert("RGB")
    found = fitted(board, 16).astype(int)
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


def test_few_photos_live_at_any_time(tmp_path: Path) -> None:
    for index in range(24):
        put(tmp_path / f"{index:02}.png", level=index)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    for loaded in all_batches(ImageSettings(root=str(tmp_path), batch=4), CAFFE):
        assert loaded.batch is not None
        alive += [weakref.ref(photo.pixels) for photo in loaded.batch.photos]
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 24
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


def test_photos_that_are_read_early_are_not_read_again(tmp_path: Path, reads: list[str]) -> None:
    for index in range(5):
        put(tmp_path / f"{index}.png", level=10 * index)
    settings = ImageSettings(root=str(tmp_path), batch=2)
    sources, parts = listed(settings), slices(5, 2)
    plain = list(batches(sources, parts, settings, CAFFE))
    reads.clear()
    early = start_reading(sources, parts[0], settings, CAFFE)
    for _ in range(2):
        found = list(batches(sources, parts, settings, CAFFE, early))
        assert [each.numbers for each in found] == parts
        assert all(torch.equal(a.batch.pixels, b.batch.pixels) for a, b in zip(found, plain, strict=True))
    assert sorted(reads) == ["0.png", "1.png", *sorted(["2.png", "3.png", "4.png"] * 2)]


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


def gradient(width: int, height: int) -> Image.Image:
    """Smooth in all colours, so that a JPEG of it is exact to a level or two."""
    rows, columns = np.mgrid[:height, :width]
    colours = [255 * columns / width, 255 * rows / height, 127 + 100 * np.sin(columns / 97) * np.cos(rows / 71)]
    return Image.fromarray(np.stack(colours, axis=-1).astype(np.uint8))


@pytest.mark.parametrize("how", ["square", "short_side_crop"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_hardly_differs(tmp_path: Path, how: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient(1203, 801).save(tmp_path / "a.jpg", quality=95, exif=exif)
    data = (tmp_path / "a.jpg").read_bytes()
    whole, size = decode(data, tmp_path)
    small, same = decode(data, tmp_path, needed=8 * ENOUGH)
    upright = (1203, 801) if orientation == 1 else (801, 1203)
    assert size == same == whole.size == upright
    assert small.size == tuple(-(-side // 4) for side in upright)
    note = tmp_path / "val_annotations.txt"
    note.write_text(f"a.jpg\tn1\t0\t0\t{upright[0] - 1}\t{upright[1] // 2 - 1}\n")
    settings = ImageSettings(root=str(tmp_path), resize=how, annotations=str(note))  # type: ignore[arg-type]
    rgb = InputConvention(size=(32, 32), channels="rgb", mean=(0.0, 0.0, 0.0))
    (batch,), _ = run(settings, rgb)
    short_side = 32 if how == "short_side_crop" else None
    exact = to_tensor(
        whole.resize((32, 32), Image.Resampling.BILINEAR, box=view(size, (32, 32), short_side=short_side))
    )
    # a turned photo begins with the part of a pixel that an upright one ends with
    assert (batch.pixels[0] - exact).abs().max() <= (3 if orientation == 1 else 5)
    boxes = batch.photos[0].boxes
    assert boxes is not None and boxes.tolist() == [[0, 0, 1, pytest.approx(upright[1] // 2 / upright[1])]]


def test_a_photo_no_larger_than_enough_is_decoded_whole(tmp_path: Path) -> None:
    gradient(8 * ENOUGH - 1, 8 * ENOUGH - 1).save(tmp_path / "a.jpg")
    put(tmp_path / "b.png", size=(400, 400))
    for name in ("a.jpg", "b.png"):
        data = (tmp_path / name).read_bytes()
        assert np.array_equal(*(np.asarray(decode(data, tmp_path, needed=needed)[0]) for needed in (4, None)))
