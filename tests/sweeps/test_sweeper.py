"""Which runs a command asks for, what becomes of them, and what is recorded and said."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corridor import call
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import MissingConfigException

from deepinside.config import catalogue, hydra_errors
from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError
from deepinside.sweeps import ray_launcher, sweeper
from deepinside.sweeps.sweeper import GridSweeper, Job

FAST = ("experiment=caffe_saliency_cat", "network=tinycaffenet")
MINE = """
defaults:
  - caffe_saliency_cat
  - _self_
title: Mine
hydra:
  mode: MULTIRUN
  sweeper:
    params:
      technique.show: [signed, magnitude]
"""


@pytest.fixture
def asked(bench: Path) -> Iterator[Any]:
    """What a command's words come to: the words of every run."""
    (bench / "experiments").mkdir()
    (bench / "experiments" / "mine.yaml").write_text(MINE)
    catalogue.publish()

    def runs(*words: str, zipped: tuple[str, ...] = (), **params: Any) -> list[tuple[str, ...]]:
        one = GridSweeper(None, params, zipped)
        one.loader = GlobalHydra.instance().config_loader()
        commands = [one.parsed(command) for command in one.commands(list(words))]
        return [run for command in commands for run in sweeper.combinations(command, one.zipped)]

    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        yield runs


def record(bench: Path) -> dict[str, Any]:
    """The record of the one sweep there is."""
    (path,) = (bench / "results" / "sweeps").glob("*/sweep.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# ---- which runs ----


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["seed=1"], ["seed=1"]),
        (["seed=1,2"], ["seed=1", "seed=2"]),
        (["seed=range(3)"], ["seed=0", "seed=1", "seed=2"]),
        (["seed=range(0,7,3)"], ["seed=0", "seed=3", "seed=6"]),
        (["seed=choice(1,2)"], ["seed=1", "seed=2"]),
        (["network=glob(vgg*,exclude=*caffe)"], ["network=vgg16", "network=vgg19"]),
        (["experiment=glob(fig3*)"], ["experiment=fig3_localisation", "experiment=fig3_localisation_top5"]),
        (["seed=1", "seed=2,3"], ["seed=2", "seed=3"]),
        (["seed=1,2", "technique.l2=3,4"],
         ["seed=1 technique.l2=3", "seed=1 technique.l2=4", "seed=2 technique.l2=3", "seed=2 technique.l2=4"]),
        (["technique.target='golden retriever',lion"],
         ["technique.target='golden retriever'", "technique.target=lion"]),
    ],
)  # fmt: skip
def test_every_combination_is_a_run(words: list[str], runs: list[str], asked: Any) -> None:
    assert [" ".join(run) for run in asked(*words)] == runs


def test_zipped_keys_advance_together(asked: Any) -> None:
    found = asked("network=a,b", "seed=1,2", "technique.l2=3,4", zipped=("seed", "technique.l2"))
    assert {frozenset(run) for run in found} == {
        frozenset({f"network={network}", f"seed={seed}", f"technique.l2={seed + 2}"})
        for network in "ab"
        for seed in (1, 2)
    }
    assert len(found) == 4


def test_zipped_keys_need_as_many_values(asked: Any) -> None:
    with pytest.raises(DeepInsideError, match=r"same number .*seed with 2, technique\.l2 with 0"):
        asked("seed=1,2", zipped=("seed", "technique.l2"))
    with pytest.raises(DeepInsideError, match="found seed with 2, network with 3"):
        asked("seed=1,2", "network=a,b,c", zipped=("seed", "network"))


def test_what_cannot_be_listed_is_refused(asked: Any) -> None:
    with pytest.raises(DeepInsideError, match=r"technique\.l2=interval\(0,1\): expected values that can be listed"):
        asked("technique.l2=interval(0,1)")


def test_what_a_file_sweeps_comes_under_what_the_command_says(asked: Any) -> None:
    inside = {"seed": "1,2", "technique.l2": [0.5, "1e-3"], "images": None}
    assert asked("experiment=x", **inside) == [
        (f"seed={seed}", f"technique.l2={l2}", "images=null", "experiment=x")
        for seed in (1, 2)
        for l2 in (0.5, 0.001)
    ]  # fmt: skip
    assert asked("seed=7", **{"seed": "1,2"}) == [("seed=7",)]


