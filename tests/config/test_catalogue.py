"""The YAML files a user may name."""

import sys
from pathlib import Path

import pytest

from deepinside.cli import run as cli
from deepinside.config import catalogue
from deepinside.config.composition import compose_dict
from deepinside.config.paths import ROOT
from deepinside.errors import DeepInsideError


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_ships_is_there_with_a_title(bench: Path) -> None:
    assert {"tinycaffenet", "caffenet", "vgg16", "vgg19", "resnet50"} <= set(catalogue.files("network"))
    assert {"fig1_class_models", "fig2_saliency"} <= set(catalogue.files("experiment"))
    for group in catalogue.GROUPS:
        assert all(catalogue.titles(group).values()), group


def test_ones_own_files_come_over_those_that_ship_and_are_composed(bench: Path) -> None:
    own = put(bench / "experiments" / "mine.yaml", "title: Mine\nseed: 7\ntechnique: {target: top5}\n")
    put(bench / "experiments" / "fig2_saliency.yaml", "title: Mine instead\n")
    assert catalogue.files("experiment")["mine"] == own
    config = compose_dict(["experiment=mine"])
    assert (config["name"], config["seed"], config["technique"]["target"]) == ("mine", 7, "top5")
    assert compose_dict(["experiment=fig2_saliency"])["title"] == "Mine instead"


def test_ones_own_network_remembers_its_folder(bench: Path) -> None:
    text = (ROOT / "conf_models" / "squeezenet.yaml").read_text(encoding="utf-8").replace("name: squeezenet", "")
    path = put(bench / "conf_models" / "mine.yaml", text)
    assert catalogue.network_node("mine", path)["folder"] == str(path.parent)
    shipped = catalogue.files("network")["caffenet"]
    assert "folder" not in catalogue.network_node("caffenet", shipped)


def test_an_experiment_stands_over_the_defaults_and_the_command_line_over_it(bench: Path) -> None:
    put(bench / "experiments" / "mine.yaml", "defaults: [{override /network: vgg16}, _self_]\nseed: 7\n")
    assert compose_dict(["experiment=mine"])["network"]["name"] == "vgg16"
    config = compose_dict(["experiment=mine", "network=tinycaffenet", "seed=8"])
    assert (config["network"]["name"], config["seed"]) == ("tinycaffenet", 8)


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "just words", "a: \x00", ""])
def test_a_file_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match=r"odd\.yaml: expected"):
        catalogue.read(put(tmp_path / "odd.yaml", text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(DeepInsideError, match=r"odd\.yaml: expected a YAML file"):
        catalogue.read(path)


def test_powers_of_ten_are_numbers_as_on_the_command_line(tmp_path: Path) -> None:
    found = catalogue.read(put(tmp_path / "a.yaml", "a: 1e-4\nb: 1.5E+3\nc: n01443537\nd: 1e-4x\ne: .5e1\nf: '1e-4'\n"))
    assert found == {"a": 1e-4, "b": 1500.0, "c": "n01443537", "d": "1e-4x", "e": 5.0, "f": "1e-4"}


def test_composing_disturbs_no_run_in_progress() -> None:
    from hydra.core.global_hydra import GlobalHydra

    compose_dict([])
    assert not GlobalHydra.instance().is_initialized()


def test_a_place_without_a_configuration_cannot_be_repeated(tmp_path: Path) -> None:
    with pytest.raises(DeepInsideError, match="--repeat: expected the folder of a result"):
        catalogue.publish_result(tmp_path)


@pytest.mark.parametrize("text", ["a: [1", "- a\n", "a: \x00"])
def test_a_broken_file_is_in_nobodys_way_and_is_named_when_asked_for(text: str, bench: Path) -> None:
    for group, folder in catalogue.GROUPS.items():
        path = put(bench / folder / "odd.yaml", text)
        assert compose_dict([])["network"]["name"] == "tinycaffenet"
        with pytest.raises(DeepInsideError, match=r"odd\.yaml: expected"):
            compose_dict([f"{group}=odd"])
        assert "odd.yaml: expected" in catalogue.titles(group)["odd"]
        assert "Saliency maps" in catalogue.titles("experiment")["fig2_saliency"]
        shipped = catalogue.files(group)[{"experiment": "fig2_saliency"}.get(group, "tinycaffenet")]
        path.write_bytes(shipped.read_bytes())
        assert compose_dict([f"{group}=odd"])["technique"]


def test_a_broken_file_stops_no_run_and_is_said_in_one_sentence(
    bench: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(bench / "experiments" / "odd.yaml", "a: [1")
    said = []
    for words in (["--cfg", "job"], ["--cfg", "job", "experiment=odd"]):
        monkeypatch.setattr(sys, "argv", ["deepinside", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said.append(str(end.value.code))
    assert said[0] == "0"
    assert said[1].startswith("deepinside: odd.yaml: expected a YAML file")
    assert "name: tinycaffenet" in capsys.readouterr().out
