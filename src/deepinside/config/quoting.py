"""Quotes command-line values that Hydra's grammar would otherwise misread.

The shell removes the quotes that the user typed, so `images.root=photos (1)` works without a second pair of quotes.
In a sweep (-m) a comma separates values, unless a file with exactly that name exists.
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
"""A sweep has one results folder, so a comma in this value never separates values."""
TEXTS = ("technique.target", "technique.targets")
"""Keys whose value may be any text, and may be a list or a number as well."""
OVERRIDE = re.compile(r"(\+{0,2})([\w./@-]+)=(.*)", re.DOTALL)
PLAIN = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.:-]*")
"""Words that Hydra reads unchanged."""
WORDS = {"null", "true", "false", "nan", "inf"}
FUNCTION = re.compile(r"(choice|glob|range|sort|shuffle|tag|extend_list|str)\(.*\)", re.DOTALL)
ESCAPED = re.compile(r"\\[\\()\[\]{}:=, \t]")
"""Escaped characters of Hydra's grammar."""
PIECE = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,]*?)\s*(?:,|$)""", re.DOTALL)


def quoted_words(words: Sequence[str]) -> list[str]:
    """The command line's words, with paths, names and text in quotes where Hydra needs them."""
    sweep = any(word in ("-m", "--multirun") for word in words)
    return [quoted_word(word, sweep=sweep) for word in words]


def quoted_word(word: str, *, sweep: bool = False) -> str:
    """`KEY=VALUE`, its value quoted if it is a path, or the name of a network or an experiment."""
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
    """The parts between commas; commas inside quotes do not separate."""
    place = 0
    while place <= len(value) and (found := PIECE.match(value, place)):
        yield found[1]
        if not found[0].endswith(","):
            return
        place = found.end()


def as_text(key: str, value: str) -> str:
    """The value, quoted so that Hydra reads it literally; a value in Hydra's own grammar stays unchanged."""
    if is_there(key, value):
        return quoted(value).replace("${", r"\${")
    return value if is_grammar(value) else quoted(value)


def is_grammar(value: str) -> bool:
    """Whether the value is empty, already quoted, a reference to another key, or a Hydra function."""
    in_quotes = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    marked = "${" in value or FUNCTION.fullmatch(value) or ESCAPED.search(value)
    return value.lower() in ("", "null", "true", "false") or in_quotes or bool(marked)


def is_there(key: str, value: str) -> bool:
    """Whether a file, or a network or experiment, with exactly this name exists."""
    if key in catalogue.GROUPS:
        return catalogue.is_known(key, value)
    try:
        return value != "" and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # not a valid file name
        return False


def readable(word: str, *, sweep: bool) -> bool:
    """Whether Hydra can parse the word, and outside a sweep as a single value."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        (override,) = OverridesParser.create().parse_overrides([word])
    except OverrideParseException:
        return False
    return sweep or not override.is_sweep_override()


def quoted(words: str) -> str:
    """Text in Hydra's grammar, quoted if it could be read as anything else."""
    if PLAIN.fullmatch(words) and words.lower() not in WORDS and not is_number(words):
        return words
    # Hydra's grammar treats a backslash as an escape only before a quotation mark and at the end
    escaped = re.sub(r"(\\*)(\"|$)", lambda found: found[1] * 2 + (r"\"" if found[2] else ""), words)
    return f'"{escaped}"'


def is_number(words: str) -> bool:
    try:
        float(words.replace("_", ""))
    except ValueError:
        return False
    return True
