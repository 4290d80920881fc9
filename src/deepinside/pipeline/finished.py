"""Whether a run's result is there already, told from files alone: torch takes two seconds to import."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepinside.config.settings import construct
from deepinside.images.settings import ImageSettings
from deepinside.images.sources import Source, fingerprint, listed
from deepinside.results import folder as results


def inputs(network: str | None, photos: Sequence[Source]) -> dict[str, Any]:
    """What a result was made from besides its configuration, as far as a glance can tell.

    `network` is the SHA-256 that the network's YAML declares.
    """
    return {"network": network, "photos": fingerprint(photos)}


def known(config: Mapping[str, Any], folder: Path) -> dict[str, Any] | None:
    """The whole result in `folder`, as `pipeline.run` would return it, if it may stand for this configuration's run.

    None where the run has to be looked into: it is not done, wanted anew, or has left something behind.
    """
    left = folder.with_name(f"{folder.name}.part")
    if config["runtime"].get("overwrite") or left.exists() or not results.is_done(folder):
        return None
    photos = listed(construct(ImageSettings, config["images"], "images"))
    found = results.finished_result(folder, config, inputs(config["network"].get("sha256"), photos))
    return None if found is None else {**found, "skipped_as_done": True}
