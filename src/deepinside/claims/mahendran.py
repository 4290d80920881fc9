"""Claims of Mahendran & Vedaldi 2014 (arXiv 1412.0035) on what representations keep of a photo, as code."""

import torch

from deepinside.claims.registry import Evidence, claim
from deepinside.errors import DeepInsideError
from deepinside.maths.similarity import rank_correlation
from deepinside.values import Claim, safe_name


@claim
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
def inversion_matches_every_layer(evidence: Evidence) -> Claim:
    """The largest normalised error of the representation over all layers inverted, mean over photos."""
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
def inversion_matches_pool5(evidence: Evidence) -> Claim:
    """The normalised error at pool5, the last layer with positions, mean over photos."""
    found = by_depth(evidence, "error").get("pool5")
    if found is None:
        raise DeepInsideError(
            "claims: expected pool5 among the layers inverted, found none; add it to technique.layers or set claims=[]."
        )
    return Claim(
        "inversion_matches_pool5",
        "Mahendran & Vedaldi 2014, Sect. 5.2",
        "pool5, the last layer with positions, can be inverted: an image is found with nearly its representation",
        found,
        "normalised error ≤ 0.15",
        found <= 0.15,
    )


def by_depth(evidence: Evidence, measure: str) -> dict[str, float]:
    """`measure` of the run's first variant by layer, from the shallowest to the deepest.

    Raises DeepInsideError where the run inverted fewer than two layers.
    """
    first = next(iter(evidence.techniques), "")
    start, end = f"{first}/" if first else "", f"/{measure}"
    shown = {name[len(start) : -len(end)]: v for name, v in evidence.metrics.items() if is_between(name, start, end)}
    layers = {safe_name(name): name for name in [*evidence.network.synonyms, *evidence.network.layers]}
    order = list(evidence.network.layers)
    found = {order.index(evidence.network.resolve(layers[name])): value for name, value in shown.items()}
    if len(found) < 2:
        raise DeepInsideError(
            f"claims: expected {measure} of several layers, found {len(found)}; use technique=inversion or claims=[]."
        )
    return {order[place]: found[place] for place in sorted(found)}


def is_between(name: str, start: str, end: str) -> bool:
    return name.startswith(start) and name.endswith(end)
