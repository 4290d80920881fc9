"""Typed, frozen settings: builds objects from a composed YAML and refuses unknown keys."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, ValidationError

from deepinside.config.suggestions import hint
from deepinside.errors import DeepInsideError

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
"""Every settings class uses `@dataclass(frozen=True, kw_only=True, config=STRICT)` from pydantic.dataclasses."""


def build(node: Any, key: str) -> Any:
    """Instantiate every mapping with a `_target_` in a plain configuration node.

    `key` is the node's path in the configuration, for error messages.
    Raises DeepInsideError for an unknown target, an unknown key, or a value of the wrong type or range.
    """
    if isinstance(node, Mapping):
        built = {name: build(value, f"{key}.{name}") for name, value in node.items() if name != "_target_"}
        return construct(find_class(node["_target_"], key), built, key) if "_target_" in node else built
    if isinstance(node, list | tuple):
        return tuple(build(value, f"{key}[{index}]") for index, value in enumerate(node))
    return node


def find_class(path: str, key: str) -> type:
    """The class of a `_target_`, such as `deepinside.techniques.saliency.Saliency`."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DeepInsideError(f"{key}._target_: expected the path of a class, found {path!r} ({error}).") from error
    if not (isinstance(found, type) and is_dataclass(found)):
        raise DeepInsideError(f"{key}._target_: expected a settings class, found {path!r}.")
    return found


def construct(kind: type, values: Mapping[str, Any], key: str) -> Any:
    """`kind(**values)`. Raises DeepInsideError naming the wrong key below `key` and the allowed values."""
    try:
        return kind(**values)
    except ValidationError as error:
        if (listed := one_as_list(error, values)) is not None:
            return construct(kind, listed, key)
        known = [field.name for field in fields(kind) if field.init]
        sentences = [explain(dict(detail), known, key) for detail in error.errors()]
        raise DeepInsideError(" ".join(sentences)) from error
    except DeepInsideError as error:
        raise DeepInsideError(f"{key}: {error}") from error


def one_as_list(error: ValidationError, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """`values` with a list of one for every word or number that stands where a list is meant; None where there is none,
    or where anything else is wrong."""
    details = error.errors()
    names = [str(detail["loc"][0]) for detail in details if detail["type"] == "tuple_type" and len(detail["loc"]) == 1]
    alone = [name for name in names if isinstance(values.get(name), str | int) and not isinstance(values[name], bool)]
    return {**values, **{name: (values[name],) for name in alone}} if len(alone) == len(details) else None


def explain(detail: dict[str, Any], known: list[str], key: str) -> str:
    """One sentence for one pydantic error."""
    place = ".".join([key, *(str(part) for part in detail["loc"])]).removeprefix(".")
    if detail["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        name = str(detail["loc"][-1])
        if len(detail["loc"]) > 1:  # of a nested setting, whose keys are not `known`
            return f"{place}: no such key."
        return f"{place}: no such key; allowed here: {', '.join(known)}.{hint(name, known)}"
    if detail["type"] in {"missing_argument", "missing"}:
        return f"{place}: expected a value, found none."
    if detail["type"] == "tuple_type":
        return f"{place}: expected a list such as [a,b], found {detail['input']!r}."
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}, found {detail['input']!r}."
