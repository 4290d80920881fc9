"""Claims of Mahendran & Vedaldi 2014 (arXiv 1412.0035) on what representations preserve of a photo, as code."""

from collections.abc import Mapping
from typing import Any

import torch

from deepinside.claims.registry import Evidence, claim, needs
from deepinside.errors import DeepInsideError
from deepinside.metrics.similarity import rank_correlation
from deepinside.networks.network import Network
from deepinside.techniques.inversion import Inversion, chosen_layers
from deepinside.types import Claim, safe_name


def several_layers(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert at least two layers."""
    count = len(inverted(network, techniques))
    if count < 2:
        raise DeepInsideError(
            f"claims: expected at least two inverted layers, found {count}; use technique=inversion, more "
            "technique.layers, or claims=[]."
        )


def the_last_with_positions(network: Network, techniques: Mapping[str, Any]) -> None:
    """Refuse a run whose first variant does not invert the network's last layer with positions."""
    several_layers(network, techniques)
    last, found = last_with_positions(network), inverted(network, techniques)
    if last not in found:
        raise DeepInsideError(
            f"claims: expected {last}, the last layer with positions, among the inverted layers, found "
            f"{', '.join(found)}; add it to technique.layers or set claims=[]."
        )


def inverted(network: Network, techniques: Mapping[str, Any]) -> list[str]:
    """The layers that a run's first variant inverts, by their names in the network."""
    first = next(iter(techniques.values()), None)
    return list(chosen_layers(first.layers, network).values()) if isinstance(first, Inversion) else []


def last_with_positions(network: Network) -> str:
    """The last layer whose maps have more than one position: in CaffeNet, pool5."""
    maps = [name for name, one in network.layers.items() if len(one.shape) == 3 and max(one.shape[1:]) > 1]
    if not maps:
        raise DeepInsideError(f"claims: expected a layer with positions, {network.name} has none; set claims=[].")
    return maps[-1]


@claim
@needs(several_layers)
def inversion_loses_pixels_not_representation(evidence: Evidence) -> Claim:
    """Spearman's rank correlation of the reconstructions' PSNR with the depth of their layers."""
    fidelity = by_depth(evidence, "psnr")
    found = rank_correlation(torch.arange(len(fidelity)), torch.tensor(list(fidelity.values()), dtype=torch.float64))
    return Claim(
        "inversion_loses_pixels_not_representation",
        "Mahendran & Vedaldi 2014, Sect. 5",
        "the deeper the layer, the less of the photo's pixels its representation fixes: PSNR falls with depth",
        found,
        "rank correlation ≤ -0.7",
        found <= -0.7,
    )


@claim
@needs(several_layers)
def inversion_matches_every_layer(evidence: Evidence) -> Claim:
    """The largest normalised error of the representation over all inverted layers, mean over photos."""
    found = max(by_depth(evidence, "error").values())
    return Claim(
        "inversion_matches_every_layer",
        "Mahendran & Vedaldi 2014, Sect. 5.2",
        "images are found whose representation is close to the photo's at every layer, however deep",
        found,
        "normalised error ≤ 0.25",
        found <= 0.25,
    )


@claim
@needs(the_last_with_positions)
def inversion_matches_pool5(evidence: Evidence) -> Claim:
    """The normalised error at the last layer with positions (CaffeNet's pool5), mean over photos."""
    layer, errors = last_with_positions(evidence.network), by_depth(evidence, "error")
    if layer not in errors:
        raise DeepInsideError(f"claims: expected {layer} among the inverted layers; add it to technique.layers.")
    found = errors[layer]
    return Claim(
        "inversion_matches_pool5",
        "Mahendran & Vedaldi 2014, Sect. 5.2",
        f"{layer}, the last layer with positions, can be inverted: an image is found with nearly its representation",
        found,
        "normalised error ≤ 0.15",
        found <= 0.15,
    )


def by_depth(evidence: Evidence, measure: str) -> dict[str, float]:
    """`measure` of the run's first variant by layer, from the shallowest to the deepest.

    Raises DeepInsideError if the run inverted fewer than two layers.
    """
    first = next(iter(evidence.techniques), "")
    start, end = f"{first}/" if first else "", f"/{measure}"
    shown = {name[len(start) : -len(end)]: v for name, v in evidence.metrics.items() if is_between(name, start, end)}
    layers = {safe_name(name): name for name in [*evidence.network.synonyms, *evidence.network.layers]}
    order = list(evidence.network.layers)
    found = {order.index(evidence.network.resolve(layers[name])): value for name, value in shown.items()}
    if len(found) < 2:
        raise DeepInsideError(
            f"claims: expected {measure} of at least two layers, found {len(found)}; use technique=inversion."
        )
    return {order[place]: found[place] for place in sorted(found)}


def is_between(name: str, start: str, end: str) -> bool:
    return name.startswith(start) and name.endswith(end)
