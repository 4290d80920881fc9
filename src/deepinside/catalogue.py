"""The YAML files a user may name: networks from `conf_models/`, experiments from `experiments/`.

They lie directly in folders at the top of the checkout, where Hydra would not look for a group; here they are
published to Hydra's ConfigStore under the group's name. The working directory's own folders of these names count too.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deepinside.errors import DeepInsideError
from deepinside.home import HOME

if TYPE_CHECKING:
    from hydra.core.config_store import ConfigNode

GROUPS = {"network": "conf_models", "experiment": "experiments"}
PACKAGES = {"network": None, "experiment": "_global_"}
"""Where in the configuration the groups' keys go: under the group's name, or at the top."""
FLOAT = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")


# libyaml's reader where it is there: a dozen times faster, and it runs at every start
class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A YAML reader that takes 1e-4 for a number, as Hydra's own and every reader of YAML 1.2 do."""


Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def files(group: str) -> dict[str, Path]:
    """The group's YAML files by name; those of the working directory come over those that ship."""
    folders = dict.fromkeys([HOME / GROUPS[group], Path.cwd() / GROUPS[group]])
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def read(path: Path) -> dict[str, Any]:
    """The mapping in one YAML file."""
    try:
        node = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DeepInsideError(f"{path.name}: expected a YAML file, found {' '.join(str(error).split())}.") from error
    if not isinstance(node, dict):
        raise DeepInsideError(f"{path.name}: expected keys and values, found {type(node).__name__}.")
    return node


def publish() -> None:
    """Make `network=NAME`, `experiment=NAME` and the resolver `${per_value:…}` known to Hydra."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("per_value", per_value, replace=True)
    repository = ConfigStore.instance().repo
    for group in GROUPS:
        repository[group] = {f"{name}.yaml": entry(group, name, path) for name, path in files(group).items()}


def entry(group: str, name: str, path: Path) -> "ConfigNode":
    """A file's entry in Hydra's store, read whenever it is asked for.

    So forty files are not read for the two that a command names, a file that was written to is read anew, and one
    that cannot be read is listed, in nobody's way, and refused when it is asked for.
    """
    from hydra.core.config_store import ConfigNode
    from omegaconf import OmegaConf

    package = PACKAGES[group]

    class Entry(ConfigNode):
        def __copy__(self) -> ConfigNode:  # how the store hands out what it holds
            node = network_node(name, path) if group == "network" else {"name": name, **read(path)}
            return ConfigNode(f"{name}.yaml", OmegaConf.create(node), group, package, None)

    return Entry(f"{name}.yaml", OmegaConf.create(), group, package, None)


def versions() -> tuple[tuple[Path, int], ...]:
    """Every file and when it was last written to."""
    return tuple((path, path.stat().st_mtime_ns) for group in GROUPS for path in files(group).values())


def publish_result(place: Path) -> None:
    """Make the configuration in a result's folder, or in one of its files, known to Hydra as `repeated`."""
    from hydra.core.config_store import ConfigStore

    path = place / "config.yaml" if place.is_dir() else place
    if not path.is_file():
        raise DeepInsideError(f"--repeat: expected the folder of a result, with its config.yaml, found {place}.")
    config = read(path)
    own = read(HOME / "configs" / "config.yaml")
    logs = [entry for entry in own["defaults"] if any(str(key).startswith("override ") for key in entry)]
    ConfigStore.instance().store(name="repeated", node={"defaults": ["_self_", *logs], **config, "hydra": own["hydra"]})


def per_value(weight: float, size: Sequence[int]) -> float:
    """`weight` over the number of values of an RGB image of `size`: sums over pixels weigh alike at every size."""
    return float(f"{weight / (3 * size[0] * size[1]):.3g}")


def network_node(name: str, path: Path) -> dict[str, Any]:
    """A network's declaration; one of the user's own remembers its folder, where its ONNX file and labels lie."""
    own = {} if path.parent == HOME / GROUPS["network"] else {"folder": str(path.parent)}
    return {"name": name, **own, **read(path)}


def titles(group: str) -> dict[str, str]:
    """Every name of the group with its title, for the help page; a technique's is the first line of its YAML."""
    if group == "technique":
        return {path.stem: heading(path) for path in sorted((HOME / "configs" / group).glob("*.yaml"))}
    return {name: title(path) for name, path in files(group).items()}


def heading(path: Path) -> str:
    """The comment that a file begins with; which class its keys belong to is for its readers."""
    return path.read_text(encoding="utf-8").partition("\n")[0].strip("# ").partition(" Keys: ")[0]


def title(path: Path) -> str:
    """The file's title, or what is wrong with it."""
    try:
        return str(read(path).get("title", ""))
    except DeepInsideError as error:
        return str(error)
