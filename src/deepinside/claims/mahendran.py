"""Claims of Mahendran & Vedaldi 2014 (arXiv 1412.0035) on what representations preserve of a photo, as code."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from deepinside.claims.registry import Evidence, Measurement, NotMeasuredError, claim, needs
from deepinside.errors import DeepInsideError
from deepinside.metrics.intervals import Values
from deepinside.metrics.similarity import rank_correlation
from deepinside.networks.network import Network
from deepinside.techniques.inversion import Inversion, chosen_layers
from deepinside.types import safe_name


def require_two_layers(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert at least two layers."""
    count = len(inverted_layers(network, techniques))
    if count < 2:
        raise DeepInsideError(
            f"claims: expected at least two inverted layers, found {count}; use technique=inversion, more "
            "technique.layers, or claims=[]."
        )


def require_last_spatial_layer(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert the network's last spatial layer."""
    require_two_layers(network, techniques)
    last, found = last_spatial_layer(network), inverted_layers(network, techniques)
    if last not in found:
        raise DeepInsideError(
            f"claims: expected {last}, the last spatial layer, among the inverted layers, found "
            f"{', '.join(found)}; add it to technique.layers or set claims=[]."
        )


def inverted_layers(network: Network, techniques: Mapping[str, Any]) -> list[str]:
    """Names of the layers that a run's first variant inverts."""
    first = next(iter(techniques.values()), None)
    return list(chosen_layers(first.layers, network).values()) if isinstance(first, Inversion) else []


def last_spatial_layer(network: Network) -> str:
    """The last layer whose maps are larger than 1×1: in CaffeNet, pool5."""
    maps = [name for name, one in network.layers.items() if len(one.shape) == 3 and max(one.shape[1:]) > 1]
    if not maps:
        raise DeepInsideError(
            f"claims: expected a layer with maps larger than 1×1, {network.name} has none; set claims=[]."
        )
    return maps[-1]


@claim
@needs(require_two_layers)
def inversion_loses_pixels_not_representation(evidence: Evidence) -> Measurement:
    """Spearman's rank correlation of a reconstruction's PSNR with the depth of its layer, for each photo."""
    depths = torch.arange(len(by_depth(evidence, "psnr")))
    found = [rank_correlation(depths, torch.from_numpy(row)) for row in values_by_depth(evidence, "psnr")]
    return Measurement(np.array(found)[:, None])


@claim
@needs(require_two_layers)
def inversion_matches_every_layer(evidence: Evidence) -> Measurement:
    """The largest normalised error of the representation among the inverted layers; each is a mean over photos."""
    return Measurement(values_by_depth(evidence, "error"), largest_mean)


@claim
@needs(require_last_spatial_layer)
def inversion_matches_pool5(evidence: Evidence) -> Measurement:
    """The normalised error at the last spatial layer (CaffeNet's pool5)."""
    layer, errors = last_spatial_layer(evidence.network), by_depth(evidence, "error")
    if layer not in errors:
        raise NotMeasuredError(f"{layer} was not inverted; it is zero everywhere for these photos")
    return Measurement(evidence.values(errors[layer]))


def largest_mean(values: Values) -> Values:
    """The largest of the columns' means."""
    return np.asarray(values.mean(-2).max(-1))


def values_by_depth(evidence: Evidence, measure: str) -> Values:
    """(photos, layers): `measure` of the run's first variant, from the shallowest layer to the deepest."""
    return evidence.values(*by_depth(evidence, measure).values())


def by_depth(evidence: Evidence, measure: str) -> dict[str, str]:
    """The names of the metrics `measure` of the run's first variant by layer, from the shallowest to the deepest.

    Raises NotMeasuredError if fewer than two layers were inverted, because the others are zero everywhere.
    """
    first = next(iter(evidence.techniques), "")
    start, end = f"{first}/" if first else "", f"/{measure}"
    layers = {safe_name(name): name for name in [*evidence.network.synonyms, *evidence.network.layers]}
    order = list(evidence.network.layers)
    found = {
        order.index(evidence.network.resolve(layers[name[len(start) : -len(end)]])): name
        for name in evidence.columns if name.startswith(start) and name.endswith(end)
    }  # fmt: skip
    if len(found) < 2:
        raise NotMeasuredError(f"{measure} of at least two layers is needed, {len(found)} could be inverted")
    return {order[depth]: found[depth] for depth in sorted(found)}
