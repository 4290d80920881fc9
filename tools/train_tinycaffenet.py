"""Train `tinycaffenet`, the embedded network: CaffeNet's layers at 64x64 on 100 classes of Tiny ImageNet.

    python tools/train_tinycaffenet.py --data tiny-imagenet-200 --work build/tinycaffenet

The data folder has the official layout (`wnids.txt`, `train/<wnid>/images/*.JPEG`, `val/val_annotations.txt`);
any number of its classes may be present. The run is seeded and resumable: every epoch seeds its own random
streams and ends with a checkpoint, so a killed run started again gives the same weights as one left alone.
`tools/export_tinycaffenet.py` turns the last checkpoint into the ONNX file.

Four devices used in training leave no trace in the exported graph, which is plain CaffeNet:
* batch normalisation behind every convolution and full layer, folded into their weights at export;
* activations a hundred times smaller than Caffe's, so LRN runs with alpha = 1 here and 1e-4 there;
* the first epochs see the images at 48x48, which costs half the time; pool5 is enlarged to its usual 4x4;
* the products run in bfloat16, the weights and their running average stay in float32.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

SIZE = 64
MEAN_BGR = (104.0, 117.0, 123.0)
INPUT_SCALE = 64.0  # trained on (pixel - mean) / 64; export divides conv1 by it
LRN_SCALE = 100.0  # exported activations before LRN are this many times larger
LRN_SIZE, LRN_ALPHA, LRN_BETA = 5, 1e-4, 0.75  # Caffe's


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    seed: int = 0
    epochs: int = 36
    small_epochs: int = 22  # the first ones, at `small` pixels a side
    small: int = 48
    batch: int = 128
    peak_rate: float = 0.08
    warm_up: float = 0.15  # share of the steps
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    dropout: float = 0.25
    smallest_crop: float = 0.35  # share of the image's area: close-ups
    largest_crop: float = 1.1  # above 1 the image is reflected at its border
    stretch: float = 1.3  # largest ratio of a crop's sides
    light: float = 0.25  # largest change of brightness and of contrast, as a share
    cutmix: float = 0.3  # share of the batches in which every image has a rectangle of another
    calm_epochs: int = 6  # the last ones, without mixing, on crops closer to the images measured
    calm_crop: float = 0.65  # their smallest crop's share of the area
    average: float = 0.999  # decay of the running average of the weights, which is what is exported
    threads: int = 2

    def at(self, epoch: int) -> "Recipe":
        """What holds in an epoch, counted from 0: the last ones are calm."""
        calm = epoch >= self.epochs - self.calm_epochs
        return replace(self, cutmix=0.0, smallest_crop=self.calm_crop) if calm else self

    def size(self, epoch: int) -> int:
        """The side of the crops in an epoch, in pixels."""
        return self.small if epoch < self.small_epochs else SIZE


class LocalResponseNorm(nn.Module):
    """Caffe's LRN across channels, its sum over neighbours written as a banded 1x1 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        index = torch.arange(channels)
        band = ((index[:, None] - index[None]).abs() <= LRN_SIZE // 2).float()
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.alpha = LRN_ALPHA * LRN_SCALE**2

    def forward(self, x: Tensor) -> Tensor:
        energy = 1 + self.alpha / LRN_SIZE * F.conv2d(x * x, self.band)
        root = energy.rsqrt()
        return x * root * root.sqrt()  # energy ** -0.75


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, pad: int, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def full(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs))


def pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


class Flatten(nn.Module):
    """(N, C, 4, 4) to (N, C * 16); a smaller map, of a smaller image, is enlarged first."""

    def forward(self, x: Tensor) -> Tensor:
        return (x if x.shape[-1] == 4 else F.interpolate(x, size=(4, 4), mode="bilinear")).flatten(1)