def test_each_of_several_experiments_sweeps_what_its_own_file_says(asked: Any) -> None:
    assert asked("seed=3", "experiment=caffe_saliency_cat,mine") == [
        ("experiment=caffe_saliency_cat", "seed=3"),
        ("experiment=mine", "technique.show=signed", "seed=3"),
        ("experiment=mine", "technique.show=magnitude", "seed=3"),
    ]


def test_what_an_experiment_inherits_is_swept_too(asked: Any, bench: Path) -> None:
    own = "defaults: [/experiment/mine, _self_]\nhydra: {sweeper: {params: {seed: 1}}}\n"
    (bench / "experiments" / "heir.yaml").write_text(own)
    assert sweeper.own_params("heir") == {"technique.show": ["signed", "magnitude"], "seed": 1}


# ---- what becomes of them ----


def test_a_sweep_leaves_its_record_in_the_same_place_every_time(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert call(monkeypatch, "-m", *FAST, "technique.show=signed,magnitude") == 0
    found = record(bench)
    assert found["name"] == "caffe_saliency_cat,network=tinycaffenet,technique.show=signed+magnitude"
    assert found["command"].startswith("deepinside -m experiment=caffe_saliency_cat network=tinycaffenet")
    assert found["axes"] == {"technique.show": ["signed", "magnitude"]}
    assert [run["status"] for run in found["runs"]] == ["done", "done"]
    for run, shown in zip(found["runs"], ("signed", "magnitude"), strict=True):
        assert run["overrides"] == {
            "experiment": "caffe_saliency_cat", "network": "tinycaffenet", "technique.show": shown}  # fmt: skip
        metrics = json.loads((bench / "results" / run["folder"] / "metrics.json").read_text())
        assert (run["metrics"], run["seconds"]) == (metrics["metrics"], metrics["seconds"])
    folder = bench / "results" / "sweeps" / found["name"]
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "sweep.csv", "figure.png", "metrics.png"}
    out = capsys.readouterr().out
    assert out.count(f"2 runs: results/sweeps/{found['name']}") == 2
    assert "[1/2] caffe_saliency_cat technique.show=signed ✓ already done" in out
    assert out.count("already done") == 2
    assert {path.name for path in (bench / "results").iterdir()} == {
        "caffe_saliency_cat",
        "sweeps",
        "index.html",
        "report",
    }


def test_an_experiment_that_sweeps_by_itself(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench / "experiments").mkdir()
    (bench / "experiments" / "mine.yaml").write_text(MINE)
    assert call(monkeypatch, "experiment=mine") == 0
    assert record(bench)["axes"] == {"technique.show": ["signed", "magnitude"]}
    names = {path.name for path in (bench / "results" / "mine" / "tinycaffenet").iterdir()}
    assert names == {"technique.show=signed", "default"}


