"""How a run can be repeated: the commands, as they would be typed in a shell."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from deepinside.config.quoting import quoted

NO_EXPERIMENT = "adhoc"
"""What a run is called whose command names no experiment; `configs/config.yaml` has it."""


def repeat_command(folder: str) -> str:
    """The command that runs a result's own `config.yaml` once more."""
    return f"deepinside --repeat {shlex.quote(folder)}"


def override_command(
    experiment: str, network: str, changes: Mapping[str, Any], gone: list[str], known: Mapping[str, Any]
) -> str:
    """The command that composes the run's configuration again from the experiment's defaults.

    `changes` are the keys that differ, `gone` those the run has not got, `known` the defaults' keys. A run of no
    experiment differs from the defaults of the command line.
    """
    words = [] if experiment == NO_EXPERIMENT else [f"experiment={value(experiment)}"]
    words.append(f"network={value(network)}")
    words += [f"~{key}" for key in gone]
    words += [f"{'' if key in known else '++'}{key}={value(found)}" for key, found in changes.items()]
    return " ".join(["deepinside", *map(shlex.quote, words)])


def value(found: Any) -> str:
    """A value in Hydra's grammar, in which text that could be read as anything else stands in quotes."""
    if isinstance(found, Mapping):
        return "{" + ",".join(f"{value(str(key))}:{value(entry)}" for key, entry in found.items()) + "}"
    if isinstance(found, list | tuple):
        return "[" + ",".join(map(value, found)) + "]"
    if found is None or isinstance(found, bool | int | float):
        return json.dumps(found)
    return quoted(str(found))
