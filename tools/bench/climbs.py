"""Optimisations: class models of twelve classes, a sweep of eight λ, and inversion."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench import peers
from bench.gradients import operations
from bench.networks import Bench, network
from bench.task import CLIMBED, OURS, Task, Way
from bench.timing import Work
from deepinside.attribution.gradients import image_gradient
from deepinside.networks.network import Network
from deepinside.optimisation.optimisers import Momentum, OptimisationRequest
from deepinside.targets import resolve
from deepinside.techniques.class_model import ClassModel
from deepinside.techniques.inversion import Inversion
from deepinside.types import ImageBatch, Photo, Seeds, TechniqueOutput

L2, NOISE = 1e-6, 20.0
COMPARED = 3
SEEDS = Seeds(0)
NOTHING = ImageBatch((), torch.zeros(0, 3, 1, 1))


def class_models(name: str, count: int, steps: int) -> Task:
    """Class models of `count` classes in one batch, one by one, and by torch-lucent."""
    bench = network(name)
    classes = bench.classes(count)
    rate = sensible_rate(bench, classes)

    def alone(steps: int) -> Tensor:
        one = one_class_model(steps, rate)
        return torch.cat([request(bench, one([index])).answer().images for index in classes])

    def together(steps: int) -> Tensor:
        return request(bench, one_class_model(steps, rate)(classes)).answer().images

    found = [way(OURS, together, steps, torch.Tensor.clone, "all in one batch; of every way the optimisation alone")]
    found.append(way("one by one", alone, steps, torch.Tensor.clone))
    if peers.installed("torch-lucent"):
        found += lucent_ways(bench, classes, steps, rate)
    return Task(
        f"{name}_class_models", f"{name}: class models of {count} classes", "image and step", count * steps,
        tuple(found), operations=steps * operations(bench, count), tolerance=CLIMBED,
    )  # fmt: skip


def way(name: str, climb: Callable[[int], Any], steps: int, numbers: Callable[[Any], Tensor], why: str = "") -> Way:
    """A climb of so many steps, whose numbers are compared after the first few: later ones are roundings grown large,
    for every step multiplies them."""
    return Way(name, partial(climb, steps), numbers, why, trial=partial(climb, min(steps, COMPARED)))


def one_class_model(steps: int, rate: float, l2: float = L2) -> Callable[[Sequence[int]], ClassModel]:
    """Class models by the paper's own objective and plain gradient ascent with momentum."""
    optimiser = Momentum(steps=steps, rate=rate, momentum=0.9)
    # Not from the zero image: there all places of a layer are alike, and which is the largest is decided by rounding
    return lambda classes: ClassModel(targets=tuple(classes), l2=l2, start="noise", noise=NOISE, optimiser=optimiser)


def sensible_rate(bench: Bench, classes: Sequence[int]) -> float:
    """A tenth of a pixel level a step at the start, root mean square: torch-lucent has no rate in pixels."""
    zero = bench.network.mean.new_zeros(1, len(bench.network.mean), *bench.network.size)
    gradient = image_gradient(bench.network, zero, [resolve(classes[0], bench.network)])
    return float(0.1 / gradient.square().mean().sqrt())


def lucent_ways(bench: Bench, classes: Sequence[int], steps: int, rate: float) -> list[Way]:
    """Its usual way, and the fastest that can be had of it."""
    layer = next(str(n.target) for n in bench.plain.graph.nodes if n.meta.get("layer") == bench.network.target)
    targets = [resolve(index, bench.network) for index in classes]
    start = one_class_model(steps, rate)(classes).begin(bench.network, NOTHING, targets, SEEDS)

    def climb(together: bool, steps: int) -> Tensor:
        work = peers.lucent_climbs(
            bench.plain, layer, classes, start, bench.native, steps=steps, rate=rate, l2=L2, together=together
        )
        return freed(bench, work, frozen=together)

    best = "all in one batch and the weights frozen, the best it can do"
    return [
        way("torch-lucent", partial(climb, False), steps, torch.Tensor.clone, "one image a call, as its examples do"),
        way("torch-lucent, batch", partial(climb, True), steps, torch.Tensor.clone, best),
    ]


