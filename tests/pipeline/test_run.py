"""One run from a configuration to its folder, with a technique of which everything is known."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Probe, content, metrics, photo

from deepinside.config.composition import compose_dict
from deepinside.errors import DeepInsideError
from deepinside.pipeline import run as pipeline
from deepinside.pipeline.checkpoints import ChunkResult
from deepinside.results.folder import is_done, read_config
from deepinside.results.shown import read_shown
from deepinside.types import ImageBatch, Item, Panel, Photo, TechniqueOutput


@cache
def _composed() -> dict[str, Any]:
    return compose_dict([])


def config(root: Path | None, variants: dict[str, Any] | None = None, **probe: Any) -> dict[str, Any]:
    found = copy.deepcopy(_composed())
    found["technique"] = {"_target_": f"{Probe.__module__}.{Probe.__qualname__}", **probe}
    found["images"] |= {"root": root and str(root), "names": [], "batch": 2}
    found["runtime"]["threads"] = 1
    return {**found, "variants": variants or {}}


@pytest.fixture
def photos(bench: Path) -> Path:
    for place, name in enumerate(("a", "b", "c", "d", "e")):
        photo(bench / "photos" / f"{name}.png", 40 * place)
    return bench / "photos"


# ---- variants ----


def item(name: str, *panels: str, **numbers: float) -> Item:
    made = tuple(Panel(panel, torch.zeros(2, 2), "magnitude") for panel in panels)
    return Item(name, name, made, numbers, {"objective": torch.zeros(3)})


def test_without_variants_nothing_is_renamed() -> None:
    one = TechniqueOutput((item("a", "photo", "map", score=1.0),), ("departs",))
    assert pipeline.combine_variants({"": one}) == one


def test_variants_of_one_item_become_one_item_with_one_photo() -> None:
    first = TechniqueOutput((item("a", "photo", "map", score=1.0), item("b", "photo")), ("departs",))
    second = TechniqueOutput((item("a", "photo", "map", score=2.0),))
    found = pipeline.combine_variants({"x": first, "y": second})
    assert [i.name for i in found.items] == ["a", "b"]
    both = found.items[0]
    assert [panel.name for panel in both.panels] == ["photo", "x/map", "y/map"]
    assert both.metrics == {"x/score": 1.0, "y/score": 2.0}
    assert set(both.trace) == {"x/objective", "y/objective"}
    assert found.deviations == ("x: departs",)


# ---- a whole run ----


def test_a_run_leaves_what_the_contract_names(photos: Path, bench: Path) -> None:
    folder = bench / "out"
    given = config(photos, {"plain": {}, "rough": {"noise": 5.0}})
    found = pipeline.run(given, folder)
    assert found == metrics(folder)
    assert is_done(folder)
    assert read_config(folder) == given
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    panels = {f"panels/{variant}/map/{name}.png" for variant in ("plain", "rough") for name in "abcde"}
    assert names == panels | {
        "metrics.json", "config.yaml", "provenance.json", "figure.png", "arrays.npz", "items.parquet", "shown.json",
    }  # fmt: skip
    assert found["metrics"]["plain/level"] == pytest.approx(
        np.mean([v["plain/level"] for v in found["items"].values()])
    )
    assert found["metrics"]["rank_correlation/plain~rough"] > 0.5
    with np.load(folder / "arrays.npz") as arrays:
        assert arrays["c/plain/map"].shape == (64, 64)


def test_provenance_names_the_very_files_that_went_in(photos: Path, bench: Path) -> None:
    import hashlib
    import json

    pipeline.run(config(photos), bench / "out")
    found = json.loads((bench / "out" / "provenance.json").read_text())
    hashed = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.iterdir()}
    assert found["images"] == hashed
    assert found["network"]["sha256"] == config(photos)["network"]["sha256"]
    assert max(found["network"]["checks"].values()) < 1e-4
    assert found["runtime"]["device"] == "cpu"
    assert {"commit", "dirty"} == set(found["code"])


def test_a_figure_that_cannot_be_drawn_is_a_failed_run(
    photos: Path, bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise DeepInsideError("no figure")

    monkeypatch.setattr(pipeline.redraw, "save_pictures", refuse)
    with pytest.raises(DeepInsideError, match="no figure"):
        pipeline.run(config(photos), bench / "out")
    assert not is_done(bench / "out")


def test_the_same_run_gives_the_same_bytes_whatever_the_batch(photos: Path, bench: Path) -> None:
    given = config(photos, noise=3.0)
    pipeline.run(given, bench / "first")
    pipeline.run(given, bench / "second")
    assert content(bench / "first") == content(bench / "second")
    given["images"]["batch"] = 5
    pipeline.run(given, bench / "other")
    first, other = content(bench / "first"), content(bench / "other")
    del first["config.yaml"], other["config.yaml"]
    assert first == other


def test_another_seed_gives_other_noise_and_zero_is_a_seed(photos: Path, bench: Path) -> None:
    found = [
        pipeline.run({**config(photos, noise=3.0), "seed": seed}, bench / str(seed))["metrics"]["level"]
        for seed in (0, 1)
    ]
    assert found[0] != found[1]


def test_unreadable_photos_are_left_out_and_named(photos: Path, bench: Path) -> None:
    (photos / "b.png").write_bytes(b"no image")
    found = pipeline.run(config(photos), bench / "out")
    assert [entry["name"] for entry in found["skipped"]] == ["b.png"]
    assert set(found["items"]) == set("acde")
    assert found["status"] == "done"


def test_where_no_photo_can_be_read_the_run_has_failed(bench: Path) -> None:
    (bench / "photos").mkdir()
    (bench / "photos" / "a.png").write_bytes(b"")
    with pytest.raises(DeepInsideError, match=r"None of 1 photos can be read; a\.png"):
        pipeline.run(config(bench / "photos"), bench / "out")
    assert metrics(bench / "out")["status"] == "failed"


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [("error", "probe: diverged"), ("fault", "ZeroDivisionError: a fault"), ("nan", "expected a number, found nan")],
)
def test_a_run_that_fails_says_why_and_never_replaces_one_that_did_not(
    trouble: str, reason: str, photos: Path, bench: Path
) -> None:
    folder = bench / "results" / "out"
    for _ in range(2):
        with pytest.raises((DeepInsideError, ZeroDivisionError)):
            pipeline.run(config(photos, trouble=trouble), folder)
    assert metrics(folder)["status"] == "failed"
    assert reason in metrics(folder)["reason"]
    assert {path.name for path in folder.iterdir()} == {"metrics.json", "config.yaml"}
    pipeline.run(config(photos), folder)
    with pytest.raises((DeepInsideError, ZeroDivisionError)):
        pipeline.run(config(photos, trouble=trouble), folder)
    assert is_done(folder)
    assert {path.name for path in folder.parent.iterdir()} == {"out", "out.failed"}


def test_what_is_refused_before_any_work_leaves_no_folder(photos: Path, bench: Path) -> None:
    refused = [
        (config(photos, trouble="refused"), "trouble: expected none"),
        (config(photos, troubel="none"), "technique.troubel: no such key"),
        (config(bench / "nowhere"), "images.root is"),
        ({**config(photos), "claims": ["earth_is_flat"]}, "unknown claim 'earth_is_flat'; known claims are"),
    ]
    for given, words in refused:
        with pytest.raises(DeepInsideError) as error:
            pipeline.run(given, bench / "out" / "default")
        assert words in str(error.value)
    assert not (bench / "out").exists()


def test_a_network_that_cannot_be_loaded_is_a_failed_run(photos: Path, bench: Path) -> None:
    given = config(photos)
    given["network"]["sha256"] = "0" * 64
    with pytest.raises(DeepInsideError, match="SHA-256"):
        pipeline.run(given, bench / "out")
    assert metrics(bench / "out")["status"] == "failed"


def test_only_the_pictures_of_the_first_items_stay_in_memory() -> None:
    record = ChunkResult()
    for place in range(10):
        shot = Photo(f"p{place}", torch.zeros(3, 2, 2), f"hash{place}")
        batch = ImageBatch((shot,), shot.pixels[None])
        pipeline.collect(record, batch, TechniqueOutput((item(shot.stem, "map", level=1.0),)), limit=3 - place)
    assert [kept.name for kept in record.shown] == ["p0", "p1", "p2"]
    assert [row.sha256 for row in record.rows] == [f"hash{place}" for place in range(10)]


def test_a_run_remembers_no_more_for_more_photos(photos: Path, bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch that is done nothing stays but its numbers, the first batch and the first items' pictures apart."""
    import gc
    import weakref

    seen: list[weakref.ref[ImageBatch]] = []
    alive: list[int] = []
    moved = pipeline.batch_to_device

    def watched(batch: ImageBatch, network: Any) -> ImageBatch:
        gc.collect()
        alive.append(sum(ref() is not None for ref in seen))
        found = moved(batch, network)
        seen.append(weakref.ref(found))
        return found

    monkeypatch.setattr(pipeline, "batch_to_device", watched)
    given = config(photos)
    given["images"]["batch"] = 1
    given["figure"]["limit"] = 1
    pipeline.run(given, bench / "out")
    assert len(alive) == 5
    assert max(alive) <= 1  # the one before this


