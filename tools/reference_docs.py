"""docs/configuration.md, generated from the settings classes and the YAMLs, so that it is always current.

    python tools/reference_docs.py            write it
    python tools/reference_docs.py --check    say whether the one that is there is current

`make docs` runs it.
"""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo

from deepinside import claims
from deepinside.config import catalogue
from deepinside.config.paths import ROOT
from deepinside.experiment.schema import SECTIONS, Experiment
from deepinside.networks.spec import InputConvention, NetworkSpec, Reference, read_spec

PAGE = ROOT / "docs" / "configuration.md"
COMMENT = re.compile(r"^(\w+):[^#]*#\s*(.*)$")
TARGET = re.compile(r"^_target_:\s*(\S+)", re.MULTILINE)
START = """\
# Configuration

<!-- Made by tools/reference_docs.py (`make docs`). Do not edit: a test compares. -->

Every key with its type and its value in each YAML of its group. `images=none` chooses another YAML of a group,
`images.limit=4` changes a key. Unknown keys fail at once, with suggestions. To see the complete configuration of a run
without running it:

```bash
deepinside --cfg job experiment=fig1_class_models network=tinycaffenet
```
"""


def page() -> str:
    parts = [
        START,
        top(),
        *map(section, sorted(set(SECTIONS) - {"network", "story"})),
        *map(technique, yamls("technique")),
    ]
    groups = sorted(path.name for path in (ROOT / "configs" / "technique").iterdir() if path.is_dir())
    parts += [section(f"technique/{group}") for group in groups]
    return "\n".join([*parts, network(), experiments(), claim_list()]).rstrip() + "\n"


# ---- sections --------------------------------------------------------------------------------------------------------


def top() -> str:
    """The keys that stand in no section."""
    path = ROOT / "configs" / "config.yaml"
    values, said = catalogue.read(path), comments(path)
    kinds = {name: words(info) for name, info in Experiment.__pydantic_fields__.items()}  # type: ignore[attr-defined]
    names = [name for name in values if name not in ("defaults", "hydra")]
    rows = [[code(name), kinds.get(name, "mapping"), value(values[name]), said.get(name, "")] for name in names]
    return f"## Top level\n\n{table(['key', 'type', 'default', ''], rows)}"


def section(group: str) -> str:
    """A group of YAMLs: its classes, and a table of keys with a column a YAML for each class."""
    files = yamls(group)
    by_class: dict[type, list[str]] = {}
    for name in files:
        by_class.setdefault(class_of(group, name), []).append(name)
    choices = ", ".join(f"`{group}={name}`" for name in files)
    about = [f"{notes(kind)}\n\n{keys(kind, group, names)}" for kind, names in by_class.items()]
    return f"## {group}\n\n{choices}\n\n" + "\n".join(about)


def technique(name: str) -> str:
    """One technique's settings."""
    kind = class_of("technique", name)
    parts = read_defaults("technique", name)
    nested = [f"Its `{key}` is [technique/{key}](#technique{key}), by default `{choice}`.\n\n" for key, choice in parts]
    return f"## technique={name}\n\n{notes(kind)}\n\n{''.join(nested)}{keys(kind, 'technique', [name])}"


def keys(kind: type, group: str, names: Sequence[str]) -> str:
    """The class's keys: type, and the value in each YAML; what a YAML says beside a key."""
    files = {name: ROOT / "configs" / group / f"{name}.yaml" for name in names}
    values = {name: catalogue.read(path) for name, path in files.items()}
    said = {key: text for path in reversed(files.values()) for key, text in comments(path).items()}
    rows = [
        [code(key), words(info), *columns(key, values), said.get(key, "")]
        for key, info in kind.__pydantic_fields__.items()  # type: ignore[attr-defined]
        if any(key in found for found in values.values())
    ]
    return table(["key", "type", *(names if len(names) > 1 else ["default"]), ""], rows)


def columns(key: str, values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What each YAML has for a key."""
    return [value(found[key]) if key in found else "" for found in values.values()]


def network() -> str:
    """How a network is declared, and those that ship."""
    rows = [
        [code(spec.name), spec.title, "×".join(map(str, spec.input.size)), spec.licence]
        for spec in (read_spec(path) for path in sorted((ROOT / "conf_models").glob("*.yaml")))
        if spec.checked is None  # not a draft of somebody's own
    ]
    declared = [f"{notes(kind)}\n\n{fields(kind)}" for kind in (NetworkSpec, InputConvention, Reference)]
    known = table(["network=", "", "input", "licence"], rows)
    return f"## network\n\n{known}\n" + "\n".join(declared)


def fields(kind: type) -> str:
    """A class's keys without YAMLs."""
    rows = [
        [
            code(key),
            words(info),
            "required" if info.is_required() else value(info.get_default(call_default_factory=True)),
        ]
        for key, info in kind.__pydantic_fields__.items()  # type: ignore[attr-defined]
    ]
    return table(["key", "type", "default"], rows)


def experiments() -> str:
    found = {path.stem: catalogue.read(path) for path in sorted((ROOT / "experiments").glob("*.yaml"))}
    rows = [[f"[{name}](../experiments/{name}.yaml)", e["title"], e["source"]] for name, e in found.items()]
    return f"## experiment\n\n{table(['experiment=', '', 'source'], rows)}"


def set_on(stated: claims.Statement) -> str:
    return f"{stated.date}, value known" if stated.known else f"{stated.date}"


def claim_list() -> str:
    rows = [
        [code(name), each.claim, f"{each.measure} {each.direction} {each.threshold:g}", each.source, set_on(each)]
        for name, each in sorted(claims.statements().items())
    ]
    said = "Values of `claims`; each is measured at the end of a run and judged as `configs/claims.yaml` says."
    return f"## claims\n\n{said}\n\n{table(['id', 'statement', 'expected', 'source', 'set on'], rows)}"


# ---- what they are made of -------------------------------------------------------------------------------------------


def yamls(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "configs" / group).glob("*.yaml"))


