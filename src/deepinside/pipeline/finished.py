"""Checks whether a run's result already exists, from files alone: importing torch takes two seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinside.config.settings import construct
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import Source, fingerprint, listed
from deepinside.networks.spec import NetworkSpec
from deepinside.results import folder as results


def inputs(network: str | None, photos: Sequence[Source]) -> dict[str, Any]:
    """A quick fingerprint of the inputs of a result, apart from its configuration.

    `network` is the SHA-256 that the network's YAML declares.
    """
    return {"network": network, "photos": fingerprint(photos)}


def known(config: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """The complete result in `folder`, as `pipeline.run` returns it, if it is up to date for this configuration.

    None if the run is not done, is interrupted, or must be recomputed.
    """
    left = folder.with_name(f"{folder.name}.part")
    if config["runtime"].get("overwrite") or left.exists() or not results.is_done(folder):
        return None
    settings = construct(ImageSettings, config["images"], "images")
    network = None if settings.unknown_classes == "keep" else construct(NetworkSpec, config["network"], "network")
    photos = listed(settings, network)
    found = results.finished_result(folder, config, inputs(config["network"].get("sha256"), photos))
    if found is None or not figure_is_current(config, folder):
        return None
    return {**found, "skipped_as_done": True}


def figure_is_current(config: Mapping[str, Any], folder: Path) -> bool:
    """Whether the figure has these settings, or has now been drawn again with them."""
    if (results.read_config(folder) or {}).get("figure") == config.get("figure"):
        return True
    from deepinside.figures.redraw import bring_up_to_date  # imports torch

    return bring_up_to_date(folder, config)