def test_a_refused_run_is_recorded_with_its_reason_and_the_others_go_on(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = str(call(monkeypatch, "-m", *FAST, "technique.target=top1,top0,${nowhere}"))
    assert sentence.startswith("deepinside: 2 of 3 runs were not done; results/sweeps/")
    runs = record(bench)["runs"]
    assert [run["status"] for run in runs] == ["done", "failed", "failed"]
    assert "top0" in runs[1]["reason"]
    assert "'nowhere' not found" in runs[2]["reason"]
    assert runs[2]["folder"] is None


def test_experiments_side_by_side_are_no_sweep_but_one_with_several_runs_is(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "experiments").mkdir()
    (bench / "experiments" / "mine.yaml").write_text(MINE)
    assert call(monkeypatch, "-m", "experiment=caffe_saliency_cat,mine", "network=tinycaffenet") == 0
    assert record(bench)["axes"] == {"technique.show": ["signed", "magnitude"]}  # the only record
    assert capsys.readouterr().out.count("results/sweeps/") == 1
    bad = ("-m", "experiment=caffe_saliency_cat,fig2_saliency", "network=tinycaffenet", "technique.target=top0")
    assert str(call(monkeypatch, *bad)).endswith(
        "2 of 2 runs were not done; they are of caffe_saliency_cat, fig2_saliency, with their reasons above."
    )
    assert len(list((bench / "results" / "sweeps").iterdir())) == 1


def stopping(error: BaseException) -> Any:
    """A launcher that does the first job and then stops with `error`."""
    basic: Any = Plugins.instance().class_name_to_class["hydra._internal.core_plugins.basic_launcher.BasicLauncher"]
    whole = basic.launch

    def launch(self: Any, jobs: Any, initial_job_idx: int) -> Any:
        whole(self, jobs[:1], initial_job_idx)
        raise error

    return basic, launch


def test_what_a_broken_launcher_left_is_recorded_and_the_rest_is_missing(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-m", *FAST, "technique.show=signed,magnitude", "seed=0")
    with monkeypatch.context() as patched:
        basic, launch = stopping(RuntimeError("a worker was\nkilled"))
        patched.setattr(basic, "launch", launch)
        sentence = str(call(monkeypatch, *words))
    assert "(RuntimeError: a worker was killed); 1 of 2 runs are not done" in sentence
    assert [run["status"] for run in record(bench)["runs"]] == ["done", "missing"]
    assert call(monkeypatch, *words) == 0
    assert [run["status"] for run in record(bench)["runs"]] == ["done", "done"]


def test_a_sweep_that_is_interrupted_is_recorded_and_stops(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    basic, launch = stopping(KeyboardInterrupt())
    monkeypatch.setattr(basic, "launch", launch)
    monkeypatch.setattr("sys.argv", ["deepinside", "-m", *FAST, "seed=0,1"])
    with pytest.raises(KeyboardInterrupt):
        from deepinside.cli import run as cli

        cli.main()
    assert [run["status"] for run in record(bench)["runs"]] == ["done", "missing"]


def job(folder: str | None) -> Job:
    root = Path("results")
    return Job((), {"seed": 0}, root, None if folder is None else root / folder, ("seen", "tiny"))


def said(status: str, **more: Any) -> dict[str, Any]:
    return {"status": status, "reason": None, "seconds": 1.0, "metrics": {}, "complete": status == "done", **more}


def test_runs_that_share_a_folder_are_one_run(bench: Path) -> None:
    answers = [said("failed", reason="another has it"), said("done", metrics={"score": 1.0}), said("done")]
    (found,) = sweeper.settled([job("a"), job("a"), job("a")], answers)
    assert (found.status, found.folder, found.metrics) == ("done", "a", {"score": 1.0})
    assert len(list(sweeper.settled([job(None), job(None)], [said("failed"), said("failed")]))) == 2


def test_workers_of_one_run_are_one_run_of_the_sweep(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, "-m", *FAST, "runtime.worker=range(2)") == 0
    found = record(bench)
    assert (found["name"], found["axes"]) == ("caffe_saliency_cat,network=tinycaffenet", {})
    assert [run["overrides"].get("runtime.worker") for run in found["runs"]] == [None]


def test_a_run_whose_launcher_lost_it_is_what_its_folder_says(bench: Path) -> None:
    (bench / "results" / "a").mkdir(parents=True)
    (bench / "results" / "a" / "metrics.json").write_text('{"status": "done", "metrics": {"score": 2.0}}')
    lost = sweeper.answer(ray_launcher.lost(RuntimeError("gone\nfor good")))
    assert lost["status"] == "missing"
    found = list(sweeper.settled([job("a"), job("b")], [lost, lost]))
    assert [run.status for run in found] == ["done", "missing"]
    assert found[0].metrics == {"score": 2.0}
    assert found[1].reason == "its worker was lost (RuntimeError: gone)"


def test_what_a_job_says_is_what_its_task_returned() -> None:
    returned = JobReturn(status=JobStatus.COMPLETED)
    returned.return_value = said("done")
    assert sweeper.answer(returned) == said("done")


# ---- extras ----


@pytest.mark.parametrize(
    ("launcher", "extra"), [("joblib", "joblib"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit")]
)
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(launcher: str, extra: str) -> None:
    error = MissingConfigException("", missing_cfg_file=f"hydra/launcher/{launcher}", options=["basic", "ray"])
    assert hydra_errors.explain(error) == (
        f"hydra/launcher={launcher} needs an extra: install it with pip install 'deepinside[{extra}]'."
    )


def test_ray_is_asked_for_only_when_it_is_chosen(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_launcher.importlib.util, "find_spec", lambda name: None)
    sentence = str(call(monkeypatch, "-m", *FAST, "hydra/launcher=ray"))
    assert sentence == ("deepinside: hydra/launcher=ray needs an extra: install it with pip install 'deepinside[ray]'.")
    assert not (bench / "results" / "sweeps").exists()
