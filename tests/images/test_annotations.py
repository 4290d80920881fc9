"""Boxes out of every accepted format, and one sentence for everything else."""

import json
import zipfile
from pathlib import Path, PurePosixPath

import pytest
import torch
from PIL import Image

from deepinside.errors import DeepInsideError
from deepinside.images.annotations import Annotation, find, read_annotations
from deepinside.images.batches import all_batches
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import listed
from deepinside.networks.spec import InputConvention

XML = """<annotation>
  <folder>f</folder><filename>000005</filename>
  <source><database>{database}</database></source>
  <size><width>{width}</width><height>80</height><depth>3</depth></size>
  <object><name>chair</name><bndbox><xmin>1</xmin><ymin>11</ymin><xmax>100</xmax><ymax>30</ymax></bndbox></object>
  <object><name>n02123045</name><difficult>1</difficult>
    <bndbox><xmax>50.0</xmax><xmin>21</xmin><ymin>1</ymin><ymax>80</ymax></bndbox></object>
</annotation>"""
COCO = {
    "info": {},
    "images": [
        {"id": 7, "file_name": "left/a.jpg", "width": 100, "height": 50},
        {"id": 9, "file_name": "right/a.jpg"},
    ],
    "annotations": [
        {"image_id": 7, "category_id": 17, "bbox": [10.5, 20, 30, 40], "iscrowd": 0, "segmentation": [[1, 2]]},
        {"image_id": 7, "category_id": 18, "bbox": [0, 0, 100, 50], "iscrowd": 1},
        {"image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
}


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_tiny_imagenet_validation(tmp_path):
    path = write(
        tmp_path, "val_annotations.txt", "val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_2.JPEG\tn02808440\t3\t3\t63\t63\n"
    )
    read = read_annotations(path)
    assert read["val_0"] == Annotation(((0, 32, 45, 63),), ("n03444034",))
    assert read["val_2"].boxes == ((3, 3, 64, 64),)
    assert torch.equal(read["val_2"].fractions((64, 64)), torch.tensor([[3.0, 3, 64, 64]]) / 64)
    with pytest.raises(DeepInsideError, match="size"):
        read["val_2"].fractions()


def test_tiny_imagenet_training_classes_from_their_folder(tmp_path):
    for wnid in ("n01443537", "n01629819"):
        write(
            tmp_path, f"train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t10\t63\t58\r\n{wnid}_1.JPEG\t5\t5\t5\t9\r\n"
        )
    write(tmp_path, "words.txt", "n00001740\tentity\n")
    write(tmp_path, "train/n01443537/images/n01443537_0.JPEG", b"\xff\xd8")
    read = read_annotations(tmp_path)
    assert len(read) == 4
    assert read["n01629819_1"] == Annotation(((5, 5, 6, 10),), ("n01629819",))


def test_one_photo_on_several_lines_has_several_boxes(tmp_path):
    path = write(tmp_path, "b.txt", "a.JPEG\tdog\t0\t0\t9\t9\na.JPEG\tcat\t0\t0\t19\t9\na.JPEG\tdog\t5\t5\t6\t6\n")
    annotation = read_annotations(path)["a"]
    assert annotation.label == "cat"
    assert annotation.of("dog") == ((0, 0, 10, 10), (5, 5, 7, 7))
    assert annotation.of("fish") == ()


def test_the_real_files_where_they_are_at_hand(tmp_path):
    archive = Path(__file__).parents[3] / "shared/data/tiny-imagenet-100-val.zip"
    if not archive.exists():
        pytest.skip("no Tiny ImageNet here")
    with zipfile.ZipFile(archive) as files:
        name = next(name for name in files.namelist() if name.endswith("val_annotations.txt"))
        write(tmp_path, "val_annotations.txt", files.read(name))
    boxes = torch.tensor([a.boxes[0] for a in read_annotations(tmp_path).values()])
    assert len(boxes) == 5000
    assert boxes.min() == 0
    assert boxes.max() == 64
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()


@pytest.mark.parametrize(
    ("database", "chair", "cat"),
    [("The VOC2007 Database", (0, 10, 100, 30), (20, 0, 50, 80)), ("ILSVRC_2012", (1, 11, 101, 31), (21, 1, 51, 80))],
)
def test_xml_counts_from_one_in_voc_only_and_stays_in_the_photo(tmp_path, database, chair, cat):
    path = write(tmp_path, "000005.xml", XML.format(database=database, width=200))
    assert read_annotations(path) == {"000005": Annotation((chair, cat), ("chair", "n02123045"), (200, 80))}
    assert read_annotations(path)["000005"].fractions((1, 1))[1].tolist() == pytest.approx(
        [cat[0] / 200, cat[1] / 80, cat[2] / 200, cat[3] / 80]
    )


def test_xml_without_size_or_objects(tmp_path):
    path = write(tmp_path, "a.xml", XML.format(database="x", width=0))
    assert read_annotations(path)["a"].size is None
    empty = write(tmp_path, "b.xml", "<annotation><filename>b.jpg</filename></annotation>")
    assert read_annotations(empty) == {"b": Annotation()}
    assert read_annotations(empty)["b"].label is None
    assert Annotation(size=(3, 4)).fractions().shape == (0, 4)


def test_coco(tmp_path):
    read = read_annotations(write(tmp_path, "instances.json", json.dumps(COCO, indent=1)))
    assert read["left/a"] == Annotation(((10.5, 20, 40.5, 50), (1, 2, 4, 6)), ("cat", "dog"), (100, 50))
    assert read["right/a"] == Annotation()
    marked = write(tmp_path, "marked.json", b"\xef\xbb\xbf" + json.dumps(COCO).encode())
    assert read_annotations(marked) == read


def test_photos_find_their_annotation_by_the_longest_tail():
    one, two = Annotation(size=(1, 1)), Annotation(size=(2, 2))
    annotations = {"left/a": one, "a": two}
    assert find(annotations, PurePosixPath("data/left/a.png")) is one
    assert find(annotations, PurePosixPath("data/right/a.png")) is two
    assert find(annotations, PurePosixPath("b.png")) is None


def test_boxes_without_area_are_left_out_and_named(tmp_path, caplog):
    lines = "a.jpg\tcat\t9\t0\t5\t9\na.jpg\tdog\t0\t0\t5\t9\n"
    assert read_annotations(write(tmp_path, "a.txt", lines))["a"].labels == ("dog",)
    assert "cat" in caplog.text
    coco = COCO | {"annotations": [{"image_id": 7, "category_id": 17, "bbox": [200, 0, 5, 5]}]}
    assert read_annotations(write(tmp_path, "b.json", json.dumps(coco)))["left/a"].boxes == ()


BOMB = """<?xml version="1.0"?><!DOCTYPE annotation [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><object><name>&c;</name></object></annotation>"""
OUTSIDE = """<!DOCTYPE annotation [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation>&x;</annotation>"""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.xml", BOMB, "document type"),
        ("a.xml", OUTSIDE, "document type"),
        ("a.xml", XML[:200], "cannot be read as PASCAL VOC"),
        ("a.xml", XML.replace("<xmin>21</xmin>", "<xmin>left</xmin>"), "left"),
        ("a.xml", XML.replace("<xmin>21</xmin>", ""), "xmin"),
        ("a.xml", '<?xml version="1.0" encoding="nonsense"?><annotation/>', "cannot be read as PASCAL VOC"),
        ("a.json", json.dumps(COCO)[:-30], "cannot be read as COCO"),
        ("a.json", json.dumps(COCO).replace("[1, 2, 3, 4]", "[1, 2]"), r"annotations\.2\.bbox"),
        ("a.json", json.dumps(COCO).replace('"id": 17', '"id": 99'), "category 17"),
        ("a.json", json.dumps(COCO).replace("[[1, 2]]", "[" * 100_000 + "]" * 100_000), "cannot be read as COCO"),
        ("a.txt", "a.jpg\tcat\t0\t0\t5\t9\nb.jpg\tcat\t0\t0\n", "Line 2"),
        ("a.txt", "a,cat,0,0,5,9\n", "accepted are Tiny ImageNet"),
        ("a.json", "{}", "accepted are Tiny ImageNet"),
        ("a.xml", "<html/>", "accepted are Tiny ImageNet"),
        ("a.txt", b"\x00\xff\xfe", "accepted are Tiny ImageNet"),
        ("a.txt", "", "accepted are Tiny ImageNet"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path, name, text, words):
    path = write(tmp_path, name, text.replace("{width}", "99") if isinstance(text, str) else text)
    with pytest.raises(DeepInsideError, match=words) as error:
        read_annotations(path)
    assert str(path) in str(error.value)


def test_folders_without_annotations_and_missing_files(tmp_path):
    write(tmp_path, "notes.txt", "hello\n")
    with pytest.raises(DeepInsideError, match="None of 1 files"):
        read_annotations(tmp_path)
    with pytest.raises(DeepInsideError, match="No such file"):
        read_annotations(tmp_path / "gone.xml")


def test_two_files_that_disagree_about_a_photo(tmp_path):
    write(tmp_path, "one.txt", "a.jpg\tcat\t0\t0\t5\t9\n")
    write(tmp_path, "same.txt", "a.jpg\tcat\t0\t0\t5\t9\n")
    assert len(read_annotations(tmp_path)) == 1
    write(tmp_path, "two.txt", "a.jpg\tcat\t0\t0\t5\t8\n")
    with pytest.raises(DeepInsideError, match="unlike another"):
        read_annotations(tmp_path)


# ---- hostile files: each ends in one sentence, or in annotations that can be used ------------------------------------

HUGE = ("1e999", "9" * 400, "9" * 5000, "-1", "0", "1.5", "null", '"12"', "NaN", "Infinity", "1e308", "true", "[]")
ODD_NAMES = ("", "/", "//", ".", "..", "a\0b.jpg", "\ud800", "\ud800.jpg", " ", "a\nb.jpg", "../../a.jpg", "x" * 5000)


def coco(
    *, file: str = '"a.jpg"', name: str = '"cat"', number: str = "1", width: str = "40", box: str = "[1,2,3,4]"
) -> str:
    return (
        f'{{"images":[{{"id":{number},"file_name":{file},"width":{width},"height":30}}],'
        f'"annotations":[{{"image_id":1,"category_id":7,"bbox":{box}}}],"categories":[{{"id":7,"name":{name}}}]}}'
    )


def voc(*, width: str = "40", height: str = "30", x: str = "5", name: str = "cat") -> str:
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height></size><object><name>{name}</name>"
        f"<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{x}</xmax><ymax>6</ymax></bndbox></object></annotation>"
    )


HOSTILE = [
    *(("a.json", coco(**{key: number})) for number in HUGE for key in ("width", "box", "number")),
    *(("a.json", coco(box=f"[0,0,{number},{number}]")) for number in HUGE),
    *(("a.json", coco(**{key: json.dumps(name)})) for name in ODD_NAMES for key in ("file", "name")),
    *(("a.xml", voc(**{key: number})) for number in HUGE for key in ("width", "height", "x")),
    *(("a.xml", voc(name=name)) for name in ("", " ", "&#0;", "&#xD800;", "&x;", "<b/>", "\0", "x" * 5000)),
    ("a.json", "[" * 100_000),
    ("a.json", '{"images":' + "[" * 100_000 + ',"annotations":[],"categories":[]}'),
    ("a.json", '{"images":[],"annotations":[],"categories":[]}'),
    ("a.txt", "a.jpg\tcat\t0\t0\t" + "9" * 400 + "\t3\n"),
    ("a.txt", "a.jpg\tcat\t0\t0\t" + "9" * 5000 + "\t3\n"),
    ("a.txt", "/\tcat\t0\t0\t5\t3\n"),
    ("a.txt", ".\tcat\t0\t0\t5\t3\n"),
    ("a.txt", "a\0.jpg\tcat\t0\t0\t5\t3\n"),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_annotation_file_is_one_sentence_or_can_be_used(tmp_path: Path, number: int) -> None:
    name, text = HOSTILE[number]
    (tmp_path / "photo").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "photo" / "a.jpg")
    (tmp_path / name).write_bytes(text.encode("utf-8", errors="surrogatepass"))
    settings = ImageSettings(root=str(tmp_path / "photo"), annotations=str(tmp_path / name))
    try:
        loaded = list(all_batches(settings, InputConvention(size=(8, 8))))
    except DeepInsideError as error:
        assert "\n" not in str(error) and len(str(error)) < 7000 and str(error).isprintable()
        return
    (photo,) = (photo for each in loaded if each.batch for photo in each.batch.photos)
    assert photo.boxes_in_view().isfinite().all()
    assert photo.label is None or photo.label.isprintable()


@pytest.mark.parametrize("key", ["root", "labels", "annotations"])
@pytest.mark.parametrize("text", ["a\0b", "~nobody-of-this-name/a", "\ud800", "x" * 5000, "a\nb"])
def test_a_path_that_no_file_can_have_is_one_sentence(tmp_path: Path, key: str, text: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DeepInsideError) as caught:
        listed(ImageSettings(**({"root": str(tmp_path)} | {key: text})))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["a\0b.png", "~nobody-of-this-name/a.png", "x" * 5000, "/", "..", "."])
def test_a_list_with_an_impossible_path_skips_that_photo(tmp_path: Path, line: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text(f"a.png\n{line}\n")
    try:
        found = list(all_batches(ImageSettings(root=str(tmp_path / "list.txt")), InputConvention(size=(8, 8))))
    except DeepInsideError as error:
        assert "\n" not in str(error) and "line 2" in str(error)
        return
    assert [len(each.skipped) for each in found] == [1]
