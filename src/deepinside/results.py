"""The folder a run leaves: written aside, named when whole, so that what has its name is a result."""

import json
import math
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from deepinside.errors import DeepInsideError
from deepinside.values import Claim, Item, safe_name

SCHEMA = 1
LONGEST = 120
NOT_IDENTITY = ("runtime.results", "runtime.model_cache", "runtime.threads")
"""Keys that change where or how fast a run works, not what it computes."""


def place(root: Path, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Path:
    """Where a run's folder goes: root / experiment / network / what differs from the experiment's defaults.

    The same configuration always gets the same place. A place that holds another configuration, say because the
    experiment's YAML was edited since, is left alone: the new run's folder ends in `~` and a digest.
    """
    names = [safe_name(str(name)) for name in (config["name"], config["network"]["name"])]
    folder = root.joinpath(*names, variation(differences(config, defaults)))
    if not is_done(folder):
        return folder
    known = read_config(folder)
    if known is not None and identity(known) == identity(config):
        return folder
    return folder.with_name(f"{folder.name}~{digest(identity(config))}")


def differences(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The keys whose values differ from the defaults, dotted."""
    now, before = identity(config), identity(defaults)
    return {key: value for key, value in now.items() if key not in before or before[key] != value}


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a configuration that decides the result, flat, with dotted keys."""
    return {key: value for key, value in flatten(config).items() if key not in NOT_IDENTITY}


def flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        flat.update(flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value})
    return flat


def variation(changes: Mapping[str, Any]) -> str:
    """A folder name such as `technique.l2=0.01,seed=3`, or `default`; shortened with a digest where it is long."""
    if not changes:
        return "default"
    words = [safe_name(f"{key}={text(value)}") for key, value in changes.items()]
    name = ",".join(words)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}~{digest(changes)}"


def text(value: Any) -> str:
    return "+".join(map(text, value)) if isinstance(value, list | tuple) else str(value)


def digest(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def read_config(folder: Path) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return found if isinstance(found, dict) else None


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The folder's `metrics.json`, or None where there is none that can be read."""
    try:
        found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_done(folder: Path) -> bool:
    """Whether the folder is a whole result."""
    metrics = read_metrics(folder)
    return metrics is not None and metrics.get("status") == "done"


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """An empty folder aside to write into; it takes the place of `folder` when the block ends without an error."""
    aside = folder.with_name(f"{folder.name}.part-{os.getpid()}")
    try:
        sweep(folder)
        aside.mkdir(parents=True)
        yield aside
        replace(folder, aside)
    except OSError as error:
        raise DeepInsideError(
            f"results: {folder} could not be written ({error}); free space or set runtime.results."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def replace(folder: Path, aside: Path) -> None:
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    aside.rename(folder)
    for gone in (old, failed_beside(folder)):
        shutil.rmtree(gone, ignore_errors=True)


def failed_beside(folder: Path) -> Path:
    """Where a run that failed leaves its reason when `folder` holds an earlier run's whole result."""
    return folder.with_name(f"{folder.name}.failed")


def sweep(folder: Path) -> None:
    """Remove what killed processes left beside `folder`; a whole old result left without a name gets it back."""
    for left in folder.parent.glob("*.*-*"):
        match = re.fullmatch(re.escape(folder.name) + r"\.(part|old)-(\d+)", left.name)
        if match is None or alive(int(match[2])):
            continue
        if match[1] == "old" and not folder.exists():
            left.rename(folder)
        else:
            shutil.rmtree(left)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Indented, keys in their own order. Raises DeepInsideError for NaN and infinity, which JSON does not know."""
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
    """Record why a run failed, in its place, or beside it where a whole result of an earlier run stands."""
    target = failed_beside(folder) if is_done(folder) else folder
    with writing(target) as aside:
        names = {"experiment": config["name"], "network": config["network"]["name"]}
        write_json(aside / "metrics.json", {"schema": SCHEMA, **names, "status": "failed", "reason": reason})
        write_config(aside / "config.yaml", config)


def summary(
    *,
    config: Mapping[str, Any],
    seconds: float,
    metrics: Mapping[str, float],
    by_group: Mapping[str, Mapping[str, float]],
    items: Mapping[str, Mapping[str, float]],
    claims: Sequence[Claim],
    departures: Sequence[str],
    skipped: Sequence[Mapping[str, str]],
    notes: Sequence[str],
) -> dict[str, Any]:
    """The contents of `metrics.json`."""
    return {
        "schema": SCHEMA,
        "experiment": config["name"],
        "network": config["network"]["name"],
        "status": "done",
        "seconds": round(seconds, 3),
        "metrics": dict(metrics),
        "by_group": {group: dict(values) for group, values in by_group.items()},
        "claims": [asdict(claim) for claim in claims],
        "departures": list(departures),
        "notes": list(notes),
        "skipped": list(skipped),
        "items": {name: dict(values) for name, values in items.items()},
    }


class ArrayFile:
    """`arrays.npz`, written one array at a time so that memory does not grow; the same arrays give the same bytes."""

    def __init__(self, path: Path) -> None:
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)

    def add(self, item: Item) -> None:
        """Every panel as `item/panel` and every trace as `item/trace/name`, float32."""
        for panel in item.panels:
            self.put(f"{item.name}/{panel.name}", panel.values.numpy())
        for name, values in item.trace.items():
            self.put(f"{item.name}/trace/{name}", values.cpu().numpy())

    def put(self, name: str, values: np.ndarray) -> None:
        buffer = BytesIO()
        np.save(buffer, values.astype(np.float32, copy=False))
        entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        self.zip.writestr(entry, buffer.getvalue())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()
