"""The pictures of docs/: every technique on the embedded network and the photographs that ship.

    python tools/docs_pictures.py                  all of them, in about two minutes on one core
    python tools/docs_pictures.py saliency         some of them

`make docs-pictures` runs it. The same code and versions give the same files.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import deepinside as di
from deepinside.config.paths import ROOT
from deepinside.figures import picture
from deepinside.images.settings import PHOTOGRAPHS
from deepinside.types import Panel

FOLDER = ROOT / "docs" / "pictures"
SIDE = 144
GAP = 6
LINE = 16
FONT = ImageFont.load_default(12)
CLASSES = ["goldfish", "goose", "espresso", "king penguin", "school bus", "lion"]
Tile = tuple[np.ndarray, str]


@cache
def network() -> di.Network:
    return di.load("tinycaffenet")


@cache
def photo(name: str) -> Image.Image:
    """One of the photographs inside the packages of dependencies."""
    package, file = PHOTOGRAPHS[name]
    return Image.open(files(package) / file)


def tile(panel: Panel, words: str, magnitude_map: str = "inferno") -> Tile:
    return picture(panel, magnitude_map), words


def sheet(rows: Sequence[Sequence[Tile]], side: int = SIDE) -> Image.Image:
    """Rows of pictures of one size with a caption under each, on white."""
    columns = max(map(len, rows))
    page = Image.new("RGB", (columns * (side + GAP) - GAP, len(rows) * (side + LINE + GAP) - GAP), "white")
    pen = ImageDraw.Draw(page)
    for y, row in enumerate(rows):
        for x, (pixels, words) in enumerate(row):
            left, top = x * (side + GAP), y * (side + LINE + GAP)
            page.paste(Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST), (left, top))
            pen.text((left + side // 2, top + side + 1), words, fill="black", font=FONT, anchor="ma")
    return page


def class_model() -> Image.Image:
    """Six classes by the paper's objective, and with Fourier parametrisation, random transforms and total variation."""
    plain = di.class_model(network(), CLASSES)
    clearer = di.class_model(
        network(), CLASSES, contrast=35, parametrisation="fourier", jitter=0.05, rotation=15, scaling=0.2,
        total_variation=0.1, optimiser={"rate": 6.0},
    )  # fmt: skip
    return sheet([[tile(one.panels["class_model"], one.title) for one in found] for found in (plain, clearer)])


def saliency() -> Image.Image:
    """Photos, the map of one crop and the average over ten."""
    rows = [maps_of(name) for name in ("chelsea", "coffee", "grace_hopper", "motorcycle")]
    return sheet([[*rows[0], *rows[1]], [*rows[2], *rows[3]]])


def maps_of(name: str) -> list[Tile]:
    one = di.saliency(network(), photo(name))[0].panels
    best = one["saliency"].caption
    ten = di.saliency(network(), photo(name), target=best, crops="ten")[0].panels
    return [
        tile(one["photo"], name),
        tile(one["saliency"], f"one crop: {best}", "gray"),
        tile(ten["saliency"], f"ten crops: {best}", "gray"),
    ]


def deconvnet() -> Image.Image:
    """Three ReLU rules, in colour."""
    return sheet([rules_of(name) for name in ("chelsea", "coffee")])


def rules_of(name: str) -> list[Tile]:
    rules = ("gradient", "deconvnet", "guided")
    found = [di.saliency(network(), photo(name), show="colour", relu_rule=rule)[0].panels for rule in rules]
    maps = [tile(panels["saliency"], rule) for rule, panels in zip(rules, found, strict=True)]
    return [tile(found[0]["photo"], name), *maps]


def layer_gradients() -> Image.Image:
    """Gradients and activations at three layers."""
    found = di.layer_gradients(network(), photo("coffee"), layers=["conv1", "pool2", "conv5"])
    rows = [
        [tile(one.panels[kind], f"{one.name.rpartition('_')[2]}, {kind}") for one in found]
        for kind in ("gradient", "activation")
    ]
    return sheet(rows, 288)


def inversion() -> Image.Image:
    """One photo reconstructed from nine layers."""
    layers = ["conv1", "relu2", "norm2", "conv3", "relu4", "conv5", "pool5", "fc6", "fc8"]
    found = di.inversion(network(), photo("chelsea"), layers=layers)[0]
    tiles = [tile(found.panels[f"reconstruction_{layer}"], layer) for layer in layers]
    return sheet([[tile(found.panels["photo"], "photo"), *tiles[:4]], tiles[4:]])


