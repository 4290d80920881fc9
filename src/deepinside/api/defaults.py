"""Builds a technique from its YAML and overrides, as the command line does."""

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from deepinside.config import composition, hydra_errors
from deepinside.config.paths import ROOT
from deepinside.config.settings import build
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import Technique, merge

TECHNIQUES = ROOT / "configs" / "technique"


def technique(name: str, size: tuple[int, int], settings: Mapping[str, Any]) -> Technique:
    """The technique `name` for a network of input `size` (height, width), with `settings` over its defaults.

    A nested setting accepts a preset name (`optimiser="adam"`), a dict of overrides, or an instance. Raises
    DeepInsideError for an unknown key or preset, a wrong type or a value out of range.
    """
    chosen = {key: value for key, value in settings.items() if isinstance(value, str) and (TECHNIQUES / key).is_dir()}
    words = [f"technique={name}", *(f"technique/{key}={value}" for key, value in sorted(chosen.items()))]
    changes = {key: plain(value) for key, value in settings.items() if key not in chosen}
    made: Technique = build(merge(copy.deepcopy(composed(tuple(words), size)), changes), name)
    return made


def plain(value: Any) -> Any:
    """Sequences as lists, as in YAML."""
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


@lru_cache
def composed(words: tuple[str, ...], size: Sequence[int]) -> dict[str, Any]:
    """The composed `technique` section for these command-line words and an input `size`."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = composition.compose_config(list(words))
        OmegaConf.set_struct(config, False)
        config.network.input.size = list(size)
        return OmegaConf.to_container(config.technique, resolve=True)  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise DeepInsideError(hydra_errors.explain(error)) from error
