"""Reads lists of classes in the usual formats: one per line, with or without index, tables with a header, JSON, YAML,
Python literals."""

import ast
import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from deepinside.errors import DeepInsideError
from deepinside.networks.text import read_text

SUFFIXES = (".txt", ".csv", ".tsv", ".json", ".yaml", ".yml", ".names")
"""The suffixes tried, in this order, if only the stem of a file is given."""
WNID = re.compile(r"n\d{8}")
LINE = re.compile(
    r"(?:(?P<index>\d+)(?:\s*[:,;)]\s*|\s+))?(?:(?P<wnid>n\d{8})(?:\s*[:,;]\s*|\s+|$))?(?P<name>.*)", re.DOTALL
)
LAST = re.compile(r"(?P<name>.+?)\s*[:,;\t]\s*(?P<index>\d+)")
NAMES = ("name", "classname", "labelname", "signname", "displayname", "label", "labels", "class", "classes", "category")
"""Headers of the column of names, most likely first, in lower case and letters only."""
OTHERS = ("index", "idx", "id", "classid", "classindex", "labelid", "wnid", "synset", "synsetid", "wordnetid", "words")
INSIDE = ("id2label", "names", "classes", "labels", "categories", "label2id", "class_to_idx")
"""Keys that hold the classes in a larger file, such as a model's configuration."""


@dataclass(frozen=True)
class Row:
    """One class as on its line of the file. `index` is its index among the scores, if the line has one."""

    line: int
    index: int | None
    wnid: str
    name: str


def read_names(path: Path) -> list[tuple[str, str]]:
    """WordNet id ("" if there is none) and name of every class, in the order of the scores.

    Blank lines and lines that begin with # are ignored. Indices start at 0. Raises DeepInsideError with file and line
    for an unreadable line, a class without a name, and indices with a gap.
    """
    text = read_text(path)
    start = text.lstrip()[:1]
    if path.suffix in (".yaml", ".yml") or start in ("{", "["):
        rows = from_structure(parsed(path, text), path)
    else:
        rows = from_lines(path, text)
    for row in rows:
        if not row.name or not row.name.isprintable():
            raise DeepInsideError(f"{path}, line {row.line}: expected the name of a class, found {row.name!r}.")
    return [(row.wnid, row.name) for row in in_order(rows, path)]


def in_order(rows: Sequence[Row], path: Path) -> list[Row]:
    """The rows sorted by their indices, or in file order if they have none."""
    if not any(row.index is not None for row in rows):
        return list(rows)
    numbered = [row if row.index is not None else replace(row, index=place) for place, row in enumerate(rows)]
    ordered = sorted(numbered, key=lambda row: (row.index or 0, row.line))
    for place, row in enumerate(ordered):
        if row.index != place:
            raise DeepInsideError(
                f"{path}, line {row.line}: class {place} is expected in its place, found {row.index} {row.name!r}; "
                "number all classes from 0, each once."
            )
    return ordered


# ---- lines -----------------------------------------------------------------------------------------------------------


def from_lines(path: Path, text: str) -> list[Row]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    classes = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not classes:
        raise DeepInsideError(f"{path}: expected the names of classes, one a line, found none.")
    return from_table(path, classes) or numbered_last(classes) or plain(classes)


def plain(lines: Sequence[tuple[int, str]]) -> list[Row]:
    """`index WordNet-id name` with any separator; the first two may be missing."""
    rows = [Row(number, *parts(line)) for number, line in lines]
    places = [row.index for row in rows]
    agree = all(index in (None, place) for place, index in enumerate(places))
    distinct = len({row.name for row in rows}) == len(rows)
    if agree or (None not in places and distinct):
        return rows
    # the numbers are part of the names: of some, as in `3-D printer`, or of all, as in `5 euro`
    return [Row(number, None, "", unquoted(line)) for number, line in lines]


def parts(line: str) -> tuple[int | None, str, str]:
    """Index, WordNet id and name; a line with only a number or an id is a name."""
    found = LINE.fullmatch(line)
    index, wnid, name = (found["index"], found["wnid"], found["name"]) if found else (None, None, line)
    return None if index is None else int(index), wnid or "", unquoted(name) or wnid or ""


def unquoted(name: str) -> str:
    """A name without the quotes and the trailing comma of a list in program code."""
    bare = name.strip().removesuffix(",").strip()
    quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'"
    return bare[1:-1].replace(bare[0] * 2, bare[0]).strip() if quoted else name.strip()


def numbered_last(lines: Sequence[tuple[int, str]]) -> list[Row] | None:
    """`name,index`; None if the numbers are not the class indices."""
    found = [(number, LAST.fullmatch(line)) for number, line in lines]
    rows = [Row(number, int(one["index"]), *parts(one["name"])[1:]) for number, one in found if one is not None]
    complete = sorted(row.index or 0 for row in rows) == list(range(len(lines)))
    return rows if complete and len(lines) > 1 else None


