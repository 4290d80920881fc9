"""The project's words: the field's terms as names, and plain English wherever a person reads."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepinside
from deepinside.config.paths import ROOT

PACKAGE = Path(deepinside.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted({path.relative_to(PACKAGE).parts[0] for path in MODULES})

PARTS = {
    "again", "alike", "anew", "aside", "beside", "brought", "climb", "climbs", "complaints", "conclude", "departure",
    "departures", "glance", "glances", "goal", "keeper", "keepers", "lettering", "looked", "nobody", "operate",
    "polish", "preimage", "quick", "quicken", "rectifier", "rectifiers", "remember", "remembered", "seen", "sheet",
    "steady", "surgery", "together", "trail", "trouble", "turned", "visual", "visuals", "watcher", "watchers",
    "watching", "whole",
}  # fmt: skip
"""Words that no name of the package contains: `seen`, `_seen`, `layers_seen` and `LayersSeen` are all refused."""
COMPLETE = {
    "at_once", "few_and_far", "finding", "findings", "gain", "given", "home", "in_company", "keep_freed", "look",
    "moved", "passes", "placed", "plan", "see",
}  # fmt: skip
"""Names that are refused as a complete name; as a part of a longer one they are plain."""
CLASSES = {"Kept", "Match", "Memory", "Record", "Work"}
"""Names that no class has; as a variable they are plain (`match = PATTERN.match(line)`)."""
FILES = {"board", "fuse", "home", "pages", "plan", "reference", "report", "store", "values", "work"}
"""Names that no module or room has, apart from those above: each has a room now whose name is the answer."""
ALLOWED = {"whole_image"}
"""Names that results of runs contain."""
PHRASES = (
    r"anew", r"beside", r"besides", r"has got", r"nobody", r"one's own", r"zero-centred", r"pixel levels?", r"hooked",
    r"likes best", r"found again", r"aside", r"alone as in company", r"brought", r"glances?", r"keepers?", r"climbs?",
    r"whole (?!photos?|images?|numbers?)", r"whoever", r"no matter what stands", r"by not doing more", r"lies",
    r"without a word", r"departures?", r"what is run",
)  # fmt: skip
"""Words that native engineers read twice, or that name code by a metaphor; code in backticks may have them."""
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
TABLES = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)


def own_names(tree: ast.Module) -> Iterator[str]:
    """Every name that a module defines: functions, classes, parameters, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname


def is_refused(name: str) -> bool:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    return name in CLASSES or (name not in ALLOWED and (split in COMPLETE or bool(PARTS & set(split.split("_")))))


def prose(source: str) -> Iterator[str]:
    """The comments, docstrings and messages of a module, without the code they quote."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds and " " in token.string:
            text = re.sub(r"\{[^{}]*\}", "", token.string) if token.string.startswith("f") else token.string
            yield CODE.sub("", text)


def phrases(text: str) -> list[str]:
    return re.findall(rf"\b(?:{'|'.join(PHRASES)})\b", " ".join(text.split()), re.IGNORECASE)


@pytest.mark.parametrize("name", ["seen", "_seen", "layersSeen", "LayersSeen", "SEEN_LAYERS", "at_once", "Glance"])
def test_a_word_is_found_in_every_form_of_a_name(name: str) -> None:
    assert is_refused(name)


@pytest.mark.parametrize("name", ["unseen", "layers_at_once", "TensorBoardWriter", "whole_image", "memory_format"])
def test_longer_words_and_the_field_s_own_are_not_refused(name: str) -> None:
    assert not is_refused(name)


def test_prose_is_comments_docstrings_and_messages() -> None:
    source = '"""Computed anew."""\nx = f"lies {beside} it"  # nobody knows\ny = "`anew`, a word"\n'
    assert [word for text in prose(source) for word in phrases(text)] == ["anew", "lies", "nobody"]


@pytest.mark.parametrize("room", ROOMS)
def test_names_are_the_field_s(room: str) -> None:
    found = {}
    for path in (path for path in MODULES if path.relative_to(PACKAGE).parts[0] == room):
        names = {*own_names(ast.parse(path.read_text(encoding="utf-8"))), path.stem}
        refused = sorted(name for name in names if is_refused(name) or (name == path.stem and name in FILES))
        found |= {path.relative_to(PACKAGE).as_posix(): refused} if refused else {}
    assert not found


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_comments_and_messages_are_in_plain_english(room: str) -> None:
    paths = [path for path in MODULES if path.relative_to(PACKAGE).parts[0] == room]
    texts = {path: " ".join(prose(path.read_text(encoding="utf-8"))) for path in paths}
    found = {path.name: words for path, text in texts.items() if (words := phrases(text))}
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.stem)
def test_names_in_the_python_of_pages_are_the_field_s(path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert not [name for block in blocks for name in own_names(ast.parse(block)) if is_refused(name)]


@pytest.mark.parametrize("folder", [".", "docs", "experiments", "configs", "conf_models"])
def test_pages_and_yamls_are_in_plain_english(folder: str) -> None:
    paths = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml")]
    if folder != ".":
        paths = [path for kind in ("*.md", "*.yaml") for path in sorted((ROOT / folder).rglob(kind))]
    assert paths
    for path in paths:
        if path.name == "configuration.md":
            continue  # generated from docstrings, which have their own test
        found = phrases(CODE.sub("", TABLES.sub("", path.read_text(encoding="utf-8"))))
        assert not found, f"{path.name}: {found}"
