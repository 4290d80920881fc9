"""The shell commands that repeat a run."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from deepinside.config.quoting import quoted

NO_EXPERIMENT = "adhoc"
"""The name of a run without an experiment, from `configs/config.yaml`."""


def repeat_command(folder: str) -> str:
    """The command that runs a result's `config.yaml` again."""
    return f"deepinside --repeat {shlex.quote(folder)}"


def override_command(
    experiment: str, network: str, changes: Mapping[str, Any], removed: list[str], known: Mapping[str, Any]
) -> str:
    """The command that composes the run's configuration from the experiment's defaults.

    `changes` are the keys that differ, `removed` those that the run does not have, `known` the keys of the defaults. A
    run without an experiment is compared with the defaults of the command line.
    """
    words = [] if experiment == NO_EXPERIMENT else [f"experiment={value(experiment)}"]
    words.append(f"network={value(network)}")
    words += [f"~{key}" for key in removed]
    words += [f"{'' if key in known else '++'}{key}={value(found)}" for key, found in changes.items()]
    return " ".join(["deepinside", *map(shlex.quote, words)])


def value(found: Any) -> str:
    """A value in Hydra's grammar; ambiguous text is quoted."""
    if isinstance(found, Mapping):
        return "{" + ",".join(f"{value(str(key))}:{value(entry)}" for key, entry in found.items()) + "}"
    if isinstance(found, list | tuple):
        return "[" + ",".join(map(value, found)) + "]"
    if found is None or isinstance(found, bool | int | float):
        return json.dumps(found)
    return quoted(str(found))