def freed(bench: Bench, climb: Work, *, frozen: bool) -> Tensor:
    """The climb with the weights frozen or, as they are when nobody thinks of it, not."""
    bench.plain.requires_grad_(not frozen)
    try:
        return climb()
    finally:
        bench.plain.requires_grad_(True).zero_grad()


def request(bench: Bench, run: ClassModel) -> OptimisationRequest:
    """The climb that a run asks for; what is done once, before and after, is left out: there are few steps here."""
    return next(run.optimisation_requests(bench.network, NOTHING, SEEDS))


# ---------------------------------------------------------------------------------------------------- a sweep


def sweep(name: str, steps: int) -> Task:
    """A sweep of eight λ, joined in one batch, and run by run."""
    bench = network(name)
    classes = bench.classes(8)[3:4]
    rate = sensible_rate(bench, classes)

    def runs(steps: int) -> list[ClassModel]:
        return [one_class_model(steps, rate, L2 * 2**power)(classes) for power in range(8)]

    def alone(steps: int) -> Tensor:
        return torch.cat([request(bench, run).answer().images for run in runs(steps)])

    def together(steps: int) -> Tensor:
        first, *others = [request(bench, run) for run in runs(steps)]
        return first.join(others).answer().images

    return Task(
        f"{name}_sweep", f"{name}: a sweep of eight λ", "image and step", 8 * steps,
        (way(OURS, together, steps, torch.Tensor.clone, "eight runs in one batch"),
         way("one by one", alone, steps, torch.Tensor.clone)),
        operations=steps * operations(bench, 8), tolerance=CLIMBED,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- inversion


def inversion(name: str, photos: int, steps: int) -> Task:
    """Photos found again from conv3 and from relu5."""
    bench = network(name)
    x = bench.photos(photos)
    singly = [as_batch(x[place : place + 1], place) for place in range(photos)]

    def alone(net: Network, steps: int) -> list[TechniqueOutput]:
        return [one_inversion(steps, at_once=1)(net, batch, SEEDS) for batch in singly]

    def together(steps: int) -> list[TechniqueOutput]:
        return [one_inversion(steps, at_once=2)(bench.network, as_batch(x), SEEDS)]

    numbers, why = reconstructions(bench), "one by one, on the plainly converted network"
    ways = (
        way(OURS, together, steps, numbers, "all in one batch"),
        way("one by one", partial(alone, bench.network), steps, numbers),
        way("plain graph", partial(alone, bench.unquickened), steps, numbers, why),
    )
    title, images = f"{name}: inversion at conv3 and relu5, {photos} photos", 2 * photos
    note = "No peer does this."
    return Task(f"{name}_inversion", title, "image and step", images * steps, ways, tolerance=CLIMBED, note=note)


def one_inversion(steps: int, *, at_once: int) -> Inversion:
    optimiser = Momentum(schedule=((steps, 0.004),))
    return Inversion(layers=("conv3", "relu5"), optimiser=optimiser, layers_at_once=at_once)


def as_batch(x: Tensor, first: int = 0) -> ImageBatch:
    """Photos in image space as a batch."""
    photos = [Photo(f"photo{first + i}", image, "", number=first + i) for i, image in enumerate(x)]
    return ImageBatch(tuple(photos), x)


def reconstructions(bench: Bench) -> Callable[[Sequence[TechniqueOutput]], Tensor]:
    mean = bench.network.mean

    def numbers(outputs: Sequence[TechniqueOutput]) -> Tensor:
        items = [item for output in outputs for item in output.items]
        return torch.stack([panel.values - mean for item in items for panel in item.panels[1:]])

    return numbers
