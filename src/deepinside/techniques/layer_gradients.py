"""The gradient of a class score at every layer, drawn as Caffe's examples drew blobs: a square grid of channels.

The third exercise of the Caffe class project: not only how the score depends on the photo, but on what each layer makes
of it. All layers come out of one forward and one backward pass.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from deepinside.attribution.gradients import ForwardPass, forward_centre_crop
from deepinside.config.settings import STRICT
from deepinside.errors import DeepInsideError
from deepinside.metrics.prediction import of_photo
from deepinside.metrics.similarity import blank
from deepinside.networks.network import Network
from deepinside.optimisation.objectives import Objective
from deepinside.targets import Target, TargetRequest, check, target_notes
from deepinside.types import ImageBatch, Item, Panel, Photo, Seeds, TechniqueOutput, safe_name

CAFFE = (
    "conv1", "pool1", "norm1", "conv2", "pool2", "norm2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8",
)  # fmt: skip
"""The blobs of the Caffe class project, in CaffeNet's order."""
KIN = ("pool5", "fc6")
"""A network that has both is built as CaffeNet is; MobileNetV2's conv1 to conv5 are just the first five of many."""
SPREAD = 12


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LayerGradients:
    """∂S_c/∂(activation) at `layers`, and the activations, one item a photo and layer.

    `layers`: "caffe" for the blobs of the Caffe class project that the network has (or, for a network built otherwise,
    layers spread over its depth), "all", or names; a name may list alternatives, `norm1 | pool1/norm1`.
    `target` is a class, group or unit (see `deepinside.targets`), "top1" or "true".
    Caffe's own blobs are overwritten by the rectifier after them, so its conv1 *data* are relu1 here, while its conv1
    *diff* is the gradient at conv1 as here.
    """

    target: TargetRequest = "top1"
    objective: Objective = "score"
    layers: Literal["caffe", "all"] | tuple[str, ...] = "caffe"

    def check(self, network: Network) -> None:
        """Raise DeepInsideError where the network does not know the target or a layer."""
        check(self.target, network)
        choose(self.layers, network)

    def __call__(self, network: Network, batch: ImageBatch, seeds: Seeds) -> TechniqueOutput:
        """One item a photo and layer: its gradient and its activation as grids of channels (see `vis_square`)."""
        if not len(batch):
            return TechniqueOutput(())
        names, notes = choose(self.layers, network)
        parts = one_by_one(batch) if network.single_image else [batch]
        several = [self.part(network, part, names) for part in parts]
        targets = [target for _, some, _ in several for target in some]
        scores = torch.cat([some for _, _, some in several])
        found, mixed = by_photo(joined([layers for layers, _, _ in several]), len(batch))
        missing = [name for name in names if name not in found and name not in mixed]
        if missing and isinstance(self.layers, tuple):
            raise DeepInsideError(
                f"layers: expected layers that lead to {targets[0].layer}, found {', '.join(missing)}, which do not."
            )
        predictions = [of_photo(p, network, *row) for p, *row in zip(batch.photos, scores, targets, strict=True)]
        rows = zip(batch.photos, targets, predictions, strict=True)
        notes += (f"Left out, their first axis is not the photos': {', '.join(mixed)}.",) if mixed else ()
        items = [
            replace(item(photo, target, name, found[name], i, notes), prediction=one)
            for i, (photo, target, one) in enumerate(rows)
            for name in found
        ]
        return TechniqueOutput(tuple(items), self.deviations())

    def part(
        self, network: Network, batch: ImageBatch, names: Sequence[str]
    ) -> tuple[dict[str, "AtLayer"], list[Target], Tensor]:
        """Every layer's activations and gradients for photos that one pass takes; the photos' targets and scores."""
        forward, targets = forward_centre_crop(network, batch, self.target, names)
        return gradients_at(forward, targets, names, self.objective), targets, forward.scores.cpu()

    def deviations(self) -> tuple[str, ...]:
        """Where these settings leave the Caffe project's, one sentence each."""
        differs = self.objective != "score"
        return ("differentiates through the soft-max, not the class score",) if differs else ()


@plain_dataclass(frozen=True)
class AtLayer:
    """One layer's activations and gradients for a batch, both (N, C, H, W), (N, C), or N and any other axes."""

    activation: Tensor
    gradient: Tensor


def gradients_at(
    forward: ForwardPass, targets: Sequence[Target], layers: Sequence[str], kind: Objective = "score"
) -> dict[str, AtLayer]:
    """∂(objective of item i) / ∂(activation of item i) at every layer that leads to the targets, by layer.

    One target each, of any layer that was looked at. One backward pass; layers that the targets do not depend on are
    left out.
    """
    found = {name: forward.activations[name] for name in layers if forward.activations[name].requires_grad}
    with torch.enable_grad():
        gradients = torch.autograd.grad(forward.objective(targets, kind).sum(), list(found.values()), allow_unused=True)
    return {
        name: AtLayer(found[name].detach(), gradient)
        for name, gradient in zip(found, gradients, strict=True)
        if gradient is not None
    }


