"""Composes configurations from command-line words. Hydra is imported only when needed."""

import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from deepinside.config import catalogue, quoting
from deepinside.config.paths import ROOT

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose_config(words: list[str]) -> "DictConfig":
    """The configuration that these command-line words compose; Hydra's global state is restored afterwards."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    catalogue.publish()
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return compose("config", quoting.quoted_words(words))
    finally:
        GlobalHydra.instance().hydra = running


def compose_dict(words: list[str]) -> dict[str, Any]:
    """The configuration that these command-line words compose, resolved, as a dict."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(compose_config(words), resolve=True)  # type: ignore[return-value]


def default_config(config: dict[str, Any]) -> dict[str, Any]:
    """The default configuration of the same experiment on the same network."""
    words = [f"experiment={config['name']}"] if config["name"] in catalogue.files("experiment") else []
    if catalogue.is_known("network", str(config["network"].get("name"))):
        words.append(f"network={config['network']['name']}")
    return copy.deepcopy(cached_config(tuple(words), catalogue.versions()))


@lru_cache(maxsize=64)
def cached_config(words: tuple[str, ...], versions: object) -> dict[str, Any]:
    """`compose_dict` (0.25 s), cached for all runs of a sweep; `versions` are those of the files read."""
    return compose_dict(list(words))
