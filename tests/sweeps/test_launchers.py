"""The launchers of other packages bring back the basic launcher's bytes: joblib on cores, submitit on a queue."""

import importlib.util
import json
from pathlib import Path

import pytest
from corridor import call, content

pytestmark = pytest.mark.slow
WORDS = ("experiment=caffe_saliency_cat", "network=tinycaffenet", "technique.show=signed,magnitude", "seed=0,1")


def sweep(name: str, *words: str, bench: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, bytes]]:
    """The bytes of every result of the sweep, run in a folder of its own."""
    (bench / name).mkdir()
    monkeypatch.chdir(bench / name)
    assert call(monkeypatch, "-m", *words) == 0
    (record,) = (bench / name / "results" / "sweeps").glob("*/sweep.json")
    folders = [run["folder"] for run in json.loads(record.read_text())["runs"] if run["status"] == "done"]
    return {folder: content(bench / name / "results" / folder) for folder in folders}


def absent(plugin: str) -> bool:
    """Whether Hydra's plugin is not installed; without any there is no `hydra_plugins` at all."""
    return not (importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(f"hydra_plugins.{plugin}"))


@pytest.mark.skipif(absent("hydra_joblib_launcher"), reason="needs joblib")
def test_four_jobs_on_two_cores(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sweep("alone", *WORDS, bench=bench, monkeypatch=monkeypatch)
    words = (*WORDS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert len(alone) == 4
    assert sweep("joblib", *words, bench=bench, monkeypatch=monkeypatch) == alone


@pytest.mark.skipif(absent("hydra_submitit_launcher"), reason="needs submitit")
def test_two_jobs_on_a_queue(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sweep("alone", *WORDS, "seed=0", bench=bench, monkeypatch=monkeypatch)
    words = (*WORDS, "seed=0", "hydra/launcher=submitit_local")
    assert len(alone) == 2
    assert sweep("queue", *words, bench=bench, monkeypatch=monkeypatch) == alone
    assert list((bench / "queue" / "results" / ".sweep" / ".submitit").iterdir())  # what each job printed
