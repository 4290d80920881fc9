"""Reads a folder of results: finished and failed runs, unfinished runs, and sweeps."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from deepinside.config import catalogue
from deepinside.errors import DeepInsideError
from deepinside.html_report.commands import NO_EXPERIMENT, override_command

NO_EXPERIMENTS = {"reference", "report", "sweeps"}
"""Folders of the results root that hold no experiments."""
TEMPORARY = re.compile(r"\.(part|old)(-\d+)?$")
STAMPED = ("metrics.json", "config.yaml", "provenance.json")
CLASS_MODEL = "class_model"
SHORT = 32


@dataclass(frozen=True)
class Change:
    """A key that differs from the experiment's defaults; `before` is None if the defaults do not have it."""

    key: str
    value: Any
    before: Any = None

    @property
    def short(self) -> str:
        """The key's last part and its value, as `l2=0.001`."""
        words = plain(self.value)
        cut = words if len(words) <= SHORT else f"…{words[1 - SHORT :]}"  # a path's end is the most informative part
        return f"{self.key.rpartition('.')[2]}={cut}"


@dataclass(frozen=True)
class Run:
    """One result; `folder` is relative to the root, with `/`."""

    folder: str
    stamp: str
    experiment: str
    network: str
    status: str
    reason: str = ""
    title: str = ""
    source: str = ""
    technique: str = ""
    seconds: float = 0.0
    count: int = 0
    started: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    by_group: dict[str, dict[str, float]] = field(default_factory=dict)
    by_group_intervals: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    deviations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    compared: bool = True
    override: str = ""
    story: dict[str, str] = field(default_factory=dict)
    mosaic: str = ""
    figure: str = ""
    panels: list[str] = field(default_factory=list)
    photographs: list[str] = field(default_factory=list)

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "Run":
        """The inverse of `plain`. Raises TypeError for the format of another version."""
        return cls(**{**values, "changes": [Change(**change) for change in values["changes"]]})

    def plain(self) -> dict[str, Any]:
        """The run as JSON types, without copying its lists."""
        return {**vars(self), "changes": [vars(change) for change in self.changes]}

    @property
    def slug(self) -> str:
        return slug(self.folder)

    @property
    def done(self) -> bool:
        return self.status == "done"

    @property
    def picture(self) -> str:
        """The picture that stands for the run: its figure, else its mosaic; empty if it has neither."""
        return self.figure or self.mosaic

    @property
    def name(self) -> str:
        """The last part of the folder: `default`, or the settings that differ."""
        return self.folder.rpartition("/")[2]

    @property
    def is_default(self) -> bool:
        return self.name == "default"

    @property
    def label(self) -> str:
        """The settings that differ, abbreviated."""
        if self.changes:
            return ", ".join(change.short for change in self.changes)
        return "defaults" if self.compared and self.done else self.name


@dataclass(frozen=True)
class Sweep:
    """One `sweep.json`. `folder` is relative to the root."""

    folder: str
    stamp: str
    name: str
    command: str
    axes: dict[str, list[Any]]
    runs: list[dict[str, Any]]
    pictures: list[str]

    @property
    def title(self) -> str:
        """A short title: the experiments and the swept settings; `name` holds all values and is long."""
        experiments = list(dict.fromkeys(str(run["experiment"]) for run in self.runs if run.get("experiment")))
        over = ", ".join(key.rpartition(".")[2] for key in self.axes)
        words = ", ".join(experiments[:3]) + (" and others" if len(experiments) > 3 else "")
        return f"{words} over {over}" if words and over else words or self.name

    @property
    def slug(self) -> str:
        return slug(self.folder)


@dataclass(frozen=True)
class Found:
    """The folders of results: `runs` maps a folder to its stamp, `unfinished` are the folders of unfinished runs."""

    runs: dict[str, str]
    unfinished: list[str]
    sweeps: list[Sweep]


@cache
def slug(folder: str) -> str:
    """A unique name for the folder's page, valid in every file system and URL."""
    words = re.sub(r"[^A-Za-z0-9._=-]+", "-", folder.replace("/", "--")).strip("-.")[:80]
    return f"{words}-{sha256(folder.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def scan_results(root: Path) -> Found:
    """Find all results under `root`; only sweeps are read."""
    runs: dict[str, str] = {}
    unfinished: list[str] = []
    for folder in folders(root):
        temporary = TEMPORARY.search(folder.name)
        relative = folder.relative_to(root).as_posix()
        if temporary is None:
            stamp = stamp_of(folder)
            runs |= {relative: stamp} if stamp else {}
        elif temporary[1] == "part":
            unfinished.append(relative)
    return Found(runs, unfinished, [*sweeps(root)])


def folders(root: Path) -> Iterator[Path]:
    """The folders `experiment/network/changes`."""
    for experiment in subfolders(root):
        if experiment.name not in NO_EXPERIMENTS:
            for network in subfolders(experiment):
                yield from subfolders(network)


