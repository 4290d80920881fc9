"""How far results in bf16 are from float32's on a network's weights: a Markdown table, a column a network.

    python tools/precision_fidelity.py network=tinycaffenet
    python tools/precision_fidelity.py network=squeezenet,resnet50 images=none images.root=FOLDER images.limit=20

The words are those of `deepinside`; `technique` is that of the class models, of CLASSES classes spread over the list.
Saliency and localisation use their defaults. The target of a map is the best class in float32, in both precisions.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from deepinside.attribution.gradients import ForwardPass, centre_crop
from deepinside.config.composition import compose_dict
from deepinside.experiment.schema import Experiment, read_experiment
from deepinside.images.batches import batches, slices
from deepinside.images.sources import listed
from deepinside.metrics.recognition import computed_image, displayed, scores_of
from deepinside.metrics.similarity import rank_correlation, ssim
from deepinside.networks.load import load
from deepinside.networks.network import Network
from deepinside.networks.precision import to_device
from deepinside.optimisation.objectives import probability
from deepinside.segmentation import boxes as scoring
from deepinside.targets import class_target, resolve
from deepinside.techniques.class_model import ClassModel
from deepinside.techniques.localisation import Localisation
from deepinside.types import ImageBatch, Item, Seeds

CLASSES = 4
SALIENT = 0.05
"""The share of pixels with the largest values whose places are compared."""
MOVED = 0.9
"""Boxes whose IoU is below this count as moved."""

Pair = tuple[Network, Network]
Column = dict[str, str]


def main(words: Sequence[str]) -> None:
    names = [name for word in words if word.startswith("network=") for name in word[len("network=") :].split(",")]
    others = [word for word in words if not word.startswith("network=")]
    print(table([column([f"network={name}", *others]) for name in names or ["tinycaffenet"]]), end="")


def table(columns: Sequence[Column]) -> str:
    """Rows of the same name side by side; a missing cell stays empty."""
    rows = list(dict.fromkeys(name for one in columns for name in one))
    lines = [[name, *(one.get(name, "") for one in columns)] for name in rows]
    lines.insert(1, ["---"] * (len(columns) + 1))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def column(words: Sequence[str]) -> Column:
    """Every row for the one network of these words."""
    experiment = read_experiment(compose_dict(["technique=class_model", "runtime.precision=bf16", *words]))
    torch.set_num_threads(experiment.runtime.threads)
    network, device = load(experiment.network), experiment.runtime.device
    pair = to_device(network, device, "float32"), to_device(network, device, experiment.runtime.precision)
    seeds, found = Seeds(experiment.seed), list(photos(experiment, pair[0]))
    (model,) = experiment.techniques.values()
    assert isinstance(model, ClassModel)
    steps = f"{CLASSES}, {model.optimiser.length()} steps"
    return {
        "": network.name,
        "photos": str(sum(map(len, found))),
        **maps(pair, found),
        **boxes(pair, found, seeds),
        "class models": steps,
        **class_models(pair, model, seeds),
    }


def photos(experiment: Experiment, network: Network) -> Iterator[ImageBatch]:
    sources = listed(experiment.images, experiment.network)
    numbers = slices(len(sources), experiment.images.batch)
    for loaded in batches(sources, numbers, experiment.images, network.input):
        if loaded.batch is not None:
            yield replace(loaded.batch, pixels=loaded.batch.pixels.to(network.device))


def maps(pair: Pair, found: Sequence[ImageBatch]) -> Column:
    """Saliency maps of the centre crops, and the class scores."""
    rows = np.array([row for batch in found for row in compared_maps(pair, batch)])
    return {
        "maps: rank correlation": spread(rows[:, 0]),
        "maps: SSIM": spread(rows[:, 1]),
        f"maps: brightest {SALIENT:.0%} of the pixels in common": spread(rows[:, 2]),
        "class score: relative change, median (largest)": f"{np.median(rows[:, 3]):.1%} ({rows[:, 3].max():.1%})",
        "photos with another best class": f"{int(rows[:, 4].sum())}",
    }


def compared_maps(pair: Pair, batch: ImageBatch) -> Iterator[tuple[float, ...]]:
    """For each photo: rank correlation, SSIM, common share of the brightest pixels, change of score, 1 for another
    best class."""
    (crop,) = centre_crop((batch.pixels.shape[2], batch.pixels.shape[3]), pair[0].size)
    exact, other = (ForwardPass(net, crop.cut(batch.pixels, net.size), [net.target]) for net in pair)
    best = exact.scores.argmax(1)
    targets = [class_target(index, pair[0]) for index in best.tolist()]
    pictures = [forward.gradient(targets).abs().amax(1).cpu() for forward in (exact, other)]
    scores = [forward.scores.gather(1, best[:, None])[:, 0] for forward in (exact, other)]
    change = ((scores[1] - scores[0]) / scores[0]).abs().tolist()
    moved = (other.scores.argmax(1) != best).tolist()
    for first, second, changed, another in zip(*pictures, change, moved, strict=True):
        yield rank_correlation(first, second), ssim(first, second), common(first, second), changed, float(another)


def common(first: torch.Tensor, second: torch.Tensor) -> float:
    """The share of the brightest pixels of a map (H, W) that are among the brightest of the other, too."""
    count = max(1, int(SALIENT * first.numel()))
    places = [values.flatten().topk(count).indices.numpy() for values in (first, second)]
    return len(np.intersect1d(*places)) / count


def boxes(pair: Pair, found: Sequence[ImageBatch], seeds: Seeds) -> Column:
    """Boxes of a photo's own class if it is known, else of its best class in each precision."""
    technique = Localisation(target="true | top1")
    exact, other = ([item for batch in found for item in technique(net, batch, seeds).items] for net in pair)
    same = np.array([overlap(*items) for items in zip(exact, other, strict=True)])
    known = "graph_cut/right"
    errors = [[1 - item.metrics[known] for item in items if known in item.metrics] for items in (exact, other)]
    rows = {"boxes: IoU": spread(same), f"boxes with IoU < {MOVED}": f"{int((same < MOVED).sum())}"}
    return rows | ({"localisation error": arrow(*map(np.mean, errors), ".1%")} if errors[0] else {})


