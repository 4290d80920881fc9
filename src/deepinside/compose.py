"""What the command line's words compose, and where the result of a configuration lies.

Hydra is imported only when something is composed.
"""

import copy
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepinside import catalogue, quoting
from deepinside.errors import DeepInsideError
from deepinside.home import HOME

if TYPE_CHECKING:
    from omegaconf import DictConfig


def composed(words: list[str]) -> "DictConfig":
    """The configuration that these command-line words compose; a run in progress is not disturbed."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    catalogue.publish()
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(HOME / "configs"), version_base="1.3"):
            return compose("config", quoting.quoted_words(words))
    finally:
        GlobalHydra.instance().hydra = running


def compose_plain(words: list[str]) -> dict[str, Any]:
    """The configuration that these command-line words compose, resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(composed(words), resolve=True)  # type: ignore[return-value]


def defaults_of(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the same experiment on the same network without further changes."""
    words = [f"experiment={config['name']}"] if config["name"] in catalogue.files("experiment") else []
    if config["network"].get("name") in catalogue.files("network"):
        words.append(f"network={config['network']['name']}")
    return copy.deepcopy(remembered(tuple(words), catalogue.versions()))


@lru_cache(maxsize=64)
def remembered(words: tuple[str, ...], versions: object) -> dict[str, Any]:
    """`compose_plain`, a quarter of a second, once for all runs of a sweep; `versions` are those of the files read."""
    return compose_plain(list(words))


def place_of(config: dict[str, Any]) -> Path:
    """The folder that the result of this configuration belongs in. Raises DeepInsideError where it names none."""
    from deepinside import results

    for section in ("name", "network", "runtime"):
        if not config.get(section):
            raise DeepInsideError(f"{section}: expected in the configuration, found {', '.join(config)}.")
    return results.place(Path(config["runtime"]["results"]), config, defaults_of(config))