def test_double_precision_is_what_it_says(photos: Path, bench: Path) -> None:
    given = config(photos)
    given["runtime"]["precision"] = "float64"
    single, double = pipeline.run(config(photos), bench / "a"), pipeline.run(given, bench / "b")
    assert single["metrics"]["level"] == pytest.approx(double["metrics"]["level"], rel=1e-5)


def test_two_targets_of_one_name_keep_a_picture_each(bench: Path) -> None:
    few = ["technique.optimiser.steps=1", "technique.targets=[lion,lion,LION]", "runtime.threads=1"]
    found = pipeline.run(compose_dict(["technique=class_model", "images=none", *few]), bench / "out")
    assert list(found["items"]) == ["lion", "lion-2", "lion-3"]
    assert len(list((bench / "out" / "panels" / "class_model").iterdir())) == 3


@pytest.mark.parametrize("saved", ["all", "shown", "none"])
def test_a_figure_in_the_order_of_a_metric_shows_its_largest_and_smallest_values(photos: Path, saved: str) -> None:
    """Photos a to e become brighter; their numbers are known only at the end."""
    chosen = config(photos)
    chosen["figure"] |= {"order": "level", "limit": 4}
    chosen["save"] = {"panels": saved, "maps": saved}
    folder = photos.parent / saved
    found = pipeline.run(chosen, folder)
    extremes = ["e", "a", "d", "b"]
    assert list(found["items"]) == list(found["predictions"]) == extremes
    assert (folder / "figure.png").is_file()
    kept = {"all": ["a", "b", "c", "d", "e"], "shown": sorted(extremes), "none": []}[saved]
    assert sorted(path.stem for path in folder.glob("panels/map/*.png")) == kept
    if saved != "none":
        shown = read_shown(folder)
        assert [one.name for one in shown] == extremes
        levels = [one.metrics["level"] for one in shown]
        assert levels[0] > levels[2] > levels[3] > levels[1]
    first = pipeline.run({**chosen, "figure": {**chosen["figure"], "order": "no such metric"}}, photos.parent / "first")
    assert list(first["items"]) == ["a", "b", "c", "d"]
