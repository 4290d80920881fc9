"""What the photos show: classes and marked objects."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shots import put, run, sources

from deepinside.errors import DeepInsideError
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import listed
from deepinside.networks.spec import InputConvention


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
    with pytest.raises(DeepInsideError, match="line 1: expected the name of a photo and a label"):
        labels(root=str(tmp_path), labels=str(table))


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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("line", ['"a b.png","{}"', "a b.png,{}", "a b.png;{}", "a b.png\t{}", "a b.png\t{}\t0.9"])
def test_label_files_of_spreadsheets(tmp_path: Path, encoding: str, line: str) -> None:
    line = line.format("caf\xe9, coffee")
    put(tmp_path / "photos" / "a b.png")
    (tmp_path / "labels.csv").write_bytes(f"name,label\r\n{line}\r\n".encode(encoding))
    (found,) = sources(root=str(tmp_path / "photos"), labels=str(tmp_path / "labels.csv"))
    assert found.label == "caf\xe9, coffee"
