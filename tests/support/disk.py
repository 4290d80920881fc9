"""Folders of results made by hand: what the report reads, without running anything."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib import colormaps
from PIL import Image

from deepinside.results.items import ItemRow, ItemTable

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
CLAIM = {
    "id": "near", "source": "Simonyan et al. 2013, eq. 3", "claim": "it is near", "measure": "order",
    "estimate": 2.5, "interval": [2.25, 2.75], "n": 9, "unit": "photo", "direction": "≥", "threshold": 1.5,
    "verdict": "holds", "exact": False, "reason": "between 1 and 2",
}  # fmt: skip

STORY = {
    "question": "Which pixels matter?", "paper": "Maps in grey.", "link": "https://arxiv.org/abs/1312.6034",
    "ours": "Maps of a small network.", "difference": "The network is another one.",
}  # fmt: skip


def config(experiment: str, network: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": experiment,
        "title": experiment.replace("_", " ").title(),
        "source": "Simonyan et al. 2013, Fig. 2",
        "network": {"name": network},
        "story": STORY,
        "technique": {"_target_": "deepinside.techniques.saliency.Saliency", "l2": 0.1},
        "figure": {"magnitude_map": "inferno"},
        "runtime": {"results": "results", "threads": 1},
        "seed": 0,
        **changes,
    }


def put_run(
    root: Path,
    folder: str = "fig2/net/default",
    *,
    items: Sequence[str] = ("cat", "cup"),
    panels: Sequence[str] = ("photo", "map"),
    metrics: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    side: int = 16,
) -> Path:
    """A whole result: panels called `map…` are drawn in inferno, others are noise."""
    experiment, network, _ = folder.split("/")
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(items):
        for panel in panels:
            put_panel(place / "panels" / panel / f"{item}.png", number, side, drawn=panel.startswith("map"))
    found = {
        "schema": 3, "experiment": experiment, "network": network, "status": "done", "seconds": 1.5,
        "metrics": {"score": 3.25, "map/spread": 0.5}, "by_group": {}, "claims": [], "deviations": [], "notes": [],
        "skipped": [], "count": len(items), "items": {name: {"score": 1.0 + i} for i, name in enumerate(items)},
        **(metrics or {}),
    }  # fmt: skip
    origin = {"code": {"commit": "abc123", "dirty": True}, "seed": 0, "started": "2026-11-21T03:24:07+00:00"}
    (place / "provenance.json").write_text(json.dumps({**origin, "images": {"cat": "f" * 64}}))
    (place / "config.yaml").write_text(yaml.safe_dump(config(experiment, network, settings or {})))
    (place / "metrics.json").write_text(json.dumps(found))
    return place


def put_panel(path: Path, seed: int, side: int, *, drawn: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (side, side), dtype=np.uint8)
    pixels = colormaps["inferno"](levels, bytes=True)[..., :3] if drawn else random.integers(0, 256, (side, side, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def put_failure(root: Path, folder: str, reason: str) -> Path:
    experiment, network, _ = folder.split("/")
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    found = {"schema": 3, "experiment": experiment, "network": network, "status": "failed", "reason": reason}
    (place / "metrics.json").write_text(json.dumps(found))
    (place / "config.yaml").write_text(yaml.safe_dump(config(experiment, network, {})))
    return place


def put_sweep(root: Path, name: str = "decay") -> Path:
    """Three runs over l2, one of which failed."""
    runs = []
    for l2 in (0.001, 0.01):
        folder = f"fig2/net/technique.l2={l2}"
        technique = {"_target_": "deepinside.techniques.class_model.ClassModel", "l2": l2}
        metrics = {"metrics": {"score": 1 / l2}}
        put_run(root, folder, items=["cat"], panels=["map"], settings={"technique": technique}, metrics=metrics)
        runs.append(
            {"overrides": {"technique.l2": l2}, "folder": folder, "status": "done", "metrics": {"score": 1 / l2}}
        )
    runs.append({"overrides": {"technique.l2": -1}, "folder": "", "status": "failed", "reason": "l2 <b>negative</b>"})
    place = root / "sweeps" / name
    place.mkdir(parents=True)
    found = {"schema": 1, "name": name, "command": "deepinside -m technique.l2=0.001,0.01,-1"}
    axes = {"technique.l2": [0.001, 0.01, -1]}
    for run in runs:
        run.update({"experiment": "fig2", "network": "net", "seconds": 1.0})
    (place / "sweep.json").write_text(json.dumps({**found, "axes": axes, "runs": runs}))
    return place


def put_told(root: Path) -> Path:
    """A run with predictions and a claim."""
    place = put_run(root, "told/net/default", metrics={"claims": [CLAIM]})
    table = ItemTable()
    rows = [("cat", "cat → golden retriever 32 %, labelled tabby"), ("cup", "cup → espresso 99 % ✓")]
    table.add(ItemRow(name, name, {"score": 1.0}, caption=caption) for name, caption in rows)
    table.write(place / "items.parquet")
    return place


def put_photographed(root: Path) -> Path:
    """A run on a photo 400 pixels wide: blue, and red in the middle half, which is all that the network sees.

    Its map is high on the left and low on the right; a box lies in the middle of what the network sees.
    """
    pixels = np.full((200, 400, 3), (0, 0, 255), np.uint8)
    pixels[:, 100:300] = (255, 0, 0)
    path = root.parent / f"{root.name} photos" / "cat.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    images = {"root": str(path.parent), "resize": "short_side_crop"}
    network = {"name": "net", "input": {"size": [16, 16]}}
    place = put_run(root, "photographed/net/default", items=["cat"], settings={"images": images, "network": network})
    Image.fromarray(pixels[:16, 192:208]).save(place / "panels" / "photo" / "cat.png")
    levels = np.where(np.arange(16) < 8, 255, 0)[None].repeat(16, 0)
    Image.fromarray(colormaps["inferno"](levels, bytes=True)[..., :3]).save(place / "panels" / "map" / "cat.png")
    digest = sha256(path.read_bytes()).hexdigest()
    (place / "provenance.json").write_text(json.dumps({"images": {"cat": digest}}))
    best = {"name": "golden retriever", "index": 0, "score": 1.0, "probability": 0.5}
    said = {"image": "cat", "best": [best], "target": best, "label": "n1", "label_name": "tabby", "right": False}
    panels = [{"name": "photo", "kind": "photo", "boxes": [[4, 4, 12, 12]]}, {"name": "map", "kind": "magnitude"}]
    shown = {"name": "cat", "title": "cat", "panels": panels, "prediction": {**said, "request": None}}
    (place / "shown.json").write_text(json.dumps({"items": [shown]}))
    return place


def put_everything(root: Path) -> None:
    """One of each kind of thing the report shows, hostile names among them."""
    groups = {"object 0–25 %": {"count": 2.0, "error": 0.75}, "object 25–50 %": {"count": 3.0, "error": 0.5}}
    by_group = {"by_group": groups, "by_group_intervals": {"object 25–50 %": {"error": [0.25, 0.625]}}}
    skipped = [{"name": HOSTILE, "reason": "it is <b>not</b> an image"}]
    put_run(root, metrics={"claims": [CLAIM], "deviations": ["one crop, not ten"], "skipped": skipped})
    put_run(
        root,
        "fig2/net/images.root=ä b #1 100%",
        items=[
            HOSTILE.removesuffix(".jpg"),
            'it\'s "q" #1 100% ü',
            "<script>alert(2)",
        ],
        settings={"title": "<script>alert(3)</script>", "images": {"root": "/ä b/<i>"}},
        metrics={"notes": ["a <b>note</b>"], "metrics": {"<i>score</i>": 1.0}},
    )
    put_run(root, "localisation/net/default", panels=["box", "map", "map_2"], metrics=by_group)
    for network in ("net", "other"):
        technique = {"_target_": "deepinside.techniques.class_model.ClassModel", "l2": 0.1}
        put_run(root, f"fig1/{network}/default", panels=["paper", "clearer"], settings={"technique": technique})
    put_failure(root, "fig2/net/seed=3", 'seed: expected <b>"more"</b>.')
    (root / "fig2" / "net" / "seed=4.part").mkdir()
    put_sweep(root)


def put_numbers(
    root: Path, name: str, *, score: float, status: str = "done", measured: float = 1.0, verdict: str = "holds"
) -> None:
    folder = root / name / "net" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    claim = {**CLAIM, "id": "c", "estimate": measured, "interval": [measured, 3.0], "verdict": verdict}
    found: dict[str, Any] = {"experiment": name, "network": "net", "status": status, "seconds": 1.0}
    (folder / "metrics.json").write_text(json.dumps({**found, "metrics": {"score": score}, "claims": [claim]}))
