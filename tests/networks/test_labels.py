"""Lists of classes in every form that people have them in."""

import json
from pathlib import Path

import pytest

from deepinside.errors import DeepInsideError
from deepinside.networks.labels import read_names

NAMES = ["tench, Tinca tinca", "goldfish", "café au lait", "jack-o'-lantern"]
WNIDS = ["n01440764", "n01443537", "n07930864", "n03590841"]
PLAIN = [("", name) for name in NAMES]
KNOWN = list(zip(WNIDS, NAMES, strict=True))


def lines(form: str, start: int = 0) -> str:
    rows = enumerate(zip(WNIDS, NAMES, strict=True), start)
    return "\n".join(form.format(index=index, wnid=wnid, name=name) for index, (wnid, name) in rows) + "\n"


def read(folder: Path, text: str | bytes, name: str = "names.txt") -> list[tuple[str, str]]:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_names(folder / name)


@pytest.mark.parametrize(
    ("encoding", "end"),
    [
        ("utf-8", "\n"),
        ("utf-8-sig", "\r\n"),
        ("utf-16", "\r\n"),
        ("utf-16-le", "\n"),
        ("utf-16-be", "\n"),
        ("utf-32", "\n"),
        ("latin-1", "\r\n"),
        ("cp1252", "\r"),
    ],
)
@pytest.mark.parametrize("form", ["{name}", "{index}\t{wnid}\t{name}", "{wnid} {name}", "{index},{name}"])
def test_any_encoding_any_end_of_line(tmp_path: Path, encoding: str, end: str, form: str) -> None:
    text = lines(form).replace("\n", end)
    assert read(tmp_path, text.encode(encoding)) == (KNOWN if "wnid" in form else PLAIN)


@pytest.mark.parametrize("form", ["{name}", '"{name}"', "{index} {name}", "{index}: {name}", "{index},{name}",
                                  "{index};{name}", "{index}) {name}", "{index}\t{name}", '{index},"{name}"',
                                  '"{name}",', "  {name}  ", "{name}\n", "# {index}\n{name}", "{name}\t{index}",
                                  "{index} : '{name}'" ])  # fmt: skip
def test_one_class_a_line(tmp_path: Path, form: str) -> None:
    text = lines(form).replace("'jack-o'-lantern'", "'jack-o''-lantern'")
    assert read(tmp_path, text) == PLAIN


@pytest.mark.parametrize(
    "form", ["{wnid} {name}", "{wnid}: {name}", "{wnid},{name}", "{wnid}\t{name}", "{index} {wnid} {name}",
             "{index},{wnid},{name}", "{index}: {wnid} {name}"],
)  # fmt: skip
def test_with_wordnet_ids(tmp_path: Path, form: str) -> None:
    assert read(tmp_path, lines(form)) == KNOWN


def test_ids_alone_are_names_too(tmp_path: Path) -> None:
    assert read(tmp_path, "\n".join(WNIDS)) == [(wnid, wnid) for wnid in WNIDS]


@pytest.mark.parametrize(
    ("head", "form"),
    [
        ("index,name", '{index},"{name}"'),
        ("id;label", "{index};{name}"),
        ("ClassId,SignName", "{index},{name}"),
        ("class_index\tclass_name", "{index}\t{name}"),
        ("class,name", '{index},"{name}"'),
        ("Name,Index", '"{name}",{index}'),
    ],
)
def test_tables_with_a_header(tmp_path: Path, head: str, form: str) -> None:
    assert read(tmp_path, f"{head}\n{lines(form)}", "names.csv") == PLAIN
    if '"' in form:
        assert read(tmp_path, f"{head},wnid\n" + lines(form + ",{wnid}"), "w.csv") == KNOWN


def by_index() -> dict[str, str]:
    return {str(index): name for index, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("found", "ids"),
    [
        (NAMES, False),
        (by_index(), False),
        (dict(reversed(by_index().items())), False),
        ({name: index for index, name in enumerate(NAMES)}, False),
        ({str(index): [wnid, name] for index, (wnid, name) in enumerate(KNOWN)}, True),
        ([list(row) for row in KNOWN], True),
        ([{"id": wnid, "name": name} for wnid, name in KNOWN], True),
        ([{"name": name} for name in NAMES], False),
        ({"model_type": "resnet", "id2label": by_index(), "label2id": {}}, False),
        ({"nc": 4, "names": NAMES}, False),
    ],
)
def test_json_and_yaml_of_every_shape(tmp_path: Path, found: object, ids: bool) -> None:
    for name in ("names.json", "names.txt", "names.yaml"):
        assert read(tmp_path, json.dumps(found, indent=1), name) == (KNOWN if ids else PLAIN), name


def test_the_dict_of_imagenet_classes_as_python_writes_it(tmp_path: Path) -> None:
    text = "{" + ",\n ".join(f"{index}: {name!r}" for index, name in enumerate(NAMES)) + "}"
    assert read(tmp_path, text) == PLAIN
    assert read(tmp_path, repr(NAMES)) == PLAIN


def test_numbers_that_belong_to_the_names_stay(tmp_path: Path) -> None:
    for names in (
        ["5 euro", "10 euro", "20 euro"],
        ["cat", "3 wheeler", "dog"],
        ["1", "10", "11", "2"],
        ["7up", "cola"],
    ):
        assert read(tmp_path, "\n".join(names)) == [("", name) for name in names]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("0,cat\n2,dog\n", "a.txt", "line 2: class 1 is expected in its place, found 2 'dog'"),
        ("1: cat\n2: dog\n", "a.txt", "line 1: class 0 is expected in its place, found 1 'cat'; number all"),
        ("0,cat\n0,dog\n", "a.txt", "line 2: class 1 is expected"),
        ("cat\n\n0\0dog\n", "a.txt", "line 3: expected text, found a zero byte"),
        ("index,name\n0,cat\n1,\n", "a.csv", "line 3: expected the name of a class, found ''"),
        ("cat\n\x1b[31mdog\n", "a.txt", "line 2: expected the name of a class"),
        ('["cat",\n"dog"', "a.json", "line 2: cannot be read as JSON"),
        ("{0: 'cat',\n 1 'dog'}", "a.txt", "line 2: cannot be read as a list of classes"),
        ("names: [cat\n", "a.yaml", "line 2: cannot be read as YAML"),
        ("{0: open('x')}", "a.txt", "line 1: cannot be read as a list of classes"),
        ('{"0": {"a": 1}}', "a.json", "expected a name for class 0, found None"),
        ('{"cat": "dog"}', "a.json", "expected the numbers of classes as keys, found 'cat'"),
        ("{}", "a.json", "expected the numbers of classes as keys"),
        ("[]", "a.json", "expected a list of classes"),
        ("[" * 100_000, "a.json", "cannot be read as a list of classes"),
        ('["\\ud800"]', "a.json", "expected the name of a class"),
        ("", "a.txt", "expected the names of classes, one a line, found none"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_one_sentence_with_file_and_line(tmp_path: Path, text: str, name: str, said: str) -> None:
    with pytest.raises(DeepInsideError) as caught:
        read(tmp_path, text, name)
    assert said in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
