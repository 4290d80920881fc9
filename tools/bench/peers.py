"""The same work by Captum, Zennit and torch-lucent, each used as its own documentation uses it.

They are given the plainly converted network in the file's own convention of input. They come from `.[bench]`; what is
not installed is left out of the tables, and named.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from bench.timing import Work

PACKAGES = ("captum", "zennit", "torch-lucent")
# what torchvision declares and a CUDA build of it cannot load beside a torch for the CPU
OPERATORS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",)
OPERATORS += ("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",)
DECLARED: list[torch.library.Library] = []


def versions() -> dict[str, str | None]:
    """By package its version, None where it is not installed."""
    return {name: installed(name) for name in PACKAGES}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---------------------------------------------------------------------------------------------------- gradients


Maps = Callable[[nn.Module, Tensor, Sequence[int]], Work]
"""From a model, its input and a class for each photo to the work that gives the maps."""


def gradient_tools(kind: str) -> dict[str, Maps]:
    """By name, what gives the maps of `kind` and is installed; PyTorch alone for saliency only."""
    found: dict[str, Maps] = {}
    if installed("captum"):
        found["captum"] = partial(captum_maps, kind)
    if installed("zennit"):
        found["zennit"] = partial(zennit_maps, kind)
    return found | ({"autograd": autograd_maps} if kind == "saliency" else {})


def autocast(work: Work) -> Work:
    """The same in bf16 as PyTorch's users have it: convolutions and products in bf16, the weights cast at each call."""

    def half() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return work()

    return half


def captum_maps(kind: str, model: nn.Module, x: Tensor, classes: Sequence[int]) -> Work:
    """Captum's Saliency, GuidedBackprop or Deconvolution: (N, C, H, W). Saliency gives magnitudes."""
    from captum.attr import Deconvolution, GuidedBackprop, Saliency

    method = {"saliency": Saliency, "guided": GuidedBackprop, "deconvnet": Deconvolution}[kind](model)
    targets = torch.tensor(classes)

    def work() -> Tensor:
        with warnings.catch_warnings():  # it warns of the gradients and hooks it sets itself
            warnings.simplefilter("ignore")
            return method.attribute(x.clone(), target=targets).detach()

    return work


def zennit_maps(kind: str, model: nn.Module, x: Tensor, classes: Sequence[int]) -> Work:
    """Zennit's Gradient, alone or with one of its composites: (N, C, H, W)."""
    import_torchvision()
    from zennit.attribution import Gradient
    from zennit.composites import DeconvNet, GuidedBackprop

    composite = {"saliency": lambda: None, "guided": GuidedBackprop, "deconvnet": DeconvNet}[kind]
    places = torch.arange(len(classes)), torch.tensor(classes)

    def one_hot(output: Tensor) -> Tensor:
        chosen = torch.zeros_like(output)
        chosen[places] = 1
        return chosen

    def work() -> Tensor:
        with Gradient(model=model, composite=composite()) as attributor:
            return attributor(x.clone(), one_hot)[1].detach()

    return work


def autograd_maps(model: nn.Module, x: Tensor, classes: Sequence[int]) -> Work:
    """PyTorch alone: the gradient of the scores' sum."""
    places = torch.arange(len(classes)), torch.tensor(classes)

    def work() -> Tensor:
        start = x.clone().requires_grad_()
        return torch.autograd.grad(model(start)[places].sum(), start)[0]

    return work


# ---------------------------------------------------------------------------------------------------- class models


def lucent_climbs(
    model: nn.Module, layer: str, classes: Sequence[int], start: Tensor, native: Callable[[Tensor], Tensor],
    *, steps: int, rate: float, l2: float, together: bool,
) -> Work:  # fmt: skip
    """torch-lucent's `render_vis` for Simonyan's objective, S_c(I) − l2·‖I‖²: (classes, C, H, W) in image space,
    from `start` of the same shape.

    One image a call, or all in one batch (`together`). It climbs by torch's SGD with momentum 0.9.
    """
    lucent = import_lucent()

    def render(group: Sequence[int], begin: Tensor) -> Tensor:
        x = begin.clone().requires_grad_()
        found = lucent.render.render_vis(
            model, objective(lucent, layer, group, l2), lambda: ([x], lambda: x), thresholds=(steps,),
            optimizer=lambda params: torch.optim.SGD(params, lr=rate, momentum=0.9), transforms=[native],
            preprocess=False, progress=False, show_image=False, fixed_image_size=tuple(x.shape[2:]),
        )  # fmt: skip
        close_hooks(model)  # it leaves one in every layer at each call
        return torch.from_numpy(found[-1].transpose(0, 3, 1, 2))

    def work() -> Tensor:
        if together:
            return render(classes, start)
        return torch.cat([render([index], start[i : i + 1]) for i, index in enumerate(classes)])

    return work


def objective(lucent: Any, layer: str, classes: Sequence[int], l2: float) -> Any:
    """Minus the sum over images of the class score and of minus l2·‖I‖²: torch-lucent minimises."""
    scores = [lucent.objectives.channel(layer, index, batch=place) for place, index in enumerate(classes)]
    size = lucent.objectives.Objective(lambda values: l2 * values("input").square().sum(), "size")
    return lucent.objectives.Objective.sum(scores) + size


def close_hooks(model: nn.Module) -> None:
    for module in model.modules():
        module._forward_hooks.clear()


# ---------------------------------------------------------------------------------------------------- imports


@cache
def import_lucent() -> Any:
    import_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its kornia uses what torch has deprecated since
        from lucent.optvis import objectives, render
    return SimpleNamespace(objectives=objectives, render=render)


@cache
def import_torchvision() -> None:
    """Import torchvision. A CUDA build does not load beside a torch for the CPU: its operators are declared then."""
    try:
        import_module("torchvision")
    except RuntimeError:
        forget("torchvision")
        DECLARED.append(torch.library.Library("torchvision", "DEF"))  # undone when nobody holds it
        for operator in OPERATORS:
            DECLARED[-1].define(operator)
        import_module("torchvision")


def forget(package: str) -> None:
    """Forget what a failed import has left behind."""
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        del sys.modules[name]