def overlap(exact: Item, other: Item) -> float:
    """The IoU of the boxes of two items of one photo."""
    first, second = (item.panels[0].boxes for item in (exact, other))
    assert first is not None and second is not None
    return float(scoring.iou(first, second)[0, 0])


def class_models(pair: Pair, model: ClassModel, seeds: Seeds) -> Column:
    """Pictures of the same classes and seed, both judged in float32."""
    count = pair[0].classes
    targets = tuple(index * (count // CLASSES) for index in range(min(CLASSES, count)))
    nothing = ImageBatch((), torch.zeros(0, len(pair[0].mean), 1, 1))
    outputs = [replace(model, targets=targets)(net, nothing, seeds).items for net in pair]
    images = [[displayed(panel) for item in items if (panel := computed_image(item))] for items in outputs]
    alike = [rank_correlation(first, second) for first, second in zip(*images, strict=True)]
    judged = [[judgement(image, index, pair[0]) for image, index in zip(row, targets, strict=True)] for row in images]
    recognised, sure = zip(*(zip(*row, strict=True) for row in judged), strict=True)
    return {
        "class models: rank correlation of the intensities": spread(np.array(alike)),
        "class models recognised in float32": arrow(*map(sum, recognised), "d"),
        "class models: mean probability of the class": arrow(*map(np.mean, sure), ".3f"),
    }


def judgement(image: torch.Tensor, index: int, network: Network) -> tuple[bool, float]:
    """Whether the class is the best one, and its probability."""
    scores = scores_of(image, network)
    return int(scores.argmax()) == index, probability(scores, resolve(index, network), network.posterior)


def spread(values: np.ndarray) -> str:
    """The median, the smallest in brackets."""
    return f"{np.median(values):.3f} ({values.min():.3f})"


def arrow(before: float, after: float, form: str) -> str:
    return f"{before:{form}} → {after:{form}}"


if __name__ == "__main__":
    main(sys.argv[1:])
