"""The result folder of a run, written atomically: a folder with the final name is a complete result."""

import json
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from deepinside.config import composition
from deepinside.errors import DeepInsideError
from deepinside.types import Claim, safe_name

SCHEMA = 3
LONGEST = 120
NOT_IDENTITY = (
    "runtime.results", "runtime.model_cache", "runtime.threads", "runtime.report", "runtime.overwrite",
    "runtime.worker", "runtime.verbosity", "runtime.preview", "runtime.tensorboard",
)  # fmt: skip
"""Keys that change where or how fast a run executes, not what it computes."""
TARGET = re.compile(r"(^|\.)targets?$")
"""Keys that name targets."""
FIGURE = "figure."
KEPT_BY_FIGURE = ("figure.limit", "figure.order")
"""The figure's settings change how results are drawn, except these: they also decide what is saved."""
STORY = "story."
"""The sentences that the report shows."""


def folder_for(root: Path, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Path:
    """A run's folder: root / experiment / network / differences from the experiment's defaults.

    The same configuration always gets the same folder. If the folder holds another configuration, for example because
    the experiment's YAML was edited, the new run's folder gets the suffix `~` and a digest.
    """
    names = [safe_name(str(name)) for name in (config["name"], config["network"]["name"])]
    folder = root.joinpath(*names, variation_name(changed_keys(config, defaults)))
    if not is_done(folder):
        return folder
    known = read_config(folder)
    if known is not None and identity(known) == identity(config):
        return folder
    return folder.with_name(f"{folder.name}~{digest(identity(config))}")


def folder_of(config: dict[str, Any], defaults: Mapping[str, Any] | None = None) -> Path:
    """The folder that the result of this configuration belongs in. Raises DeepInsideError where it names none.

    `defaults` is the experiment's default configuration; None composes it.
    """
    for section in ("name", "network", "runtime"):
        if not config.get(section):
            raise DeepInsideError(f"{section}: expected in the configuration, found {', '.join(config)}.")
    return folder_for(Path(config["runtime"]["results"]), config, defaults or composition.default_config(config))


def changed_keys(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys whose values differ from the defaults."""
    now, before = (identity(named_judge(node)) for node in (config, defaults))
    return {key: value for key, value in now.items() if key not in before or before[key] != value}


def named_judge(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """`config` with the judging network's name in place of its specification, for short folder names."""
    judge = config.get("judge")
    return {**config, "judge": judge.get("name")} if isinstance(judge, Mapping) else config


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that determines the result, flat, with dotted keys.

    A target has one spelling: YAML reads `true` as a bool, but it is a word (see `deepinside.targets`).
    """
    values = {key: value for key, value in flatten(config).items() if decides(key)}
    return {key: target_text(value) if TARGET.search(key) else value for key, value in values.items()}


def target_text(value: Any) -> Any:
    """The same target, or targets, with `true` as a word."""
    if isinstance(value, list | tuple):
        return [target_text(each) for each in value]
    return "true" if str(value).strip().casefold() == "true" else value


def decides(key: str) -> bool:
    """Whether a setting, by its dotted key, determines what a run computes and saves."""
    if key in NOT_IDENTITY or f"{key}.".startswith(STORY):
        return False
    return key in KEPT_BY_FIGURE or not f"{key}.".startswith(FIGURE)


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        flat.update(flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value})
    return flat


def variation_name(changes: Mapping[str, Any]) -> str:
    """A folder name such as `technique.l2=0.01,seed=3`, or `default`. A long name is cut and gets a digest."""
    if not changes:
        return "default"
    words = [safe_name(f"{key}={value_text(value)}") for key, value in changes.items()]
    name = ",".join(words)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}~{digest(changes)}"


def value_text(value: Any) -> str:
    return "+".join(map(value_text, value)) if isinstance(value, list | tuple) else str(value)


def digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def read_config(folder: Path) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The folder's `metrics.json`, or None if it is missing or unreadable."""
    return read_json(folder / "metrics.json")


def read_json(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file, or None if it is missing or unreadable."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_done(folder: Path) -> bool:
    """Whether the folder holds a complete result."""
    metrics = read_metrics(folder)
    return metrics is not None and metrics.get("status") == "done"


def finished_result(folder: Path, config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a complete result of this configuration and these inputs, without skipped photos; else None."""
    metrics, before = read_metrics(folder), read_config(folder)
    if metrics is None or metrics.get("status") != "done" or metrics.get("skipped") or metrics.get("schema") != SCHEMA:
        return None
    if before is None or identity(before) != identity(config):
        return None
    known = read_json(folder / "provenance.json") or {}
    return metrics if known.get("inputs") == inputs else None


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` when the block ends without an error."""
    temporary = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    with writable(folder):
        try:
            remove_stale(folder)
            temporary.mkdir(parents=True)
            yield temporary
            replace_folder(folder, temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn the block's OSErrors into a DeepInsideError that says what to do."""
    try:
        yield
    except OSError as error:
        raise DeepInsideError(
            f"results: {folder} could not be written ({error}); free space or set runtime.results."
        ) from error


def replace_folder(folder: Path, temporary: Path) -> None:
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    for gone in (old, failure_folder(folder)):
        shutil.rmtree(gone, ignore_errors=True)


def failure_folder(folder: Path) -> Path:
    """The folder for a failed run's reason when `folder` already holds a complete result."""
    return folder.with_name(f"{folder.name}.failed")


def remove_stale(folder: Path) -> None:
    """Remove the leftovers of killed processes next to `folder`, and restore an old result that lost its name."""
    for left in folder.parent.glob("*.*-*"):
        match = re.fullmatch(re.escape(folder.name) + r"\.(part|old)-(\d+)", left.name)
        if match is None or process_is_alive(int(match[2])):
            continue
        if match[1] == "old" and not folder.exists():
            left.rename(folder)
        else:
            shutil.rmtree(left)


def process_is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON. Raises DeepInsideError for NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        refuse_nan(path.name, flatten(value))
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def refuse_nan(name: str, numbers: Mapping[str, Any]) -> None:
    for key, number in numbers.items():
        if isinstance(number, float) and not math.isfinite(number):
            raise DeepInsideError(f"{name}: expected numbers, found {number} for {key}; the run cannot be trusted.")


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_failure(folder: Path, config: Mapping[str, Any], reason: str) -> None:
    """Record why a run failed, in its folder or, if that holds a complete result, next to it."""
    target = failure_folder(folder) if is_done(folder) else folder
    with writing(target) as temporary:
        names = {"experiment": config["name"], "network": config["network"]["name"]}
        write_json(temporary / "metrics.json", {"schema": SCHEMA, **names, "status": "failed", "reason": reason})
        write_config(temporary / "config.yaml", config)


def metrics_summary(
    *,
    config: Mapping[str, Any],
    seconds: float,
    metrics: Mapping[str, float],
    by_group: Mapping[str, Mapping[str, float]],
    intervals: Mapping[str, Mapping[str, Sequence[float]]],
    count: int,
    items: Mapping[str, Mapping[str, float]],
    predictions: Mapping[str, Mapping[str, Any]],
    right: Mapping[str, int],
    claims: Sequence[Claim],
    deviations: Sequence[str],
    skipped: Sequence[Mapping[str, str]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The contents of `metrics.json`.

    `intervals` are those of the means in `by_group`. `items` and `predictions` are those of the items shown in the
    figure, out of `count`. `right` counts the items of known class, and those whose best class it is.
    """
    return {
        "schema": SCHEMA,
        "experiment": config["name"],
        "network": config["network"]["name"],
        "status": "done",
        "seconds": round(seconds, 3),
        "count": count,
        "metrics": dict(metrics),
        "by_group": {group: dict(values) for group, values in by_group.items()},
        "by_group_intervals": {
            group: {name: list(reach) for name, reach in found.items()} for group, found in intervals.items()
        },
        "claims": [{**asdict(claim), "interval": claim.interval and list(claim.interval)} for claim in claims],
        "deviations": list(deviations),
        "notes": list(notes),
        "skipped": list(skipped),
        "items": {name: dict(values) for name, values in items.items()},
        "predictions": {name: dict(values) for name, values in predictions.items()},
        "right": dict(right),
    }
