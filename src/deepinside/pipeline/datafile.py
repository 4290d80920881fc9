"""Files that hold data only: reading one never runs code.

Tensors are stored bit for bit in the safetensors format. Everything else is JSON in the file's header: numbers, text,
None, lists, tuples, mappings, and the dataclasses that the reader names.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepinside.errors import DeepInsideError

TREE = "deepinside"
"""The header's entry with the JSON."""


def dump(value: Any) -> bytes:
    """`value` as bytes. Raises TypeError for a type that this format does not support."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    tree = json.dumps(to_json(value, tensors))
    return save(tensors, {TREE: tree})


def to_json(value: Any, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON types; each tensor is added to `tensors` and replaced by its name."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, list):
        return [to_json(entry, tensors) for entry in value]
    if isinstance(value, tuple):
        return {"tuple": [to_json(entry, tensors) for entry in value]}
    if isinstance(value, Mapping):  # pairs, because the keys of JSON mappings are text
        return {"mapping": [[to_json(key, tensors), to_json(entry, tensors)] for key, entry in value.items()]}
    if is_dataclass(value) and not isinstance(value, type):
        known = {each.name: to_json(getattr(value, each.name), tensors) for each in fields(value)}
        return {"class": type(value).__name__, "fields": known}
    raise TypeError(f"{type(value).__name__} cannot be stored")


def read(path: Path, kinds: Sequence[type] = ()) -> Any:
    """The value that `dump` stored; `kinds` are the allowed dataclasses. Raises DeepInsideError for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            tree = json.loads(stored.metadata()[TREE])
            return from_json(tree, {name: stored.get_tensor(name).clone() for name in stored.keys()}, kinds)  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise DeepInsideError(
            f"{path}: expected a checkpoint of deepinside, found another kind of file "
            f"({type(error).__name__}: {error}), which is not read; remove it and run the same command again."
        ) from error


def from_json(node: Any, tensors: Mapping[str, Tensor], kinds: Sequence[type]) -> Any:
    if isinstance(node, list):
        return [from_json(entry, tensors, kinds) for entry in node]
    if not isinstance(node, Mapping):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "tuple" in node:
        return tuple(from_json(entry, tensors, kinds) for entry in node["tuple"])
    if "mapping" in node:
        return {from_json(key, tensors, kinds): from_json(entry, tensors, kinds) for key, entry in node["mapping"]}
    kind = {kind.__name__: kind for kind in kinds}[node["class"]]
    return kind(**{name: from_json(entry, tensors, kinds) for name, entry in node["fields"].items()})