def class_of(group: str, name: str) -> type:
    """The settings class of a YAML: its `_target_`, or the section's own."""
    found = TARGET.search((ROOT / "configs" / group / f"{name}.yaml").read_text(encoding="utf-8"))
    if found is None:
        return SECTIONS[group]
    module, _, attribute = found[1].rpartition(".")
    kind: type = getattr(import_module(module), attribute)
    return kind


def read_defaults(group: str, name: str) -> list[tuple[str, str]]:
    """What a YAML takes from groups of its own: (group, choice)."""
    listed = catalogue.read(ROOT / "configs" / group / f"{name}.yaml").get("defaults", [])
    return [(key, choice) for entry in listed if isinstance(entry, dict) for key, choice in entry.items()]


def comments(path: Path) -> dict[str, str]:
    """What stands beside a key in its YAML."""
    lines = map(COMMENT.match, path.read_text(encoding="utf-8").splitlines())
    return {found[1]: found[2] for found in lines if found}


def notes(kind: type) -> str:
    """The class's docstring; what it says key by key becomes a list."""
    said = re.sub(r"^(\w+): ", r"- `\1`: ", inspect.cleandoc(kind.__doc__ or ""), flags=re.MULTILINE)
    return f"**{kind.__name__}** (`{kind.__module__}`). {said}"


def first_line(function: Any) -> str:
    return inspect.cleandoc(function.__doc__).splitlines()[0]


def words(info: FieldInfo) -> str:
    """A field's type and limits in words."""
    return kind_words(info.annotation) + limits(info.metadata)


def kind_words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(code(one) for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind_words(one) for one in inner))
    if hasattr(kind, "__metadata__"):
        return kind_words(kind.__origin__) + limits(flat(kind.__metadata__))
    if origin is tuple:
        several = inner[-1:] == (Ellipsis,)
        return f"list of {kind_words(inner[0])}" if several else f"[{', '.join(map(kind_words, inner))}]"
    if origin is not None:
        return "mapping" if issubclass(origin, Mapping) else f"list of {kind_words(inner[0])}"
    names = {type(None): "null", str: "text", bool: "true, false", int: "whole number", float: "number"}
    return names.get(kind) or str(getattr(kind, "__name__", kind))


def flat(metadata: Sequence[Any]) -> Iterator[Any]:
    """Limits, also those inside a pydantic Field."""
    for one in metadata:
        yield from one.metadata if isinstance(one, FieldInfo) else [one]


def limits(metadata: Iterable[Any]) -> str:
    """Constraints in words, in brackets; nothing where there are none."""
    found = ", ".join(filter(None, map(limit, metadata)))
    return f" ({found})" if found else ""


def limit(one: Any) -> str:
    """One constraint in words; nothing for what is none."""
    signs = {annotated_types.Gt: ("> ", "gt"), annotated_types.Ge: ("≥ ", "ge"), annotated_types.Lt: ("< ", "lt")}
    signs |= {annotated_types.Le: ("≤ ", "le"), annotated_types.MinLen: ("at least ", "min_length")}
    sign, attribute = signs.get(type(one), ("", ""))
    return f"{sign}{getattr(one, attribute)}" if attribute else ""


def value(found: Any) -> str:
    """A value as the command line would write it."""
    if isinstance(found, str) and found:
        return code(found)
    if isinstance(found, InputConvention):
        return ""
    plain = list(found) if isinstance(found, tuple) else found
    return code(yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n..."))


def code(text: str) -> str:
    return f"`{text}`"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; columns without a word in them are left out."""
    kept = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    lines = [[heads[i] for i in kept], ["---"] * len(kept), *([row[i] for i in kept] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def main(arguments: Sequence[str]) -> int:
    made = page()
    if list(arguments) == ["--check"]:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print(f"{PAGE.name} is {'current' if current else 'out of date; run `make docs`'}")
        return 0 if current else 1
    PAGE.write_text(made, encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
