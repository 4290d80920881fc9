"""Fooling images: the photo changed a little, so that the network takes it for another class (Szegedy et al. 2013).

Found by DeepFool's steps (Moosavi-Dezfooli et al. 2016), towards a chosen class. A step goes to where the margin would
vanish if it were linear, so its length is in intensities and suits networks of every scale. On SqueezeNet the changes
have about half the norm of those found by steps of a fixed length along the gradient of the target's score (CS231n,
assignment 3), because the class that is ahead is lowered too and no step is longer than needed.
"""

from collections.abc import Sequence

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.gradients import forward_centre_crop
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics.prediction import of_photo, predict, written
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import probability
from deepinside.optimisation.optimisers import root_mean_square
from deepinside.targets import Target, TargetRequest, as_written, class_target, resolve, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput

BY_PHOTO = ("second", "random", "least")
"""The targets that depend on the photo: the second largest score, any class but the first, the smallest score."""
SHORTEST, LONGEST = 0.01, 1.0
"""Limits of a step's root mean square, in intensities. Shorter steps could leave the rounded picture as it is, and far
from the photo its gradient says nothing."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Fooling:
    """x ← x − (1 + overshoot) · m(x₈) / ‖∇m(x₈)‖² · ∇m(x₈), from the photo, until x₈ is classified as the target.

    x₈ is x as an image file has it, rounded and clipped to 0–255. m is the largest score of the other classes minus the
    target's. Steps have a root mean square of 0.01 to 1 intensities. `target` is "second", the class with the second
    largest score; "random", any class but the first, drawn for each photo; "least", the one with the smallest score; or
    a class or group (see `deepinside.targets`). A photo that is not fooled after `steps` steps is a failure.
    """

    target: TargetRequest = "second"
    steps: PositiveInt = 100
    overshoot: NonNegativeFloat = 0.02

    def check(self, network: Network) -> None:
        """Raise DeepInsideError if the network has no second class, or the target is not one of its classes."""
        if network.classes < 2:
            raise DeepInsideError(
                f"target: expected a network with at least two classes, found {network.name} with {network.classes}."
            )
        if self.target not in BY_PHOTO:
            target = resolve(self.target, network)
            if target.layer != network.target or len(target.channels) == network.classes:
                raise DeepInsideError(
                    f"target: expected {', '.join(BY_PHOTO)}, a class or a group of some classes, found "
                    f"{as_written(self.target)!r}."
                )

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item per photo: the photo, the fooling image in eight bits, and their difference, magnified."""
        if not len(batch):
            return TechniqueOutput(())
        forward, _ = forward_centre_crop(network, batch, "top1")
        x, before = forward.x.detach(), forward.scores
        del forward  # frees its activations
        targets = self.targets(network, batch.photos, before, seeds)
        images, steps = self.fool(network, x, targets)
        with torch.no_grad():
            after = network.scores(images).cpu()
        shown, changed = (as_shown(some, network).cpu() for some in (x, images))
        rows = zip(batch.photos, shown, changed, before.cpu(), after, targets, steps, strict=True)
        said = "DeepFool's steps, not the box-constrained L-BFGS of Szegedy et al. 2013"
        return TechniqueOutput(tuple(item(network, *row) for row in rows), (said,))

    def targets(self, network: Network, photos: Sequence[Photo], scores: Tensor, seeds: Seeds) -> list[Target]:
        """The target of every photo, from the class scores (N, classes)."""
        if self.target == "second":
            return [class_target(index, network) for index in scores.topk(2).indices[:, 1].tolist()]
        if self.target == "least":
            return [class_target(index, network) for index in scores.argmin(1).tolist()]
        if self.target != "random":
            return [resolve(self.target, network)] * len(photos)
        streams = [seeds.generator(photo.number, "fooling") for photo in photos]
        draws = [int(torch.randint(network.classes - 1, (), generator=stream)) for stream in streams]
        best = scores.argmax(1).tolist()
        return [class_target(draw + (draw >= first), network) for draw, first in zip(draws, best, strict=True)]

    def fool(self, network: Network, x: Tensor, targets: Sequence[Target]) -> tuple[Tensor, list[int]]:
        """The images (N, C, H, W) in eight bits, mean-subtracted, and the number of steps that each took."""
        exact, images = x.clone(), in_eight_bits(x, network)
        steps, active = [0] * len(x), list(range(len(x)))
        for _ in range(self.steps):
            margin, gradient = margins(network, images[active], [targets[i] for i in active])
            ahead = (margin > 0).tolist()
            active = [i for i, is_ahead in zip(active, ahead, strict=True) if is_ahead]
            if not active:
                break
            exact[active] += self.step(margin[ahead], gradient[ahead])
            images[active] = in_eight_bits(exact[active], network)
            for i in active:
                steps[i] += 1
        return images, steps

    def step(self, margin: Tensor, gradient: Tensor) -> Tensor:
        """The step (N, C, H, W) to where linear margins (N,) of this `gradient` vanish, and a little beyond."""
        rms = root_mean_square(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
        length = (1 + self.overshoot) * margin.view(-1, 1, 1, 1) / (rms * gradient[0].numel())
        return -length.clamp(SHORTEST, LONGEST) * gradient / rms


def margin_of(scores: Tensor, targets: Sequence[Target]) -> Tensor:
    """The largest score of the other classes minus the target's, (N,), from class scores (N, classes)."""
    own = torch.zeros_like(scores, dtype=torch.bool)
    for row, target in zip(own, targets, strict=True):
        row[list(target.channels)] = True
    others, best = (scores.masked_fill(mask, -torch.inf).amax(1) for mask in (own, ~own))
    return others - best


def margins(network: Network, x: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """The margin (N,) of each photo and its gradient, as `x` (N, C, H, W)."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        margin = margin_of(network.scores(x), targets)
        (gradient,) = torch.autograd.grad(margin.sum(), x)
    return margin.detach(), gradient


def as_shown(x: Tensor, network: Network) -> Tensor:
    """Mean-subtracted `x` (N, C, H, W) as intensities 0–255, rounded and clipped."""
    return (x + network.mean).round().clamp(0, 255)


def in_eight_bits(x: Tensor, network: Network) -> Tensor:
    """`x` (N, C, H, W) as an image file would have it, mean-subtracted again."""
    return as_shown(x, network) - network.mean


def item(
    network: Network, photo: Photo, shown: Tensor, image: Tensor, before: Tensor, after: Tensor, target: Target,
    steps: int,
) -> Item:  # fmt: skip
    """One photo: `shown` and `image` are intensities (C, H, W), `before` and `after` class scores (classes,)."""
    change = image - shown
    times, prediction = magnification(change), of_photo(photo, network, before, target)
    panels = (
        Panel("photo", shown, "photo", str(prediction.best[0])),
        Panel("fooling", image, "photo", str(predict(photo.stem, network, after).best[0])),
        Panel("difference", 127.5 + times * change, "photo", f"difference × {times}"),
    )
    notes, found = target_notes(photo, target), {}
    if is_classified(before, target):
        notes += (f"{photo.stem} is classified as {target.name} already, so it is not changed and not counted.",)
    else:
        found = {**sizes(shown, change), **answers(network, before, after, target), "iterations": float(steps)}
    single = len(target.channels) == 1 and network.labels
    return Item(
        photo.stem, photo.stem, panels, found, notes=notes, depicts=written(target, network) if single else None,
        prediction=prediction,
    )  # fmt: skip


def is_classified(scores: Tensor, target: Target) -> bool:
    """Whether one photo's class scores (classes,) have the target first."""
    return bool(margin_of(scores[None], [target]) <= 0)


def magnification(change: Tensor) -> int:
    """The factor that takes all but the largest 0.5 % of the change's absolute values to at most half the range."""
    return max(1, int(127.5 / max(change.abs().flatten().quantile(0.995).item(), 1.0)))


def sizes(shown: Tensor, change: Tensor) -> dict[str, float]:
    """The norm of the change, relative to the photo's and in intensities, and its largest absolute value."""
    return {
        "relative_change": (change.norm() / shown.norm()).item(),
        "rms_change": root_mean_square(change[None]).item(),
        "largest_change": change.abs().max().item(),
    }


def answers(network: Network, before: Tensor, after: Tensor, target: Target) -> dict[str, float]:
    """Whether the target comes first, and the probabilities of it and of the photo's first class."""
    original = class_target(int(before.argmax()), network)
    found = {"success": float(is_classified(after, target))}
    for name, one in (("target", target), ("original", original)):
        found[f"{name}_posterior_before"] = probability(before, one, network.posterior)
        found[f"{name}_posterior_after"] = probability(after, one, network.posterior)
    return found
