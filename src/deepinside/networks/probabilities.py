"""Whether what a network gives as class scores are probabilities: asked of the numbers, not of the operators."""

import torch
from torch import Tensor

from deepinside.networks.network import Network
from deepinside.networks.verification import probe_images

ROUNDING = 1e-3
"""How far from one a sum of probabilities may be: half precision and a guard against log 0 leave it that near."""


def said_of_scores(network: Network) -> tuple[str, ...]:
    """A sentence where the class scores of some images look like probabilities; none where they look like scores."""
    with torch.no_grad():
        scores = network.scores(various_images(network))
    found = likeness(scores)
    if not found:
        return ()
    return (
        f"The class scores of {network.name} (layer {network.target}) {found} on all of {len(scores)} probe images: "
        f"they look like probabilities, whose maps are not those of class scores; set target to the layer before, or "
        f"export the network without what makes probabilities.",
    )


def likeness(scores: Tensor) -> str:
    """What tells scores (N, classes) as probabilities, as a verb and its object; empty where nothing does."""
    sums = scores.sum(1)
    if scores.shape[1] > 1 and bool((scores >= 0).all()) and bool(((sums - 1).abs() <= ROUNDING).all()):
        return "are non-negative and sum to one"
    return "lie between 0 and 1" if bool(((scores > 0) & (scores < 1)).all()) else ""


def various_images(network: Network) -> Tensor:
    """Black, white and two noisy images in image space."""
    shape = (1, network.input.count, *network.size)
    plain = [network.input.to_network(torch.full(shape, level, dtype=torch.uint8)) for level in (0, 255)]
    images: Tensor = torch.cat([*plain, probe_images(network)])
    return images.to(network.device, network.dtype)