def from_table(path: Path, lines: Sequence[tuple[int, str]]) -> list[Row] | None:
    """A table with a header line; None if the first line is a class."""
    mark = next((mark for mark in "\t;," if mark in lines[0][1]), ",")
    try:
        head, *cells = ([*map(str.strip, next(csv.reader([line], delimiter=mark)))] for _, line in lines)
    except csv.Error as error:
        raise DeepInsideError(f"{path} cannot be read as a table: {error}.") from error
    heads = [re.sub(r"[^a-z]", "", one.casefold()) for one in head]
    index = column_where(cells, str.isdecimal)
    wnid = column_where(cells, lambda cell: WNID.fullmatch(cell) is not None)
    named = [place for name in NAMES for place, one in enumerate(heads) if one == name and place not in (index, wnid)]
    has_header = index is not None or wnid is not None or any(one in OTHERS for one in heads)
    if not named or not (has_header or len(heads) == 1):
        return None
    last = named[0] == len(heads) - 1  # a name in the last column may contain commas
    return [
        Row(
            number,
            None if index is None else int(row[index]),
            "" if wnid is None else row[wnid],
            ", ".join(row[named[0] :] if last else row[named[0] : named[0] + 1]),
        )
        for (number, _), row in zip(lines[1:], cells, strict=True)
    ]


def column_where(cells: Sequence[Sequence[str]], fits: Callable[[str], bool]) -> int | None:
    """The first column in which every cell fits."""
    columns = range(min(map(len, cells), default=0))
    return next((column for column in columns if all(fits(row[column]) for row in cells)), None)


# ---- JSON, YAML, Python ----------------------------------------------------------------------------------------------


def parsed(path: Path, text: str) -> Any:
    """The content of a file of JSON, YAML or a Python literal, such as `{0: 'tench, Tinca tinca', …}`."""
    try:
        if path.suffix in (".yaml", ".yml"):
            return yaml.safe_load(text)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            if path.suffix == ".json":
                raise
            return ast.literal_eval(text.strip())
    except json.JSONDecodeError as error:
        raise DeepInsideError(f"{path}, line {error.lineno}: cannot be read as JSON: {error.msg}.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DeepInsideError(f"{path}, line {line}: cannot be read as YAML: {error.problem}.") from error
    except (SyntaxError, ValueError, yaml.YAMLError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or " ".join(str(error).split())[:200]
        raise DeepInsideError(f"{path}, line {line}: cannot be read as a list of classes: {reason}.") from error


def from_structure(found: Any, path: Path) -> list[Row]:
    """The classes of a list, of a mapping from index to class or class to index, or of a key with one of these."""
    if isinstance(found, Mapping):
        inner = next((found[key] for key in INSIDE if isinstance(found.get(key), Mapping | list)), None)
        return from_mapping(found, path) if inner is None else from_structure(inner, path)
    if isinstance(found, list | tuple) and found:
        return [row_of(place, None, one, path) for place, one in enumerate(found)]
    raise DeepInsideError(f"{path}: expected a list of classes or a mapping from number to class, found neither.")


def from_mapping(found: Mapping[Any, Any], path: Path) -> list[Row]:
    if found and all(isinstance(value, int) and not isinstance(value, bool) for value in found.values()):
        return [row_of(place, index, name, path) for place, (name, index) in enumerate(found.items())]
    if not found or not all(str(key).strip().isdecimal() for key in found):
        odd = next((key for key in found if not str(key).strip().isdecimal()), "none")
        raise DeepInsideError(f"{path}: expected the numbers of classes as keys, found {odd!r}.")
    return [row_of(place, int(key), one, path) for place, (key, one) in enumerate(found.items())]


def row_of(place: int, index: int | None, found: Any, path: Path) -> Row:
    """A class given as a name, as WordNet id and names, or as a mapping with a name."""
    if isinstance(found, Mapping):
        wnid = next((str(found[key]) for key in ("wnid", "synset", "id") if WNID.fullmatch(str(found.get(key)))), "")
        name = next((found[key] for key in NAMES if isinstance(found.get(key), str)), None)
        found = [wnid, name] if wnid and name else name
    words = found if isinstance(found, list | tuple) else [found]
    if not words or not all(isinstance(word, str | int | float) for word in words):
        raise DeepInsideError(
            f"{path}: expected a name for class {place if index is None else index}, found {found!r}."
        )
    texts = [str(word).strip() for word in words]
    first = texts[0] if WNID.fullmatch(texts[0]) else ""
    return Row(place + 1, index, first, ", ".join(texts[1:] if first and len(texts) > 1 else texts))