class TinyCaffeNet(nn.Sequential):
    """conv1 … fc8 in CaffeNet's order; input (N, 3, 64, 64), BGR, (pixel - mean) / 64; output class scores."""

    def __init__(self, classes: int, dropout: float):
        layers = {
            "conv1": conv(3, 64, 7, stride=2, pad=3), "relu1": nn.ReLU(), "pool1": pool(),
            "norm1": LocalResponseNorm(64),
            "conv2": conv(64, 160, 5, pad=2, groups=2), "relu2": nn.ReLU(), "pool2": pool(),
            "norm2": LocalResponseNorm(160),
            "conv3": conv(160, 256, 3, pad=1), "relu3": nn.ReLU(),
            "conv4": conv(256, 256, 3, pad=1, groups=2), "relu4": nn.ReLU(),
            "conv5": conv(256, 192, 3, pad=1, groups=2), "relu5": nn.ReLU(), "pool5": pool(), "flat": Flatten(),
            "fc6": full(192 * 4 * 4, 1024), "relu6": nn.ReLU(), "drop6": nn.Dropout(dropout),
            "fc7": full(1024, 1024), "relu7": nn.ReLU(), "drop7": nn.Dropout(dropout),
            "fc8": nn.Linear(1024, classes),
        }  # fmt: skip
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


def read_bgr(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)[..., ::-1]


def read_all(paths: list[Path]) -> Tensor:
    """(N, 3, 64, 64) uint8, BGR."""
    pixels = np.empty((len(paths), SIZE, SIZE, 3), np.uint8)
    for index, path in enumerate(paths):
        pixels[index] = read_bgr(path)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def read_split(root: Path, split: str, wnids: list[str]) -> tuple[Tensor, Tensor]:
    """Images and class indices of `train` or `val`, in a fixed order."""
    if split == "train":
        pairs = [(path, wnid) for wnid in wnids for path in sorted((root / "train" / wnid / "images").glob("*.JPEG"))]
    else:
        lines = [line.split("\t") for line in (root / "val" / "val_annotations.txt").read_text().splitlines()]
        pairs = [(root / "val" / "images" / line[0], line[1]) for line in lines]
    index = {wnid: number for number, wnid in enumerate(wnids)}
    labels = torch.tensor([index[wnid] for _, wnid in pairs])
    return read_all([path for path, _ in pairs]), labels


def to_network(pixels: Tensor) -> Tensor:
    mean = torch.tensor(MEAN_BGR).view(1, 3, 1, 1)
    return ((pixels.float() - mean) / INPUT_SCALE).contiguous(memory_format=torch.channels_last)


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def crop_grid(recipe: Recipe, count: int, size: int, generator: torch.Generator) -> Tensor:
    """(count, size, size, 2): where each image is read for a random crop, mirrored half of the time."""
    area = uniform(math.log(recipe.smallest_crop), math.log(recipe.largest_crop), count, generator).exp()
    stretch = math.log(recipe.stretch)
    ratio = uniform(-stretch, stretch, count, generator).exp()
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1)  # of the image's half side
    free = (1 - sides).abs().clamp(min=0.1)
    centre = torch.stack([uniform(-1, 1, count, generator) for _ in range(2)], 1) * free
    mirror = torch.where(uniform(0, 1, count, generator) < 0.5, -1.0, 1.0)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = sides[:, 0] * mirror, sides[:, 1], centre
    return F.affine_grid(affine, [count, 3, size, size], align_corners=False)


def augment(pixels: Tensor, recipe: Recipe, size: int, generator: torch.Generator) -> Tensor:
    """Random crops at `size` pixels a side under random light, as the network takes them; from (N, 3, 64, 64) uint8."""
    count = len(pixels)
    grid = crop_grid(recipe, count, size, generator)
    crops = F.grid_sample(to_network(pixels), grid, padding_mode="reflection", align_corners=False)
    gain, offset = (uniform(-recipe.light, recipe.light, count, generator).view(-1, 1, 1, 1) for _ in range(2))
    return (crops * (1 + gain) + offset).contiguous(memory_format=torch.channels_last)


