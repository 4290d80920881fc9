"""Runs that share a batch leave what they leave alone, byte for byte; what cannot be shared is left to the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from corridor import call, content, metrics, photo

from deepinside.config.composition import compose_dict
from deepinside.errors import DeepInsideError
from deepinside.optimisation import callbacks, optimisers
from deepinside.pipeline import run as pipeline
from deepinside.pipeline.checkpoints import Checkpointer
from deepinside.sweeps import batching

MODEL = ["technique=class_model", "images=none", "technique.targets=[lion]", "technique.optimiser.steps=6",
         "technique.l2=1e-6", "runtime.threads=1"]  # fmt: skip
INVERSION = ["technique=inversion", "technique.layers=[conv1,pool5,fc8]", "runtime.threads=1", "images.names=[]",
             "technique.optimiser.schedule=[[4,0.004]]"]  # fmt: skip


def configs(words: list[str], *changes: list[str]) -> list[dict[str, Any]]:
    return [compose_dict([*words, *change]) for change in changes]


def both_ways(given: list[dict[str, Any]], root: Path) -> int:
    """Every configuration alone and after a shared batch; the bytes must be the same. How many shared one."""
    for number, config in enumerate(given):
        pipeline.run(config, root / "alone" / str(number))
    folders = [root / "shared" / str(number) for number in range(len(given))]
    count = batching.optimise_in_batches(list(zip(given, folders, strict=True)))
    for number, config in enumerate(given):
        pipeline.run(config, folders[number])
        assert content(folders[number]) == content(root / "alone" / str(number))
    assert {path.name for path in (root / "shared").iterdir()} == {folder.name for folder in folders}
    return count


def climbs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each step climbed, from here on."""
    seen: list[int] = []
    original = optimisers.objective_gradient

    def counted(objective: Any, x: torch.Tensor, step: int, items: range) -> Any:
        seen.append(len(x))
        return original(objective, x, step, items)

    monkeypatch.setattr(optimisers, "objective_gradient", counted)
    return seen


def test_weights_seeds_classes_and_starts_share_a_batch(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = configs(
        MODEL, [], ["technique.l2=1e-5"], ["technique.total_variation=1e-6"], ["technique.start=noise"],
        ["technique.start=noise", "seed=3"], ["technique.targets=[goldfish,goose]"], ["technique.jitter=0.1"],
        ["technique.blur=0.7", "technique.blur_every=2"], ["technique.p_norm=1e-12"],
    )  # fmt: skip
    seen = climbs(monkeypatch)
    assert both_ways(given, bench) == 9
    alone, shared = seen[: 9 * 6], seen[9 * 6 :]
    assert sorted(set(alone)) == [1, 2]
    assert shared == [10] * 6  # and the runs themselves have nothing left to climb


def test_inversions_of_photos_share_every_group_of_layers(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [photo(bench / "photos" / f"{level}.png", level) for level in (40, 120, 200)]
    words = [*INVERSION, f"images.root={photos[0].parent}", "images.batch=2", "technique.layers_at_once=2"]
    given = configs(words, [], ["seed=1"], ["technique.energy.alpha_weight=1e-9"])
    seen = climbs(monkeypatch)
    assert both_ways(given, bench) == 3
    assert max(seen) == 3 * 2 * 2


def test_other_rules_photos_or_networks_are_not_joined(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = configs(
        MODEL, [], ["technique/optimiser=adam", "technique.optimiser.steps=6"], ["technique.objective=posterior"]
    )
    seen = climbs(monkeypatch)
    assert both_ways(given, bench) == 3  # they could have been joined by one's photos and network
    assert set(seen) == {1}


LBFGS = (
    "technique/optimiser=lbfgs",
    "technique.optimiser.steps=2",
    "technique.l2=1e-6",
    "technique.parametrisation=pixels",
)


def test_lbfgs_goes_one_by_one(bench: Path) -> None:
    given = configs(MODEL, *([*LBFGS, f"seed={s}"] for s in (0, 1)))
    both_ways(given, bench)


def test_a_single_run_and_one_that_is_done_are_left_alone(bench: Path) -> None:
    first, second = configs(MODEL, [], ["seed=1"])
    pipeline.run(first, bench / "first")
    assert batching.optimise_in_batches([(first, bench / "first"), (second, bench / "second")]) == 0
    assert not (bench / "second.part").exists()
    refused = {**second, "claims": ["earth_is_flat"]}
    assert batching.optimise_in_batches([(refused, bench / "r"), (refused, bench / "s")]) == 0


def test_one_that_diverges_does_not_take_the_others_with_it(bench: Path) -> None:
    given = configs([*MODEL, "technique.optimiser.rate_in=gradient"], [], ["technique.l2=1e30"], ["seed=1"])
    folders = [bench / str(number) for number in range(3)]
    batching.optimise_in_batches(list(zip(given, folders, strict=True)))
    pipeline.run(given[0], folders[0])
    with pytest.raises(DeepInsideError, match="NaN or infinity"):
        pipeline.run(given[1], folders[1])
    pipeline.run(given[2], folders[2])
    assert [metrics(folder)["status"] for folder in folders] == ["done", "failed", "done"]


def test_an_interrupted_batch_goes_on_as_a_batch(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = configs(MODEL, [], ["technique.l2=1e-5"])
    for number, config in enumerate(given):
        pipeline.run(config, bench / "alone" / str(number))
    folders = [bench / "shared" / str(number) for number in range(2)]
    monkeypatch.setattr(Checkpointer, "due", lambda self, seconds=None: True)
    stop_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        batching.optimise_in_batches(list(zip(given, folders, strict=True)))
    monkeypatch.undo()
    monkeypatch.chdir(bench)
    seen = climbs(monkeypatch)
    batching.optimise_in_batches(list(zip(given, folders, strict=True)))
    assert seen == [2, 2, 2]
    for number, config in enumerate(given):
        pipeline.run(config, folders[number])
        assert content(folders[number]) == content(bench / "alone" / str(number))


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report: Callable[[callbacks.Step], None] = callbacks.notify

    def stopping(now: callbacks.Step) -> None:
        report(now)
        if now.number == steps:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks, "notify", stopping)


def test_the_launcher_leaves_the_same_folders(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-m", *MODEL, "technique.l2=1e-6,1e-5"]
    assert call(monkeypatch, *words, "runtime.results=one") == 0
    assert call(monkeypatch, *words, "runtime.results=two", "hydra/launcher=batched") == 0
    one, two = (sorted(root.glob("adhoc/*/*")) for root in (Path("one"), Path("two")))
    assert [path.name for path in one] == [path.name for path in two]
    for first, second in zip(one, two, strict=True):
        mine, other = content(first), content(second)
        del mine["config.yaml"], other["config.yaml"]  # they name the results folder
        assert mine == other
