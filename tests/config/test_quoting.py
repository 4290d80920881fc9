"""Paths, names and texts on the command line as their owners write them; Hydra reads these very texts."""

import shutil
from pathlib import Path

import pytest
import yaml
from corridor import call, metrics, photo
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from deepinside.config import catalogue, composition, quoting
from deepinside.config.paths import ROOT

NAMES = (
    "Bücher", "照片", "Фото 2024 (1)", "a=b", "it's", "#1", "{x}", "a,b", "[1]", "a[b", "x)", 'the "best"', "a:b",
    "2024", "1e5", "$HOME", "100%", "~tilde", "a&b;c", "back\\slash", "my  photos ", " leading", "null.d", "@home",
    "'quoted'", "${x}", "e\u0301", "🐈", "!", "a\\,b", "choice(a,b)",
)  # fmt: skip


def read(word: str) -> object:
    """The value that Hydra reads in one word."""
    (override,) = OverridesParser.create().parse_overrides([word])
    return OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sweep", [False, True])
def test_the_path_of_a_folder_that_is_there_is_read_as_it_is(
    name: str, sweep: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    word = quoting.quoted_word(f"images.root={name}", sweep=sweep)
    assert read(word) == name
    assert quoting.quoted_word(word, sweep=sweep) == word


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("${x}", "'quoted'", "choice(a,b)", "a\\,b")])
def test_a_path_need_not_be_there(name: str) -> None:
    assert read(quoting.quoted_word(f"runtime.results={name}")) == name


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("images.root=null", None),
        ("images.root=", ""),
        ("images.root='a b'", "a b"),
        ('images.root="照片"', "照片"),
        (r"images.root=a\,b", "a,b"),
        ("images.root=${title}", ""),
        ("++images.root=it's", "it's"),
        ("images.root=null", None),
    ],
)
def test_what_hydras_grammar_says_is_left_to_it(word: str, found: str | None) -> None:
    assert composition.compose_dict([word])["images"]["root"] == found


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("images.root=a,b", "images.root=a,b"),
        ("images.root=it's, (2)", 'images.root="it\'s","(2)"'),
        ("images.root='a,b',c d", "images.root='a,b',\"c d\""),
        ("images.root=glob(x*)", "images.root=glob(x*)"),
        ("runtime.results=a,b", 'runtime.results="a,b"'),
        ("network=tinycaffenet,caffenet", "network=tinycaffenet,caffenet"),
        ("network=glob(*caffenet)", "network=glob(*caffenet)"),
        ("experiment=glob(*,exclude=[a,b])", "experiment=glob(*,exclude=[a,b])"),
        ("technique.target=Käse,lion", 'technique.target="Käse",lion'),
        ("seed=1,2", "seed=1,2"),
        ("technique.layers=[a,b],[c]", "technique.layers=[a,b],[c]"),
        ("-m", "-m"),
        ("~claims", "~claims"),
    ],
)
def test_in_a_sweep_a_comma_separates(word: str, found: str) -> None:
    assert quoting.quoted_word(word, sweep=True) == found


def test_unless_the_whole_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").mkdir()
    assert quoting.quoted_words(["--multirun", "images.root=a,b"]) == ["--multirun", 'images.root="a,b"']


@pytest.mark.parametrize(
    "name", ["tench, Tinca tinca", "Käse", "yellow lady's slipper", "lion", "lion | tiger", "a (b)", "conv5:3"]
)
def test_the_name_of_a_class_is_a_text(name: str) -> None:
    assert read(quoting.quoted_word(f"technique.target={name}")) == name


@pytest.mark.parametrize("target", ["top1", "7", "[lion,tiger]", "null", "true"])
def test_what_is_no_text_stays_what_it_is(target: str) -> None:
    assert quoting.quoted_word(f"technique.target={target}") == f"technique.target={target}"


ODD = (("Сеть (1)", []), ("a=b", ["-m"]), ("it's #1", []), ("a,b", ["-m"]), ("2024", []), ("{x}", []))


@pytest.mark.parametrize(("name", "sweep"), ODD)
def test_networks_and_experiments_may_be_called_anything(
    name: str, sweep: list[str], bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = catalogue.read(ROOT / "conf_models" / "tinycaffenet.yaml") | {"name": name, "file": f"{name}.onnx"}
    (bench / "conf_models").mkdir()
    (bench / "conf_models" / f"{name}.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    (bench / "conf_models" / f"{name}.onnx").write_bytes((ROOT / "conf_models" / "tinycaffenet.onnx").read_bytes())
    (bench / "experiments").mkdir()
    shutil.copy(ROOT / "experiments" / "caffe_saliency_cat.yaml", bench / "experiments" / f"{name}.yaml")
    words = [f"experiment={name}", f"network={name}", f"runtime.results={name}"]
    photo(bench / "it's {a}, (b)" / "x.png")
    assert call(monkeypatch, *sweep, *words, "images=none", "images.root=it's {a}, (b)") == 0
    (found,) = (bench / name).glob("*/*/*/metrics.json")
    assert metrics(found.parent)["network"] == name