def hog_sift() -> Image.Image:
    """Photos reconstructed from HOG, HOG with bilinear orientations and dense SIFT, as in the experiment's YAML."""
    experiment = yaml.safe_load((ROOT / "experiments" / "mahendran_table1.yaml").read_text(encoding="utf-8"))
    net, settings = di.load("hog_sift"), experiment["technique"]
    crops = {"resize": "short_side_crop", "short_side": experiment["images"]["short_side"]}
    names = {"hog": "HOG", "hogb": "HOGb", "dsift": "dense SIFT"}
    rows = []
    for one in di.inversion(net, di.photos(net, [photo(name) for name in ("chelsea", "coffee")], **crops), **settings):
        found = [tile(one.panels[f"reconstruction_{layer}"], words) for layer, words in names.items()]
        rows.append([tile(one.panels["photo"], "photo"), *found])
    return sheet(rows)


def localisation() -> Image.Image:
    """The four pictures of the paper's figure."""
    shown = [di.localisation(network(), photo(name), crops="ten")[0] for name in ("chelsea", "coffee", "motorcycle")]
    return sheet([[framed(found), *rest(found)] for found in shown])


def framed(found: di.Result) -> Tile:
    """The photo with its box."""
    large = Image.fromarray(picture(found.panels["box"], "gray")).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    scale = SIDE / found.photo.shape[1]
    edges = [min(round(edge * scale), SIDE - 1) for edge in found.box.tolist()]
    ImageDraw.Draw(large).rectangle(edges, outline=(255, 140, 0), width=2)
    return np.asarray(large), "box"


def rest(found: di.Result) -> list[Tile]:
    panels = found.panels
    return [
        tile(panels["saliency"], panels["saliency"].caption, "gray"),
        tile(panels["regions"], "colour models"),
        tile(panels["mask"], "mask"),
    ]


def randomisation() -> Image.Image:
    """Maps by two rules as more and more layers are random."""
    found = di.randomisation(network(), photo("chelsea"), rules=["gradient", "guided"], stages=4)
    return sheet([[stage(panel, one.name) for name, panel in one.panels.items() if name != "photo"] for one in found])


def stage(panel: Panel, name: str) -> Tile:
    rule = name.rpartition("_")[2]
    return tile(panel, f"{panel.name.replace('_', ' ')}: {panel.caption}" if panel.caption else f"{rule}, trained")


def faithfulness() -> Image.Image:
    """The four curves of one photo."""
    found = di.faithfulness(network(), photo("coffee"), relu_rule="guided")[0]
    figure = Figure(figsize=(6.4, 2.6), layout="constrained", dpi=110)
    for axis, kind in zip(figure.subplots(1, 2, sharey=True), ("deletion", "insertion"), strict=True):
        for name, words, style in ((kind, "by the map", "-"), (f"random_{kind}", "at random", "--")):
            share = torch.linspace(0, 100, len(found.trace[name]))
            axis.plot(share, found.trace[name], style, label=f"{words}: area {found.metrics[f'{name}_area']:.2f}")
        axis.set_title(kind, fontsize=10)
        axis.set_xlabel("pixels, %", fontsize=9)
        axis.legend(fontsize=8, frameon=False)
    figure.axes[0].set_ylabel("posterior", fontsize=9)
    return drawn(figure)


def occlusion() -> Image.Image:
    """How far the score, and the probability, fall under a square."""
    return sheet([[*covered("chelsea"), *covered("coffee")]])


def covered(name: str) -> list[Tile]:
    maps = {kind: di.occlusion(network(), photo(name), objective=kind)[0].panels for kind in ("score", "posterior")}
    shown = [tile(panels["occlusion"], f"{kind}: {panels['occlusion'].caption}") for kind, panels in maps.items()]
    return [tile(maps["score"]["photo"], name), *shown]


def fooling() -> Image.Image:
    """Photos, fooling images of a class drawn at random, and the differences."""
    found = di.fooling(network(), [photo("chelsea"), photo("coffee")], target="random")
    return sheet([[tile(panel, panel.caption.replace("×", "x")) for one in found for panel in one.panels.values()]])


def drawn(figure: Figure) -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])


PICTURES: dict[str, Callable[[], Image.Image]] = {
    function.__name__: function
    for function in (
        class_model, saliency, deconvnet, layer_gradients, inversion, hog_sift, localisation, randomisation,
        faithfulness, occlusion, fooling,
    )
}  # fmt: skip


def main(names: Sequence[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or PICTURES:
        path = FOLDER / f"{name}.png"
        PICTURES[name]().save(path, optimize=True)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