def cut_and_mix(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """CutMix (Yun et al. 2019): a rectangle of another image in each; the others' order; the share that stays."""
    order = torch.randperm(len(images), generator=generator)
    size = images.shape[-1]
    share, x, y = torch.rand(3, generator=generator).tolist()
    half = round(size * math.sqrt(share) / 2)
    rows = slice(max(0, round(y * size) - half), round(y * size) + half)
    columns = slice(max(0, round(x * size) - half), round(x * size) + half)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[order][:, :, rows, columns]
    return mixed, order, 1 - images[0, 0, rows, columns].numel() / size**2


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on the matrices only, not on biases and normalisation."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    vectors = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def accuracy(net: nn.Module, pixels: Tensor, labels: Tensor) -> dict[str, float]:
    """Share of images whose class is the best and among the best five, in float32."""
    net.eval()
    ranked = torch.cat([net(to_network(chunk)).topk(5).indices for chunk in pixels.split(250)])
    hits = ranked == labels[:, None]
    return {"top1": hits[:, 0].float().mean().item(), "top5": hits.any(1).float().mean().item()}


class Training:
    """Network, its running average, optimiser and schedule, saved and restored as one."""

    def __init__(self, recipe: Recipe, classes: int, images: int, *, compiled: bool = True):
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.net = TinyCaffeNet(classes, recipe.dropout).to(memory_format=torch.channels_last)
        self.compiled = (
            torch.compile(self.net, dynamic=False) if compiled else self.net
        )  # the same weights, a third less time
        decay = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.average)
        self.mean_net = torch.optim.swa_utils.AveragedModel(self.net, multi_avg_fn=decay, use_buffers=True)
        self.optimiser = torch.optim.SGD(
            parameter_groups(self.net, recipe.weight_decay), recipe.peak_rate, recipe.momentum, nesterov=True
        )
        steps = recipe.epochs * (images // recipe.batch)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.peak_rate, steps, pct_start=recipe.warm_up, cycle_momentum=False
        )
        self.curve: list[dict[str, float]] = []
        self.parts = {
            "net": self.net,
            "mean_net": self.mean_net,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }

    def save(self, path: Path) -> None:
        state = {name: part.state_dict() for name, part in self.parts.items()}
        aside = path.with_suffix(".part")
        torch.save({**state, "curve": self.curve, "recipe": asdict(self.recipe)}, aside)
        aside.replace(path)

    def restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise SystemExit(
                f"{path} was trained with {state['recipe']}, not {asdict(self.recipe)}; give another --work"
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.curve = state["curve"]

    def loss(self, images: Tensor, labels: Tensor, cutmix: float, generator: torch.Generator) -> Tensor:
        order, share = torch.arange(len(images)), 1.0
        if torch.rand(1, generator=generator).item() < cutmix:
            images, order, share = cut_and_mix(images, generator)
        with torch.autocast("cpu", torch.bfloat16):
            scores = self.compiled(images)
        entropy = partial(F.cross_entropy, scores.float(), label_smoothing=self.recipe.label_smoothing)
        return share * entropy(labels) + (1 - share) * entropy(labels[order])

    def step(self, loss: Tensor) -> float:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.mean_net.update_parameters(self.net)
        return loss.item()

    def epoch(self, pixels: Tensor, labels: Tensor) -> float:
        """One pass over the training images; its random streams depend on seed and epoch only."""
        epoch, recipe = len(self.curve), self.recipe.at(len(self.curve))
        seed = recipe.seed * 1_000_003 + epoch
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator().manual_seed(seed)
        self.net.train()
        losses = []
        for batch in torch.randperm(len(pixels), generator=generator).split(recipe.batch):
            if len(batch) == recipe.batch:
                images = augment(pixels[batch], recipe, recipe.size(epoch), generator)
                losses.append(self.step(self.loss(images, labels[batch], recipe.cutmix, generator)))
        return sum(losses) / len(losses)


def train(data: Path, work: Path, recipe: Recipe) -> None:
    torch.set_num_threads(recipe.threads)
    wnids = [wnid for wnid in (data / "wnids.txt").read_text().split() if (data / "train" / wnid).is_dir()]
    pixels, labels = read_split(data, "train", wnids)
    val_pixels, val_labels = read_split(data, "val", wnids)
    training = Training(recipe, len(wnids), len(pixels))
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        training.restore(checkpoint)
    while len(training.curve) < recipe.epochs:
        started = time.perf_counter()
        loss = training.epoch(pixels, labels)
        row = {"loss": loss, **accuracy(training.mean_net, val_pixels, val_labels)}
        training.curve.append({**row, "seconds": time.perf_counter() - started})
        training.save(checkpoint)
        print(f"epoch {len(training.curve)}/{recipe.epochs}", json.dumps(training.curve[-1]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the tiny-imagenet-200 folder")
    parser.add_argument("--work", type=Path, default=Path("build/tinycaffenet"), help="where the checkpoint goes")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    train(arguments.data, arguments.work, Recipe(epochs=arguments.epochs, seed=arguments.seed))


if __name__ == "__main__":
    main()
