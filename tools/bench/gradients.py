"""Saliency, guided and DeconvNet maps of a batch, one target class a photo."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from bench import peers
from bench.networks import LAYOUTS, Bench, network
from bench.task import OURS, OURS_BF16, Task, Way
from bench.timing import Work
from deepinside.attribution.gradients import image_gradient
from deepinside.attribution.relu_rules import ReluRule, with_rule
from deepinside.networks.network import Network
from deepinside.networks.precision import to_device
from deepinside.targets import Target, resolve

RULES: dict[str, ReluRule] = {"saliency": "gradient", "guided": "guided", "deconvnet": "deconvnet"}
TITLES = {"saliency": "saliency", "guided": "guided back-propagation", "deconvnet": "DeconvNet"}
BATCHES = {"caffenet": 16, "vgg16": 2, "tinycaffenet": 16}


def maps(name: str, kind: str, batch: int) -> Task:
    """The task of `kind` on the network called `name`."""
    bench = network(name)
    x, classes = bench.photos(batch), bench.classes(batch)
    targets = [resolve(index, bench.network) for index in classes]
    return Task(
        f"{name}_{kind}",
        f"{bench.spec.name}: {TITLES[kind]}, {batch} photos",
        "photo",
        batch,
        tuple(ways(bench, kind, x, classes, targets)),
        operations=operations(bench, batch),
        truth=partial(plainly, bench, kind, x, targets, torch.float64),
        plain=partial(plainly, bench, kind, x, targets, torch.float32),
    )


def ways(bench: Bench, kind: str, x: Tensor, classes: Sequence[int], targets: Sequence[Target]) -> list[Way]:
    """Ours, then the peers' in both memory formats; for saliency in float32 and, put beside ours in bf16, in bf16."""
    magnitudes = torch.Tensor.abs if kind == "saliency" else torch.Tensor.clone  # Captum's Saliency gives those only
    theirs = partial(to_image_space, bench, magnitudes)
    found = [Way(OURS, gradients(bench.ruled(RULES[kind]), x, targets), magnitudes)]
    if kind == "saliency":
        half = gradients(to_device(bench.network, "cpu", "bf16"), x, targets)
        found.append(Way(OURS_BF16, half, magnitudes, "three digits", exact=False))
    for name, maps in peers.gradient_tools(kind).items():
        works = {layout: maps(*bench.in_layout(layout, x), classes) for layout in LAYOUTS}
        found += in_layouts(name, works, theirs)
        if kind == "saliency":
            halves = {layout: peers.autocast(work) for layout, work in works.items()}
            found += in_layouts(f"{name} bf16", halves, theirs, beside=OURS_BF16, exact=False)
    return found


def in_layouts(name: str, works: Mapping[str, Work], numbers: Work, **more: Any) -> list[Way]:
    """A peer's way in each memory format; the first is its usual one."""
    usual, *others = works.items()
    further = [Way(f"{name}, {layout}", work, numbers, layout_of=name, **more) for layout, work in others]
    return [Way(name, usual[1], numbers, **more), *further]


def gradients(net: Network, x: Tensor, targets: Sequence[Target]) -> Work:
    return lambda: image_gradient(net, x, targets)


def to_image_space(bench: Bench, magnitudes: Work, gradient: Tensor) -> Tensor:
    """A gradient with respect to the file's input as one with respect to pixels: the chain rule, for a linear map."""
    start = torch.zeros_like(gradient)
    return magnitudes(torch.autograd.functional.vjp(bench.network.input.native, start, gradient)[1])


def plainly(bench: Bench, kind: str, x: Tensor, targets: Sequence[Target], dtype: torch.dtype) -> Tensor:
    """The maps by PyTorch alone on the plainly converted network, in a precision; magnitudes where saliency's are."""
    network = with_rule(bench.unquickened, RULES[kind])[0].to(dtype=dtype)
    found = image_gradient(network, x.to(dtype), targets).float()
    return found.abs() if kind == "saliency" else found


def operations(bench: Bench, batch: int) -> float:
    """Floating-point operations of convolutions and matrix products for a batch, forward and back to the image."""
    start = bench.native(bench.photos(batch)).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        scores = bench.unquickened.module(start * 1)  # the counter cannot count back to what was not computed
        torch.autograd.grad(scores.sum(), start)
    return float(counter.get_total_flops())
