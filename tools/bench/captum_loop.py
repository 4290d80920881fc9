"""Ten-crop saliency of a folder as one writes it with Captum: a loop over files, a picture for each.

    python tools/bench/captum_loop.py FOLDER OUT --threads 2 --keep maps.npz

It gets the network ready converted, in the file's own convention (BGR, divided by 64), and writes the map alone.
"""

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from captum.attr import Saliency
from PIL import Image, ImageOps

SIDE, CROP = 73, 64
CORNERS = ((0, 0), (0, SIDE - CROP), (SIDE - CROP, 0), (SIDE - CROP, SIDE - CROP), ((SIDE - CROP) // 2,) * 2)
KEPT = 32


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, help="take the first so many")
    parser.add_argument("--keep", type=Path, help="file for the first maps as numbers")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")
    asked.out.mkdir(parents=True, exist_ok=True)
    model, mean, scale = network()
    method, kept = Saliency(model), {}
    for path in sorted(asked.folder.glob("*.jpg"))[: asked.limit]:
        found = ten_crops(model, method, (pixels(path) - mean) / scale) / scale
        plt.imsave(asked.out / f"{path.stem}.png", found, cmap="inferno")
        if len(kept) < KEPT:
            kept[path.stem] = found
    if asked.keep:
        np.savez(asked.keep, **kept)


def network() -> tuple[torch.nn.Module, torch.Tensor, float]:
    """The network, its mean (BGR) and its scale."""
    from bench.networks import network as known

    bench = known("tinycaffenet")
    return bench.plain, bench.network.mean.flip(0), bench.network.input.pixels_per_unit[0]


def pixels(path: Path) -> torch.Tensor:
    """(3, 73, 73) BGR."""
    image = Image.open(path).convert("RGB")
    left, top = ((side - min(image.size)) / 2 for side in image.size)
    box = (left, top, left + min(image.size), top + min(image.size))
    image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    return torch.from_numpy(np.array(ImageOps.exif_transpose(image))).permute(2, 0, 1).flip(0).float()


def ten_crops(model: torch.nn.Module, method: Saliency, x: torch.Tensor) -> np.ndarray:
    """The map of the top class, (73, 73): the mean over the crops that cover each pixel."""
    views = torch.stack([x[:, top : top + CROP, left : left + CROP] for top, left in CORNERS])
    views = torch.cat([views, views.flip(-1)])
    with torch.no_grad():
        target = int(model(views[4:5]).argmax())
    maps = method.attribute(views, target=target).amax(1).detach()
    maps[5:] = maps[5:].flip(-1)
    total, cover = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)
    for (top, left), one in zip(CORNERS * 2, maps, strict=True):
        total[top : top + CROP, left : left + CROP] += one
        cover[top : top + CROP, left : left + CROP] += 1
    return (total / cover).numpy()


if __name__ == "__main__":
    main()
