"""The command line: what it does, what it refuses, and what it leaves behind."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hydra
import pytest
from corridor import call, content, metrics, photo
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from deepinside.cli import run as cli
from deepinside.config import catalogue, hydra_errors
from deepinside.config.paths import ROOT
from deepinside.pipeline import run as pipeline
from deepinside.results import folder as results

FAST = ("experiment=caffe_saliency_cat", "network=tinycaffenet")
HOSTILE = ("<img src=x onerror=alert(1)>.jpg", "two words.png", 'Jürgen\'s "Straße".JPG', "$x$ & 100%.png", "猫.png")


def python(code: str, folder: Path) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def loaded_by(words: list[str], folder: Path) -> set[str]:
    """Which of the slow libraries `deepinside WORDS` imports."""
    code = (
        "import sys, contextlib, io\n"
        "from deepinside.cli import run as cli\n"
        f"sys.argv = ['deepinside', *{words!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    cli.main()\n"
        "print(*[name for name in ('torch', 'hydra', 'matplotlib', 'onnx', 'pydantic') if name in sys.modules])\n"
    )
    return set(python(code, folder).split())


# ---- nothing is done ----


def test_help_is_printed_without_loading_anything_slow(tmp_path: Path) -> None:
    assert loaded_by(["--help"], tmp_path) == set()


def test_the_configuration_is_shown_without_torch(tmp_path: Path) -> None:
    assert loaded_by(["--cfg", "job", "experiment=fig2_saliency"], tmp_path) <= {"hydra"}


def test_what_is_imported_is_left_out_of_every_later_search_for_garbage(tmp_path: Path) -> None:
    code = (
        "import gc, sys\n"
        "from deepinside.cli import run as cli\n"
        "cli.import_torch()\n"
        "print('torch' in sys.modules, gc.isenabled(), gc.get_freeze_count() > 100_000, len(gc.get_objects()) < 10_000)"
    )
    assert python(code, tmp_path).split() == ["True"] * 4


def test_help_names_every_network_and_experiment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert call(monkeypatch, "--help") == 0
    said = capsys.readouterr().out
    for word in (
        "technique=",
        "class_model  ",
        "fig1_class_models",
        "fig2_saliency",
        "tinycaffenet",
        "caffenet",
        "--repeat",
        "images.root=FOLDER",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["technique.taget=top1"], ("technique.taget: no such key", "target", "Did you mean target?")),
        (["colour=red"], ("colour: no such key", "network", "technique", "seed")),
        (["seed.deep=1"], ("seed.deep: no such key",)),
        (["experiment=fig2_salency"], ("experiment: expected one of", "Did you mean fig2_saliency?")),
        (["network=cafenet"], ("network: expected one of", "caffenet", "'cafenet'")),
        (["technique=salience"], ("technique: expected one of", "class_model", "Did you mean saliency?")),
        (["technique=class_model", "technique/optimiser=sgd"], ("technique/optimiser: expected one of", "momentum")),
        (["technique.target==1"], ("technique.target==1",)),
        (["-m", "technique=saliency,nope"], ("technique: expected one of", "'nope'")),
        (["--repeat"], ("--repeat: expected the folder",)),
        (["--repeat", "nowhere"], ("--repeat: expected the folder", "nowhere")),
    ],
)
def test_what_cannot_be_composed_is_one_sentence(
    words: list[str], said: tuple[str, ...], bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = call(monkeypatch, *words)  # given to sys.exit, which prints it and ends with 1
    assert isinstance(sentence, str)
    assert sentence.startswith("deepinside: ")
    assert "\n" not in sentence
    assert all(word in sentence for word in said), sentence
    assert not (bench / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["technique=class_model", "technique.l2=-1"], ("technique.l2", "greater than or equal to 0")),
        (["technique.target=${nowhere}"], ("'nowhere' not found", "technique.target")),
        (["+extra=1"], ("extra: no such key", "technique")),
        (["technique.target=golden retreiver"], ("'golden retreiver'", "golden retriever")),
        (["technique.target=conv9:1"], ("conv9", "conv5")),
        (["technique.target=top0"], ("top0",)),
        (["technique=layer_gradients", "technique.layers=[conf1]"], ("conf1", "conv1")),
        (["claims=[nonsense]"], ("nonsense", "taylor_first_order")),
        (["images.root=nowhere"], ("images.root is nowhere",)),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(
    words: list[str],
    said: tuple[str, ...],
    bench: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, *words) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("deepinside: ")
    assert all(word in sentence for word in said), sentence
    assert not (bench / "results").exists()


def test_hydras_own_traceback_is_shown_to_who_asks_for_it(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra.errors import ConfigCompositionException

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["deepinside", "colour=red"])
    with pytest.raises(ConfigCompositionException):
        cli.main()
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    call(monkeypatch, "colour=red")
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_an_error_that_is_no_refusal_of_a_key_is_said_in_one_line() -> None:
    assert hydra_errors.explain(ValueError("first\n  second.")) == "first second."


# ---- the defaults of an experiment ----


def composed(*words: str, name: str = "config") -> DictConfig:
    """What Hydra gives to a run of this command line."""
    catalogue.publish()
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        config = hydra.compose(name, list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture
def without_hydra() -> Iterator[None]:
    yield
    HydraConfig.instance().cfg = None


@pytest.mark.usefixtures("without_hydra")
@pytest.mark.parametrize(
    "words",
    [(), ("network=squeezenet",), ("runtime.results=elsewhere", "runtime.threads=1")],
    ids=["experiment", "network", "runtime"],
)
def test_a_command_without_changes_needs_no_second_composition(words: tuple[str, ...]) -> None:
    config = composed("experiment=fig2_saliency", *words)
    plain = OmegaConf.to_container(config, resolve=True)
    assert cli.is_default(config)
    assert results.folder_of(plain, plain) == results.folder_of(plain)
    assert results.folder_of(plain).name == "default"


@pytest.mark.usefixtures("without_hydra")
@pytest.mark.parametrize(
    "words", [("seed=1",), ("runtime=cuda",), ("~claims",), ("name=other",), ("+technique.new=1",), ("figure=rows",)]
)
def test_a_command_with_changes_is_compared_with_the_defaults(words: tuple[str, ...]) -> None:
    assert not cli.is_default(composed("experiment=fig2_saliency", *words))


@pytest.mark.usefixtures("without_hydra")
def test_a_command_without_an_experiment_is_compared_with_the_defaults() -> None:
    assert not cli.is_default(composed("network=squeezenet"))


# ---- something is done ----


def test_the_same_command_twice_and_its_configuration_fed_back_give_the_same_bytes(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bench / "results" / "caffe_saliency_cat" / "tinycaffenet" / "technique.show=signed"
    assert call(monkeypatch, *FAST, "technique.show=signed") == 0
    assert str(folder.relative_to(bench)) in capsys.readouterr().out
    first = content(folder)
    assert {"figure.png", "arrays.npz", "config.yaml", "panels/saliency/chelsea.png"} <= set(first)
    assert call(monkeypatch, *FAST, "technique.show=signed") == 0
    assert content(folder) == first
    kept = shutil.copytree(folder, bench / "kept")
    shutil.rmtree(bench / "results")
    for place in (str(kept), str(kept / "config.yaml")):
        assert call(monkeypatch, "--repeat", place) == 0
        assert content(folder) == first
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert {path.name for path in bench.iterdir()} == {"results", "kept"}  # Hydra leaves nothing of its own


def test_a_complete_result_is_recomputed_only_on_request(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *FAST) == 0
    arrays = bench / "results" / "caffe_saliency_cat" / "tinycaffenet" / "default" / "arrays.npz"
    right = arrays.read_bytes()
    arrays.write_bytes(b"changed")  # so a recomputation shows
    capsys.readouterr()
    assert call(monkeypatch, *FAST) == 0
    assert "runtime.overwrite=true" in capsys.readouterr().out
    assert arrays.read_bytes() == b"changed"
    assert call(monkeypatch, *FAST, "runtime.overwrite=true") == 0
    assert arrays.read_bytes() == right
    assert len(list(arrays.parent.parent.iterdir())) == 1


def test_a_repeated_configuration_can_be_changed(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(monkeypatch, *FAST) == 0
    network = bench / "results" / "caffe_saliency_cat" / "tinycaffenet"
    before = content(network / "default")
    assert call(monkeypatch, "--repeat", str(network / "default"), "seed=3", "technique.show=signed") == 0
    assert content(network / "default") == before
    assert metrics(network / "technique.show=signed,seed=3")["status"] == "done"


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_done(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(bench / "photos" / "good.png")
    (bench / "photos" / "bad.jpg").write_bytes(b"\xff\xd8\xff not really")
    assert call(monkeypatch, "images=none", "images.root=photos") == 1
    (folder,) = (bench / "results" / "adhoc" / "tinycaffenet").iterdir()
    found = metrics(folder)
    assert found["status"] == "done"
    assert [entry["name"] for entry in found["skipped"]] == ["bad.jpg"]
    assert (folder / "panels" / "saliency" / "good.png").is_file()
    assert "skipped bad.jpg" in capsys.readouterr().out
    sentence = str(call(monkeypatch, "-m", "images=none", "images.root=photos", "technique.show=magnitude,signed"))
    assert sentence.startswith("deepinside: all runs were done, but some left out photos")


def test_photos_of_any_name_go_through(bench: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in HOSTILE:
        photo(bench / "my photos" / name)
    assert call(monkeypatch, "images=none", "images.root=my photos") == 0
    (folder,) = (bench / "results" / "adhoc" / "tinycaffenet").iterdir()
    assert " " not in folder.name
    names = {path.stem for path in (folder / "panels" / "saliency").iterdir()}
    assert len(names) == len(HOSTILE)
    assert {"two words", "猫"} <= names
    assert not any(mark in name for name in names for mark in '<>"/\\')
    assert set(metrics(folder)["items"]) == names


def test_a_run_that_diverges_is_recorded_and_the_others_of_the_sweep_go_on(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("technique=class_model", "images=none", "technique.targets=[lion]", "technique.optimiser.steps=2",
             "technique.optimiser.rate_in=gradient", "technique.l2=1e-6")  # fmt: skip
    sentence = str(call(monkeypatch, "-m", *words, "technique.optimiser.rate=1e38,0.1"))
    assert sentence.startswith("deepinside: 1 of 2 runs were not done")
    folders = {path.name[-3:]: path for path in (bench / "results" / "adhoc" / "tinycaffenet").iterdir()}
    assert len(folders) == 2
    found = {name: metrics(folder) for name, folder in folders.items()}
    assert sorted(entry["status"] for entry in found.values()) == ["done", "failed"]
    (failed,) = [entry for entry in found.values() if entry["status"] == "failed"]
    assert "technique.optimiser.rate" in failed["reason"]
    said = capsys.readouterr().err
    assert "NaN or infinity" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("flags", [[], ["--verbose"]])
def test_a_fault_of_the_program_is_one_sentence_its_traceback_for_who_asks_and_the_others_go_on(
    flags: list[str], bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    look = pipeline.run_chunks

    def faulty(run, work, missing):  # type: ignore[no-untyped-def]
        if run.experiment.seed == 0:
            raise KeyError("lost")
        return look(run, work, missing)

    monkeypatch.setattr(pipeline, "run_chunks", faulty)
    assert str(call(monkeypatch, "-m", *FAST, *flags, "seed=0,1")).startswith("deepinside: 1 of 2 runs were not done")
    err = capsys.readouterr().err
    assert ("Traceback" in err) == bool(flags)
    assert "deepinside: KeyError: 'lost'" in err
    network = bench / "results" / "caffe_saliency_cat" / "tinycaffenet"
    assert metrics(network / "default")["reason"] == "KeyError: 'lost'"
    assert metrics(network / "seed=1")["status"] == "done"


@pytest.mark.parametrize("word", ["seed=-1", "network=nosuch"])
def test_verbose_adds_the_traceback_to_what_is_refused(
    word: str, bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, *FAST, word)
    assert "Traceback" not in capsys.readouterr().err
    call(monkeypatch, *FAST, word, "--verbose")
    assert "Traceback" in capsys.readouterr().err


def test_quiet_says_nothing_but_errors(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert call(monkeypatch, *FAST, "--quiet", "figure.formats=[pdf,svg]") == 0  # which tell of every font's tables
    assert not [told for told in caplog.records if told.name.startswith("fontTools")]
    assert call(monkeypatch, *FAST, "--quiet") == 0
    assert call(monkeypatch, "-m", *FAST, "--quiet", "seed=0,1") == 0
    assert call(monkeypatch, *FAST, "--quiet") == 0  # done already
    assert capsys.readouterr() == ("", "")
    call(monkeypatch, *FAST, "--quiet", "seed=-1")
    assert "seed" in capsys.readouterr().err


def test_a_results_folder_that_cannot_be_written_is_one_sentence(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench / "results").write_text("a file")
    assert call(monkeypatch, *FAST) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith("deepinside: results: ")
    sentence = str(call(monkeypatch, "-m", *FAST, "seed=0,1"))
    assert sentence.startswith("deepinside: runtime.results: ")


def test_a_run_that_is_killed_leaves_nothing_that_is_taken_for_a_result_or_that_runs(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*FAST, "technique.show=signed", "runtime.threads=1"]
    code = (
        "import os, signal, sys\n"
        "from deepinside.cli import run as cli\n"
        "from deepinside import figures\n"
        "figures.save_figure = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"sys.argv = ['deepinside', *{words!r}]\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=bench, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    network = bench / "results" / "caffe_saliency_cat" / "tinycaffenet"
    (left,) = network.iterdir()
    assert left.name.endswith(".part")
    assert (left / "result" / "arrays.npz").is_file()
    assert not results.is_done(left)
    (record,) = left.glob("chunks/*.record")
    bytes_of_it = record.read_bytes()
    record.write_bytes(f"cos\nmkdir\n(V{bench / 'was here'}\ntR.".encode())  # a pickle that makes a folder
    capsys.readouterr()
    assert call(monkeypatch, *words) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert f"{record.name}: expected a checkpoint" in sentence
    assert not (bench / "was here").exists()
    record.write_bytes(bytes_of_it)
    assert call(monkeypatch, *words) == 0
    (whole,) = [path for path in network.iterdir() if not path.name.endswith(".failed")]
    assert results.is_done(whole)
    assert not whole.name.endswith(".part")
