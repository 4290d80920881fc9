"""Detects class scores that are really probabilities, from their values rather than the operators."""

import torch
from torch import Tensor

from deepinside.networks.network import Network
from deepinside.networks.verification import probe_images

ROUNDING = 1e-3
"""The tolerance for a sum of probabilities: half precision and a guard against log 0 change it by up to this."""


def score_notes(network: Network) -> tuple[str, ...]:
    """A sentence if the class scores of some images look like probabilities; none otherwise."""
    if not network.classes:
        return ()
    with torch.no_grad():
        scores = network.scores(varied_images(network))
    found = probability_evidence(scores)
    if not found:
        return ()
    return (
        f"The class scores of {network.name} (layer {network.target}) {found} on all of {len(scores)} probe images: "
        f"they look like probabilities, whose maps differ from those of class scores; set target to the layer before, "
        f"or export the network without its final soft-max or sigmoid.",
    )


def probability_evidence(scores: Tensor) -> str:
    """Why scores (N, classes) look like probabilities, as a verb and its object; empty if they do not."""
    sums = scores.sum(1)
    if scores.shape[1] > 1 and bool((scores >= 0).all()) and bool(((sums - 1).abs() <= ROUNDING).all()):
        return "are non-negative and sum to one"
    return "are between 0 and 1" if bool(((scores > 0) & (scores < 1)).all()) else ""


def varied_images(network: Network) -> Tensor:
    """Black, white and two noisy images in image space."""
    shape = (1, network.input.count, *network.size)
    plain = [network.input.to_network(torch.full(shape, intensity, dtype=torch.uint8)) for intensity in (0, 255)]
    images: Tensor = torch.cat([*plain, probe_images(network)])
    return images.to(network.device, network.dtype)
