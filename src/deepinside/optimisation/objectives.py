"""Objectives: the class score, or a posterior computed from the class scores."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.networks.spec import Posterior
from deepinside.targets import Target

Objective = Literal["score", "log_posterior", "posterior"]
"""`score` is S_c, before the soft-max (Simonyan et al. 2013, Sect. 2); the others pass it through the soft-max, or
through a sigmoid in networks whose photos may be of several classes."""


def measure(network: Network, x: Tensor, targets: Sequence[Target], kind: Objective) -> Tensor:
    """The objective of item i of `x` (N, C, H, W) for `targets[i]`, as (N,).

    Only the part of the network that the targets need is run. For a group of classes the score is the mean of the
    classes' scores, and the posterior is the sum of their posteriors. Raises DeepInsideError for a posterior of units.
    """
    layers = sorted({target.layer for target in targets})
    activations = network.activations(x, layers)
    return objective_values(activations, targets, kind, network)


def objective_values(
    activations: Mapping[str, Tensor], targets: Sequence[Target], kind: Objective, network: Network
) -> Tensor:
    """The objective (N,) of item i for `targets[i]`, from the activations (N, …) of the targets' layers."""
    # split, not sliced: the backward pass of N slices would make N gradients of the full size
    items = {layer: activations[layer].split(1) for layer in {target.layer for target in targets}}
    return torch.cat([objective_value(items[t.layer][i], t, kind, network) for i, t in enumerate(targets)])


def objective_value(activation: Tensor, target: Target, kind: Objective, network: Network) -> Tensor:
    """The objective (1,) of one item from its layer's activation (1, C) or (1, C, H, W)."""
    check_objective(kind, target, network.target)
    if kind == "score":
        return target.read(activation)
    log_posterior = class_posterior(activation, target, network.posterior).log_softmax(1)[:, 0]
    return log_posterior if kind == "log_posterior" else log_posterior.exp()


def check_objective(kind: Objective, target: Target, class_layer: str) -> None:
    """Raise DeepInsideError for a posterior of a target that is not of classes."""
    if kind != "score" and target.layer != class_layer:
        raise DeepInsideError(
            f"objective: {kind} is defined for classes, found {target.name!r} in {target.layer}; use objective=score."
        )


def class_posterior(activation: Tensor, target: Target, posterior: Posterior) -> Tensor:
    """(1, 2): the log-odds of the target's classes are the first number minus the second.

    Soft-max: the log-sum-exp of the target's classes, and that of all other classes. Sigmoid: the log-odds that at
    least one of the target's classes is present, classes being independent, and 0, since other classes do not matter.
    """
    scores = activation.flatten(2).mean(2) if activation.ndim == 4 else activation
    if posterior == "sigmoid":
        odds = any_of(scores[:, list(target.channels)])
        return torch.stack([odds, torch.zeros_like(odds)], 1)
    chosen = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    chosen[list(target.channels)] = True
    return torch.stack([scores[:, chosen].logsumexp(1), scores[:, ~chosen].logsumexp(1)], 1)


def any_of(scores: Tensor) -> Tensor:
    """log(p / (1 − p)) of p = 1 − Π (1 − σ(s_i)), (N,) from (N, K): exp(Σ log(1 + exp s_i)) − 1 are the odds."""
    if scores.shape[1] == 1:
        return scores[:, 0]
    total = softplus(scores).sum(1)
    return total + torch.log(-torch.expm1(-total))


SATURATED = 1e-6
"""The distance from 1. float32 has a resolution of 6e-8 there, so that the rest has few significant digits."""


def is_saturated(posterior: float) -> bool:
    """Whether a posterior is so close to 1 that its gradient in float32 is rounding error."""
    return posterior > 1 - SATURATED


def probability(scores: Tensor, target: Target, posterior: Posterior) -> float:
    """The posterior of a target's classes from one photo's class scores (classes,)."""
    if posterior == "softmax":
        return scores.softmax(0)[list(target.channels)].sum().item()
    return any_of(scores[None, list(target.channels)]).sigmoid().item()
