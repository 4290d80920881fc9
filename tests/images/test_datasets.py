"""Declared data sets against a local server with a small copy of Tiny ImageNet's layout."""

import hashlib
import http.server
import io
import logging
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepinside.config.composition import compose_dict
from deepinside.config.settings import construct
from deepinside.errors import DeepInsideError
from deepinside.images.datasets import DataFile, Dataset, Split, dataset_folder
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import listed
from deepinside.networks.spec import find_spec

KNOWN, UNKNOWN = "n01443537", "n00000001"
"""The goldfish, which tinycaffenet knows, and an id of no class."""
TOP = "tiny-imagenet-200"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def small_copy(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        lines = []
        for number, label in enumerate([KNOWN, UNKNOWN, KNOWN]):
            stream = io.BytesIO()
            Image.fromarray(np.full((64, 64, 3), 40 * number, np.uint8)).save(stream, "JPEG")
            archive.writestr(f"{TOP}/val/images/val_{number}.JPEG", stream.getvalue())
            archive.writestr(f"{TOP}/train/{label}/images/{label}_{number}.JPEG", stream.getvalue())
            lines.append(f"val_{number}.JPEG\t{label}\t0\t0\t31\t{15 + number}\n")
        archive.writestr(f"{TOP}/val/val_annotations.txt", "".join(lines))
        archive.writestr(f"{TOP}/train/{KNOWN}/{KNOWN}_boxes.txt", f"{KNOWN}_0.JPEG\t1\t2\t3\t4\n")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageSettings]:
    """The settings of images=tiny_imagenet, whose archive a local server has."""
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    path = tmp_path / "served" / f"{TOP}.zip"
    small_copy(path)
    handler = partial(Quiet, directory=str(path.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urls = (f"http://127.0.0.1:{server.server_port}/{path.name}",)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    yield with_file(declared("tiny_imagenet"), urls=urls, md5=md5, bytes=path.stat().st_size)
    server.shutdown()
    server.server_close()


def declared(name: str) -> ImageSettings:
    found = construct(ImageSettings, compose_dict([f"images={name}"])["images"], "images")
    assert isinstance(found, ImageSettings)
    return found


def with_file(settings: ImageSettings, **changes: object) -> ImageSettings:
    assert settings.dataset is not None
    file = replace(settings.dataset.files["archive"], **changes)  # type: ignore[arg-type]
    return replace(settings, dataset=replace(settings.dataset, files={"archive": file}))


@pytest.mark.parametrize("name", ["tiny_imagenet", "voc2007", "imagenette", "ilsvrc_val"])
def test_every_data_set_that_ships_is_complete(name: str) -> None:
    data = declared(name).dataset
    assert data is not None
    assert data.licence and data.source.startswith("http")
    for split in data.splits.values():
        for place in filter(None, (split.root, split.annotations)):
            assert place.partition("/")[0] in data.files


def test_photos_boxes_and_labels_are_read_from_the_fetched_archive(served: ImageSettings) -> None:
    photos = listed(replace(served, unknown_classes="keep"))
    assert [(one.stem, one.label) for one in photos] == [("val_0", KNOWN), ("val_1", UNKNOWN), ("val_2", KNOWN)]
    assert [one.objects.boxes for one in photos if one.objects] == [((0, 0, 32, 16 + n),) for n in range(3)]
    assert photos[0].read().startswith(b"\xff\xd8")
    assert not photos.notes
    train = listed(replace(served, split="train", unknown_classes="keep"))
    assert [(one.name, one.label) for one in train if one.objects] == [(f"{KNOWN}/images/{KNOWN}_0.JPEG", KNOWN)]
    assert len(train) == 3


def test_photos_of_unknown_classes_are_left_out_with_a_note(served: ImageSettings) -> None:
    network = find_spec("tinycaffenet")
    photos = listed(served, network)
    assert [one.stem for one in photos] == ["val_0", "val_2"]
    (note,) = photos.notes
    assert "1 of 3 photos are left out" in note and UNKNOWN in note and "tinycaffenet" in note
    assert [one.stem for one in listed(replace(served, limit=1), network)] == ["val_0"]


def test_a_checked_file_is_used_offline_and_a_changed_one_is_refused(served: ImageSettings) -> None:
    listed(served)
    gone = with_file(served, urls=("http://127.0.0.1:9/gone.zip",))
    assert len(listed(gone)) == 3
    path = dataset_folder() / f"{TOP}.zip"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DeepInsideError, match="should have MD5"):
        listed(gone)


def test_offline_there_is_one_sentence_with_path_hash_and_address(served: ImageSettings) -> None:
    gone = with_file(served, urls=("http://127.0.0.1:9/gone.zip",))
    with pytest.raises(DeepInsideError) as error:
        listed(gone)
    assert gone.dataset is not None
    wanted = (str(dataset_folder() / f"{TOP}.zip"), "http://127.0.0.1:9/gone.zip", "MD5", "place it as that path")
    assert all(word in str(error.value) for word in wanted)


def test_a_data_set_that_is_placed_by_hand_says_what_and_where(served: ImageSettings) -> None:
    with pytest.raises(DeepInsideError) as error:
        listed(declared("ilsvrc_val"))
    assert str(dataset_folder() / "ILSVRC2012_img_val.tar") in str(error.value)
    assert "image-net.org" in str(error.value) and "29b22e29" in str(error.value)


def test_without_a_published_hash_the_first_is_recorded_and_required(
    served: ImageSettings, caplog: pytest.LogCaptureFixture
) -> None:
    free = with_file(served, md5=None)
    with caplog.at_level(logging.WARNING):
        listed(free)
    path = dataset_folder() / f"{TOP}.zip"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in caplog.text
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DeepInsideError, match="should have SHA-256"):
        listed(free)


def test_labels_are_translated_into_those_of_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPINSIDE_CACHE", str(tmp_path))
    dataset_folder().mkdir(parents=True)
    small_copy(dataset_folder() / "a.zip")
    data = Dataset(
        title="t", source="s", licence="l", files={"a": DataFile(name="a.zip")},
        splits={"all": Split(root=f"a/{TOP}/val/images", annotations=f"a/{TOP}/val")}, classes={UNKNOWN: "cats"},
    )  # fmt: skip
    found = listed(ImageSettings(dataset=data, split="all", unknown_classes="skip"), find_spec("tinycaffenet"))
    assert [one.label for one in found] == [KNOWN, "cats", KNOWN]


def test_a_wrong_split_and_a_second_source_of_photos_are_refused(served: ImageSettings) -> None:
    with pytest.raises(ValueError, match="expected one of val, train"):
        replace(served, split="test")
    with pytest.raises(ValueError, match="images=none"):
        replace(served, root="photos")
