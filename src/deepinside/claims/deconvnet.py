"""Simonyan et al. 2013, Sect. 4, layer by layer: what a DeconvNet (Zeiler & Fergus 2013) does equals the gradient.

Both operations are written out here as in the DeconvNet's paper, without automatic differentiation.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepinside.attribution.gradients import centre_crop, forward_centre_crop
from deepinside.attribution.relu_rules import count_relus, find_relus, with_rule
from deepinside.claims.registry import Evidence, Measurement, NotMeasuredError, claim
from deepinside.claims.simonyan import NO_GRADIENT, largest
from deepinside.metrics.similarity import rank_correlation
from deepinside.networks.network import Network
from deepinside.techniques.layer_gradients import gradients_at, one_by_one
from deepinside.types import ImageBatch

Deconvolved = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""A layer, its input X_n and the signal R_{n+1} at its output → R_n."""


@claim
def deconvnet_is_gradient_at_convolutions(evidence: Evidence) -> Measurement:
    """Largest relative difference between autograd and a convolution with flipped kernels, over all convolutions."""
    return layer_differences(evidence, nn.Conv2d, convolved_with_flipped_kernels)


@claim
def deconvnet_is_gradient_at_max_pooling(evidence: Evidence) -> Measurement:
    """Largest relative difference between autograd and unpooling at the maxima (switches), over all max-poolings."""
    return layer_differences(evidence, nn.MaxPool2d, unpooled_at_switches)


@claim
def deconvnet_departs_relu_by_relu(evidence: Evidence) -> Measurement:
    """Spearman's rank correlation of the ReLUs passed and the agreement of the two signals, over layers, by photo."""
    network = evidence.network
    if not list(find_relus(network.module, network.gates)):
        raise NotMeasuredError("the network has no ReLU, so DeconvNet and gradient are the same")
    above = count_relus(network, network.target)
    passed = {layer: above - count_relus(network, layer) for layer in network.layers}
    ruled, found = with_rule(network, "deconvnet")[0], []
    for photo in one_by_one(evidence.batch):  # every layer's signal of several photos may not fit the memory
        agreement = agreement_by_layer(network, ruled, photo)
        if len(agreement) > 1:
            counts = torch.tensor([passed[layer] for layer in agreement])
            found.append(rank_correlation(counts, torch.tensor([*agreement.values()])))
    if not found:
        raise NotMeasuredError(NO_GRADIENT)
    return Measurement(np.array(found)[:, None])


def agreement_by_layer(network: Network, ruled: Network, batch: ImageBatch) -> dict[str, float]:
    """The cosine similarity of the gradient with the signal of the `ruled` network, by layer below the class scores.

    For the top class of the only photo of `batch`. Layers where one of the two is zero are left out.
    """
    first, second = signals(network, batch), signals(ruled, batch)
    alive = [name for name in first if first[name].any() and second[name].any()]
    return {name: torch.cosine_similarity(first[name], second[name], dim=0).item() for name in alive}


def signals(network: Network, batch: ImageBatch) -> dict[str, Tensor]:
    """By layer that leads to the top class's score, (values,): what the backward pass brings there."""
    below = [name for name in network.layers if name != network.target]
    forward, targets = forward_centre_crop(network, batch, "top1", below)
    return {name: one.gradient.flatten() for name, one in gradients_at(forward, targets, below).items()}


def layer_differences(evidence: Evidence, kind: type[nn.Module], deconvolved: Deconvolved) -> Measurement:
    """For each photo the largest relative difference over all layers of a kind, for random signals, in float64."""
    network = evidence.network.to(dtype=torch.float64)
    found: list[Tensor] = []
    for layer, x in inputs_of_layers(network, evidence.batch.pixels.double(), kind):
        x = x.detach().requires_grad_()
        above = layer(x)
        draws = [
            torch.randn(above.shape[1:], generator=evidence.seeds.generator(photo.number, f"signal {len(found)}"))
            for photo in evidence.batch.photos
        ]
        signal = torch.stack(draws).to(above)
        (gradient,) = torch.autograd.grad(above, x, signal)
        difference = (deconvolved(layer, x.detach(), signal) - gradient).flatten(1).abs().amax(1)
        found.append(difference / gradient.flatten(1).abs().amax(1))
    if not found:
        raise NotMeasuredError(f"the network has no layer of type {kind.__name__}")
    return Measurement(torch.stack(found).amax(0).cpu().numpy()[:, None], largest, exact=True)


def inputs_of_layers(network: Network, pixels: Tensor, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, Tensor]]:
    """Every layer of a kind with its input, for the photos' centre crops."""
    (crop,) = centre_crop((pixels.shape[2], pixels.shape[3]), network.size)
    found: list[tuple[nn.Module, Tensor]] = []
    layers = [module for module in network.module.modules() if isinstance(module, kind)]
    hooks = [layer.register_forward_pre_hook(lambda m, args: found.append((m, args[0]))) for layer in layers]
    try:
        with torch.no_grad():
            network.module(network.input.native(crop.cut(pixels, network.size)))
    finally:
        for hook in hooks:
            hook.remove()
    yield from found


def convolved_with_flipped_kernels(layer: nn.Module, x: Tensor, signal: Tensor) -> Tensor:
    """R_{n+1} with zeros between its positions if the layer has a stride, convolved with the flipped kernels."""
    assert isinstance(layer, nn.Conv2d) and not isinstance(layer.padding, str)
    groups, (tall, wide) = layer.groups, layer.kernel_size
    spaced = signal.new_zeros(
        *signal.shape[:2], *((n - 1) * s + 1 for n, s in zip(signal.shape[2:], layer.stride, strict=True))
    )
    spaced[:, :, :: layer.stride[0], :: layer.stride[1]] = signal
    kernels = layer.weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
    reach = [d * (k - 1) for d, k in zip(layer.dilation, (tall, wide), strict=True)]
    full = F.conv2d(spaced, kernels, padding=reach, dilation=layer.dilation, groups=groups)
    (top, left), (height, width) = layer.padding, x.shape[2:]
    full = F.pad(full, (0, max(0, left + width - full.shape[3]), 0, max(0, top + height - full.shape[2])))
    return full[:, :, top : top + height, left : left + width]


def unpooled_at_switches(layer: nn.Module, x: Tensor, signal: Tensor) -> Tensor:
    """Zeros, except that R_{n+1} is added at the position of each window's maximum."""
    assert isinstance(layer, nn.MaxPool2d)
    _, switches = F.max_pool2d(
        x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, return_indices=True
    )
    found = torch.zeros_like(x).flatten(2)
    return found.scatter_add(2, switches.flatten(2), signal.flatten(2)).view_as(x)
