"""Hydra's errors as one sentence each: the key, what is allowed there, what was found."""

import shlex
import sys
import traceback
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from deepinside.config import catalogue
from deepinside.config.quoting import quoted
from deepinside.config.suggestions import hint
from deepinside.errors import DeepInsideError

NOT_KEYS = {"_target_", "hydra"}
KEYS = (
    "experiment", "network", "technique", "images", "figure", "save", "runtime", "seed", "claims", "variants", "title",
)  # fmt: skip
"""Top-level keys of every configuration."""
EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
}
TAILS = (" expecting {", " See https", " object_type=")
"""Beginnings of details that are cut off: parser tokens, the manual's address, node types."""


def explain(error: Exception) -> str:
    """One sentence for an exception of Hydra or OmegaConf."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if (extra := EXTRAS.get(str(error.missing_cfg_file))) is not None:
            return f"{group}={name} needs an extra: install it with pip install 'deepinside[{extra}]'."
        return f"{group}: expected one of {', '.join(error.options)}; found {name!r}.{hint(name, error.options)}"
    if isinstance(error, OverrideParseException):
        return unreadable(str(error.override))
    cause = error if isinstance(error, ConfigAttributeError | ConfigKeyError) else error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        known = [str(key) for key in cause.parent_node if key not in NOT_KEYS]
        allowed = f"; allowed here: {', '.join(known)}" if known else ", its place holds one value"
        return f"{cause.full_key}: no such key{allowed}.{hint(str(cause.key), known)}"
    words = " ".join(str(error).split())
    for tail in TAILS:
        words = words.partition(tail)[0]
    return f"{words.rstrip('.')}."


def unreadable(word: str) -> str:
    """A sentence on what to write instead of a word that Hydra cannot parse."""
    key, equals, value = word.partition("=")
    if not equals:
        for group in (*catalogue.GROUPS, "technique"):
            if (meant := nearest_of(word, catalogue.titles(group))) is not None:
                return f"{word}: expected KEY=VALUE. Did you mean {group}={meant}?"
        return f"{word}: expected KEY=VALUE; deepinside --help lists what there is."
    remedy = shlex.quote(f"{key}={quoted(value)}")
    return f"{word}: expected KEY=VALUE. Text with blanks, brackets, quotes or commas of its own is written {remedy}."


def nearest_of(word: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(word, list(known), 1, 0.75)), None)


def options_first(words: Sequence[str]) -> list[str]:
    """The words, all options before KEY=VALUE and ~KEY: Hydra refuses an option between these."""
    return sorted(words, key=lambda word: not word.startswith("-") and ("=" in word or word.startswith("~")))


def refuse_options(words: Sequence[str], own: Iterable[str]) -> None:
    """Raise DeepInsideError for an option that is neither Hydra's nor in `own`, this program's options."""
    parser = get_args_parser()
    parser.allow_abbrev = False  # --experiment would be --experimental-rerun
    known = [*own, *(word for action in parser._actions for word in action.option_strings if word.startswith("--"))]
    unknown = [word for word in parser.parse_known_args(list(words))[1] if word.startswith("-")]
    if unknown and (key := unknown[0].lstrip("-").partition("=")[0]).partition(".")[0] in KEYS:
        meant = f"{key}={value_of(unknown[0], words)}"
        raise DeepInsideError(f"{unknown[0]}: no such option; settings are written without dashes: {meant}.")
    if unknown:
        raise DeepInsideError(f"{unknown[0]}: no such option; there are {', '.join(known)}.{hint(unknown[0], known)}")


def value_of(option: str, words: Sequence[str]) -> str:
    """The option's value: the text after its =, or the next word if it has none."""
    _, equals, value = option.partition("=")
    after = [*words[words.index(option) + 1 :], ""][0]
    return value if equals else after if after and "=" not in after and not after.startswith("-") else "VALUE"


def print_error(reason: str, config: DictConfig) -> None:
    """Print the sentence to stderr; with runtime.verbosity=verbose, after the traceback of the current error."""
    if OmegaConf.select(config, "runtime.verbosity") == "verbose":
        traceback.print_exc()
    print(f"deepinside: {reason}", file=sys.stderr)
