"""Text on the command line as its owner writes it: what Hydra's grammar would read otherwise is put in quotes.

A shell has taken the quotes away that a person typed. `images.root=photos (1)` is the folder of that name, and no
second pair of quotes is needed. In a sweep (-m) a comma separates values, unless a file of the whole name is there.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepinside.config import catalogue

PATHS = (
    "images.root", "images.labels", "images.annotations", "runtime.results", "runtime.model_cache",
    "runtime.tensorboard", "network.file", "network.folder", "figure.style",
)  # fmt: skip
"""Keys whose value is a file or a folder."""
ONE = "runtime.results"
"""A sweep has one folder of results: a comma in it is a comma."""
TEXTS = ("technique.target", "technique.targets")
"""Keys whose value may be any text, and may be a list or a number as well."""
OVERRIDE = re.compile(r"(\+{0,2})([\w./@-]+)=(.*)", re.DOTALL)
PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.:-]*")
"""Words that Hydra reads as they are."""
WORDS = {"null", "true", "false", "nan", "inf"}
FUNCTION = re.compile(r"(choice|glob|range|sort|shuffle|tag|extend_list|str)\(.*\)", re.DOTALL)
ESCAPED = re.compile(r"\\[\\()\[\]{}:=, \t]")
"""What Hydra's grammar has for a sign of its own without quotes."""
PIECE = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,]*?)\s*(?:,|$)""", re.DOTALL)


def quoted_words(words: Sequence[str]) -> list[str]:
    """The command line's words, those with paths, names and texts in quotes where Hydra needs them."""
    sweep = any(word in ("-m", "--multirun") for word in words)
    return [quoted_word(word, sweep=sweep) for word in words]


def quoted_word(word: str, *, sweep: bool = False) -> str:
    """`KEY=VALUE` with its value in quotes where that is a path, or the name of a network or an experiment."""
    found = OVERRIDE.fullmatch(word)
    if found is None:
        return word
    plus, key, value = found.groups()
    if key in PATHS or key in catalogue.GROUPS:
        one = not sweep or key == ONE or is_there(key, value) or FUNCTION.fullmatch(value)  # glob(*,exclude=[a,b])
        parts = [value] if one else list(pieces(value))
        return f"{plus}{key}={','.join(as_text(key, part) for part in parts)}"
    if key in TEXTS and value[:1].isalpha() and not FUNCTION.fullmatch(value) and not readable(word, sweep=sweep):
        return f"{plus}{key}={','.join(map(quoted, pieces(value) if sweep else [value]))}"
    return word


def pieces(value: str) -> Iterator[str]:
    """What commas separate; those between quotes do not."""
    place = 0
    while place <= len(value) and (found := PIECE.match(value, place)):
        yield found[1]
        if not found[0].endswith(","):
            return
        place = found.end()


def as_text(key: str, value: str) -> str:
    """The value so that Hydra reads this very text; one that is meant for Hydra's grammar stays as it is."""
    if is_there(key, value):
        return quoted(value).replace("${", r"\${")
    return value if is_grammar(value) else quoted(value)


def is_grammar(value: str) -> bool:
    """Whether it is nothing, in quotes already, a reference to another key, or a function of Hydra's."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    marked = "${" in value or FUNCTION.fullmatch(value) or ESCAPED.search(value)
    return value.lower() in ("", "null", "true", "false") or in_quotes or bool(marked)


def is_there(key: str, value: str) -> bool:
    """Whether there is a file, or a network or experiment, of exactly this name."""
    if key in catalogue.GROUPS:
        return value in catalogue.files(key)
    try:
        return value != "" and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # no name that a file could have
        return False


def readable(word: str, *, sweep: bool) -> bool:
    """Whether Hydra reads the word, and as one value where nothing is swept."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except OverrideParseException:
        return False
    return sweep or not override.is_sweep_override()


def quoted(words: str) -> str:
    """Text in Hydra's grammar, in quotes where it could be read as anything else."""
    if PLAIN.fullmatch(words) and words.lower() not in WORDS and not is_number(words):
        return words
    # in Hydra's grammar a backslash is one before a quotation mark and at the end only
    escaped = re.sub(r"(\\*)(\"|$)", lambda found: found[1] * 2 + (r"\"" if found[2] else ""), words)
    return f'"{escaped}"'


def is_number(words: str) -> bool:
    try:
        float(words.replace("_", ""))
    except ValueError:
        return False
    return True