def subfolders(folder: Path) -> list[Path]:
    """The sorted subfolders of a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
    return [folder / name for name in names]


def stamp_of(folder: Path) -> str:
    """A fingerprint of the result; empty if there is no result."""
    found = []
    for name in STAMPED:
        try:
            stat = (folder / name).stat()
        except OSError:
            if name == STAMPED[0]:
                return ""
        else:
            found.append(f"{stat.st_mtime_ns}-{stat.st_size}")
    return " ".join(found)


def sweeps(root: Path) -> Iterator[Sweep]:
    for folder in subfolders(root / "sweeps"):
        path = folder / "sweep.json"
        found = read_json(path)
        if found is None:
            continue
        axes = {str(key): in_order(values) for key, values in dict(found.get("axes") or {}).items()}
        if not any(map(is_numeric, axes.values())):
            continue  # runs without an order have nothing to plot; the pages of their experiments compare them
        stat = path.stat()
        yield Sweep(
            folder=folder.relative_to(root).as_posix(),
            stamp=f"{stat.st_mtime_ns}-{stat.st_size}",
            name=str(found.get("name", folder.name)),
            command=str(found.get("command", "")),
            axes=axes,
            runs=[dict(run) for run in found.get("runs") or []],
            pictures=[name for name in ("figure.png", "metrics.png") if (folder / name).is_file()],
        )


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether the values of an axis are numbers, at least two of them."""
    return len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def in_order(values: Sequence[Any]) -> list[Any]:
    """The values of an axis, numbers by size."""
    return sorted(values) if is_numeric(values) else list(values)


def read_run(root: Path, folder: str, stamp: str) -> Run | None:
    """The run in `folder`, without its pictures; None if `metrics.json` cannot be read."""
    place = root / folder
    metrics = read_json(place / "metrics.json")
    if metrics is None:
        return None
    config = read_yaml(place / "config.yaml")
    experiment, network = folder.split("/")[:2]
    changes, override, compared = compare(place, config)
    return Run(
        folder=folder,
        stamp=stamp,
        experiment=str(metrics.get("experiment", experiment)),
        network=str(metrics.get("network", network)),
        status=str(metrics.get("status", "failed")),
        reason=str(metrics.get("reason") or ""),
        title=str(config.get("title") or metrics.get("experiment", experiment)),
        source=str(config.get("source") or ""),
        technique=technique(config),
        figure=f"{folder}/figure.png" if (place / "figure.png").is_file() else "",
        story={key: str(words) for key, words in (config.get("story") or {}).items()},
        seconds=float(metrics.get("seconds") or 0),
        count=int(metrics.get("count") or len(metrics.get("items") or {})),
        started=str((read_json(place / "provenance.json") or {}).get("started", "")),
        changes=changes,
        override=override,
        compared=compared,
        **{name: metrics[name] for name in LISTED if metrics.get(name)},
        claims=[claim for claim in metrics.get("claims", []) if "verdict" in claim],  # earlier versions had none
    )


LISTED = ("metrics", "by_group", "by_group_intervals", "deviations", "notes", "skipped")


def technique(config: Mapping[str, Any]) -> str:
    """The technique's module, as `class_model`."""
    target = str((config.get("technique") or {}).get("_target_", ""))
    return target.rpartition(".")[0].rpartition(".")[2]


def compare(place: Path, config: Mapping[str, Any]) -> tuple[list[Change], str, bool]:
    """The differences from the experiment's defaults, the command with them, and whether the defaults are known."""
    from deepinside.results import folder as results  # imports torch, which a run has already imported

    defaults = defaults_for(place, config)
    if defaults is None:
        return [], "", False
    now, before = results.identity(config), results.identity(defaults)
    changes = [Change(key, now[key], before.get(key)) for key in now if key not in before or now[key] != before[key]]
    known = results.flatten(defaults)
    removed = [key for key in before if key not in now and not any(name.startswith(f"{key}.") for name in now)]
    differing = {change.key: change.value for change in changes}
    name, network = str(config.get("name")), str(config["network"]["name"])
    command = override_command(name, network, differing, removed, known) if is_known(name, network) else ""
    return changes, command, True


def defaults_for(place: Path, config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The experiment's defaults on the run's network, from the default run next to it or composed again."""
    if not config.get("network"):
        return None
    neighbour = read_yaml(place.parent / "default" / "config.yaml")
    if neighbour.get("name") == config.get("name"):
        return neighbour
    return composed_defaults(str(config.get("name")), str(config["network"].get("name")))


def is_known(experiment: str, network: str) -> bool:
    """Whether the catalogue has both names, so that a command can use them."""
    experiments = {NO_EXPERIMENT, *catalogue.files("experiment")}
    return experiment in experiments and catalogue.is_known("network", network)


@cache
def composed_defaults(experiment: str, network: str) -> Mapping[str, Any] | None:
    """The experiment's current defaults; None if its YAML is not found."""
    if not is_known(experiment, network):
        return None
    from deepinside.config.composition import default_config

    try:
        return default_config({"name": experiment, "network": {"name": network}})
    except Exception:  # Hydra and OmegaConf raise many types; the report then omits the differences
        return None


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty if it cannot be read."""
    try:
        return catalogue.read(path)
    except (DeepInsideError, yaml.YAMLError, ValueError):
        return {}


def plain(value: Any) -> str:
    """A value as readable text."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "none" if value is None else str(value)
