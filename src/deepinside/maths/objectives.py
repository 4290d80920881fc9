"""What is raised: the class score, or a probability made of the class scores."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.targets import Target

Objective = Literal["score", "log_posterior", "posterior"]
"""`score` is S_c, before the soft-max (Simonyan et al. 2013, Sect. 2); the others pass it through the soft-max."""


def measure(network: Network, x: Tensor, targets: Sequence[Target], kind: Objective) -> Tensor:
    """The objective of item i of `x` (N, C, H, W) for `targets[i]`, as (N,).

    Only the part of the network that the targets need is run. For a group of classes the score is the mean of its
    classes' scores and the posterior their sum. Raises DeepInsideError for a posterior of anything but classes.
    """
    layers = sorted({target.layer for target in targets})
    activations = network.activations(x, layers)
    return outcomes(activations, targets, kind, network.target)


def outcomes(activations: Mapping[str, Tensor], targets: Sequence[Target], kind: Objective, class_layer: str) -> Tensor:
    """The objective (N,) of item i for `targets[i]`, from the activations (N, …) of the targets' layers."""
    # split, not sliced: back from N slices would come N gradients as large as the whole
    items = {layer: activations[layer].split(1) for layer in {target.layer for target in targets}}
    return torch.cat([outcome(items[t.layer][i], t, kind, class_layer) for i, t in enumerate(targets)])


def outcome(activation: Tensor, target: Target, kind: Objective, class_layer: str) -> Tensor:
    """The objective (1,) of one item from its layer's activation (1, C) or (1, C, H, W)."""
    check_objective(kind, target, class_layer)
    if kind == "score":
        return target.read(activation)
    log_posterior = class_posterior(activation, target).log_softmax(1)[:, 0]
    return log_posterior if kind == "log_posterior" else log_posterior.exp()


def check_objective(kind: Objective, target: Target, class_layer: str) -> None:
    """Raise DeepInsideError for a posterior of anything but classes."""
    if kind != "score" and target.layer != class_layer:
        raise DeepInsideError(
            f"objective: {kind} is defined for classes, found {target.name!r} in {target.layer}; use objective=score."
        )


def class_posterior(activation: Tensor, target: Target) -> Tensor:
    """(1, 2): the log of the summed exponentials of the target's classes, and of all other classes."""
    scores = activation.flatten(2).mean(2) if activation.ndim == 4 else activation
    chosen = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    chosen[list(target.channels)] = True
    return torch.stack([scores[:, chosen].logsumexp(1), scores[:, ~chosen].logsumexp(1)], 1)