def one_by_one(batch: ImageBatch) -> list[ImageBatch]:
    """One batch for each photo."""
    return [ImageBatch((photo,), batch.pixels[i : i + 1]) for i, photo in enumerate(batch.photos)]


def joined(parts: Sequence[dict[str, AtLayer]]) -> dict[str, AtLayer]:
    """The layers of several passes over some photos each, as of one pass over all."""
    if len(parts) == 1:
        return parts[0]
    return {
        name: AtLayer(*(torch.cat([getattr(part[name], of) for part in parts]) for of in ("activation", "gradient")))
        for name in parts[0]
    }


def by_photo(found: dict[str, AtLayer], count: int) -> tuple[dict[str, AtLayer], list[str]]:
    """The layers whose first axis is the `count` photos, and the names of the others, as (L, N, C) of some tokens."""
    mixed = [name for name, one in found.items() if one.activation.shape[:1] != (count,)]
    return {name: one for name, one in found.items() if name not in mixed}, mixed


def choose(layers: str | Sequence[str], network: Network) -> tuple[list[str], tuple[str, ...]]:
    """The layers to look at, canonical and in the order asked for, and what is to be said about the choice.

    Raises DeepInsideError for a name, or alternatives, of which the network knows none.
    """
    if layers == "all":
        return list(network.layers), ()
    if layers == "caffe":
        return caffe_layers(network)
    return list(dict.fromkeys(one_of(request, network) for request in layers)), ()


def one_of(request: str, network: Network) -> str:
    """The first of `a | b | c` that the network has."""
    *earlier, last = (part.strip() for part in request.split("|"))
    for name in earlier:
        if network.synonyms.get(name, name) in network.layers or name in network.layers:
            return network.resolve(name)
    return network.resolve(last)


def caffe_layers(network: Network) -> tuple[list[str], tuple[str, ...]]:
    """The Caffe project's blobs that the network has, or layers spread over its depth where it is built otherwise."""
    present = [name for name in CAFFE if name in network.layers]
    if not set(KIN) <= set(present):
        known = list(network.layers)
        last = known.index(network.target)
        places = torch.linspace(0, last, min(SPREAD, last + 1)).round().long().unique().tolist()
        return [known[place] for place in places], (
            f"{network.name} is not built as CaffeNet is: layers spread over its depth.",
        )
    lacking = [name for name in CAFFE if name not in network.layers]
    return present, (f"{network.name} has no {', '.join(lacking)}.",) if lacking else ()


def vis_square(values: Tensor) -> Tensor:
    """A layer as one picture, as Caffe's examples drew it: (C, H, W) to (n·(H+1), n·(W+1)), n = ⌈√C⌉.

    Channels go row by row; each tile has a pixel of padding below and to the right. A vector (C,) fills a square of
    n rows of n, as one number does. Padding and places left over are zero. A matrix (L, C), tokens and their channels,
    is its own picture, a row a token; of more than three axes all but the last two count as channels.
    """
    if values.ndim == 2:
        return values
    values = values.flatten(end_dim=-3) if values.ndim > 3 else values
    values = values.view(1) if values.ndim == 0 else values
    n = math.ceil(math.sqrt(len(values)))
    if values.ndim == 1:
        return F.pad(values, (0, n * n - len(values))).view(n, n)
    _, height, width = values.shape
    padded = F.pad(values, (0, 1, 0, 1, 0, n * n - len(values)))
    return padded.view(n, n, height + 1, width + 1).transpose(1, 2).reshape(n * (height + 1), n * (width + 1))


def item(photo: Photo, target: Target, layer: str, found: AtLayer, index: int, notes: tuple[str, ...]) -> Item:
    """One photo at one layer."""
    gradient, activation = found.gradient[index].cpu(), found.activation[index].cpu()
    words = f"{layer}: {shape_text(gradient)}{drawn_as(gradient.ndim)}"
    panels = (
        Panel("gradient", vis_square(gradient), "signed", words, blank=blank(gradient)),
        Panel("activation", vis_square(activation), "signed", words, blank=blank(activation)),
    )
    metrics = {
        **dict(statistics(f"{layer}/gradient", gradient)),
        **dict(statistics(f"{layer}/activation", activation)),
    }
    name = safe_name(f"{photo.stem}_{layer.replace('/', '-')}")
    said = (*notes, *target_notes(photo, target))
    return Item(name, f"{photo.stem}, {target.name}: {layer}", panels, metrics, notes=said)


def drawn_as(axes: int) -> str:
    """What is not plain to see in the picture of a layer with so many axes."""
    return ", a row for each of the first axis" if axes == 2 else f", the first {axes - 2} axes as one" * (axes > 3)


def shape_text(values: Tensor) -> str:
    return "×".join(map(str, values.shape))


def statistics(name: str, values: Tensor) -> Iterator[tuple[str, float]]:
    """Mean and largest absolute value, and the share that is exactly zero."""
    yield f"{name}_mean_abs", values.abs().mean().item()
    yield f"{name}_max_abs", values.abs().max().item()
    yield f"{name}_share_zero", (values == 0).float().mean().item()
