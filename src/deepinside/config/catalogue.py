"""The YAML files that a user can name: networks from `conf_models/`, experiments from `experiments/`.

Hydra does not look for groups in these top-level folders, so their files are published to Hydra's ConfigStore. Folders
of the same names in the working directory are included.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deepinside.config.libraries import library_name, library_node
from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError

if TYPE_CHECKING:
    from hydra.core.config_store import ConfigNode

GROUPS = {"network": "conf_models", "judge": "conf_models", "experiment": "experiments"}
PACKAGES = {"network": None, "judge": None, "experiment": "_global_"}
"""The package of each group: None puts the keys under the group's name, `_global_` at the top."""
FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")


# libyaml's reader if available: a dozen times faster, and it runs at every start
class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A YAML reader that parses 1e-4 as a number, like Hydra and every YAML 1.2 reader."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def files(group: str) -> dict[str, Path]:
    """The group's YAML files by name. Files in the working directory override shipped ones."""
    folders = dict.fromkeys([ROOT / GROUPS[group], Path.cwd() / GROUPS[group]])
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def is_known(group: str, name: str) -> bool:
    """Whether the group has this name: that of a file, or for networks one such as `torchvision:resnet50`."""
    return name in files(group) or (group != "experiment" and library_name(name) is not None)


def read(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file. Raises DeepInsideError if there is none."""
    try:
        node = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DeepInsideError(f"{path.name}: expected a YAML file, found {' '.join(str(error).split())}.") from error
    if not isinstance(node, dict):
        raise DeepInsideError(f"{path.name}: expected keys and values, found {type(node).__name__}.")
    return node


def publish() -> None:
    """Register `network=NAME`, `judge=NAME` and `experiment=NAME` with Hydra."""
    from hydra.core.config_store import ConfigStore

    repository = ConfigStore.instance().repo
    for group in GROUPS:
        known = {f"{name}.yaml": entry(group, name, path) for name, path in files(group).items()}
        repository[group] = known if group == "experiment" else WithLibraries(group, known)


class WithLibraries(dict[str, Any]):
    """A group's entries in Hydra's store, to which names such as `torchvision:resnet50` belong without being listed."""

    def __init__(self, group: str, known: dict[str, Any]) -> None:
        super().__init__(known)
        self.group = group

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or library_name(str(name).removesuffix(".yaml")) is not None

    def __missing__(self, name: str) -> "ConfigNode":
        return entry(self.group, name.removesuffix(".yaml"), None)


def entry(group: str, name: str, path: Path | None) -> "ConfigNode":
    """A lazy entry for a file or a library's network in Hydra's store: it is read when the entry is used.

    A command reads only the files that it names, always in their current version. An unreadable file is listed but
    refused only when used.
    """
    from hydra.core.config_store import ConfigNode
    from omegaconf import OmegaConf

    package = PACKAGES[group]

    class Entry(ConfigNode):
        def __copy__(self) -> ConfigNode:  # the store returns copies of its entries
            node = {"name": name, **read(path)} if path and group == "experiment" else network_node(name, path)
            return ConfigNode(f"{name}.yaml", OmegaConf.create(node), group, package, None)

    return Entry(f"{name}.yaml", OmegaConf.create(), group, package, None)


def versions() -> tuple[tuple[Path, int], ...]:
    """Every file with its modification time."""
    return tuple((path, path.stat().st_mtime_ns) for group in GROUPS for path in files(group).values())


def publish_result(place: Path) -> None:
    """Register the configuration of a result folder with Hydra under the name `repeated`."""
    from hydra.core.config_store import ConfigStore

    path = place / "config.yaml" if place.is_dir() else place
    if not path.is_file():
        raise DeepInsideError(f"--repeat: expected the folder of a result, with its config.yaml, found {place}.")
    config = read(path)
    own = read(ROOT / "configs" / "config.yaml")
    logs = [entry for entry in own["defaults"] if any(str(key).startswith("override ") for key in entry)]
    ConfigStore.instance().store(name="repeated", node={"defaults": ["_self_", *logs], **config, "hydra": own["hydra"]})


def network_node(name: str, path: Path | None = None) -> dict[str, Any]:
    """A network's specification, from its YAML or its library. A user's own also gets its YAML's folder, which holds
    its ONNX file and labels."""
    if path is None:
        return library_node(name)
    own = {} if path.parent == ROOT / GROUPS["network"] else {"folder": str(path.parent)}
    return {"name": name, **own, **read(path)}


def titles(group: str) -> dict[str, str]:
    """The group's names with their titles, for the help page. A technique's title is the first line of its YAML."""
    if group == "technique":
        return {path.stem: heading(path) for path in sorted((ROOT / "configs" / group).glob("*.yaml"))}
    return {name: title(path) for name, path in files(group).items()}


def heading(path: Path) -> str:
    """The first comment of a file, without the note on its keys."""
    return path.read_text(encoding="utf-8").partition("\n")[0].strip("# ").partition(" Keys: ")[0]


def title(path: Path) -> str:
    """The file's title, or the error that reading it gives."""
    try:
        return str(read(path).get("title", ""))
    except DeepInsideError as error:
        return str(error)
