"""Every experiment: composes for every network, says what it is, and runs small on the network that ships."""

import re
import shlex
from ast import literal_eval
from functools import cache
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
from corridor import OWN_NETWORK, metrics, small
from graphs import filters, node
from omegaconf import DictConfig, OmegaConf

import deepinside as di
from deepinside import claims
from deepinside.cli import run as cli
from deepinside.config import catalogue
from deepinside.config.composition import compose_config, compose_dict
from deepinside.config.paths import ROOT
from deepinside.experiment.schema import read_experiment
from deepinside.networks.draft import draft, write
from deepinside.networks.spec import read_spec
from deepinside.results.folder import is_done

EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (ROOT / "conf_models").glob("*.yaml") if read_spec(path).checked is None)


@cache
def on_tiny(name: str) -> DictConfig:
    return compose_config([f"experiment={name}", "network=tinycaffenet"])


def on(name: str, network: str) -> dict[str, Any]:
    """The experiment's configuration on a network; composing anew for each would take a minute."""
    config = on_tiny(name).copy()
    OmegaConf.set_struct(config, False)
    node = catalogue.network_node(network, catalogue.files("network")[network])
    config.network = OmegaConf.create(node)
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def test_changing_the_network_afterwards_is_what_the_command_line_composes() -> None:
    words = ["experiment=fig1_class_models", "network=vgg16"]
    assert on("fig1_class_models", "vgg16") == compose_dict(words)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_composes_for_every_network(name: str) -> None:
    for network in NETWORKS:
        experiment = read_experiment(on(name, network))
        assert (experiment.name, experiment.network.name) == (name, network)
        assert experiment.title
        assert experiment.source
        claims.check_known(experiment.claims)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_says_what_it_is_and_how_to_run_it(name: str) -> None:
    lines = (ROOT / "experiments" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    header = [line for line in lines[: lines.index("defaults:")] if line.startswith("#")]
    assert any(line.strip("# ").startswith(f"deepinside experiment={name}") for line in header)
    assert any("Takes" in line for line in header)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_tells_what_it_asks_and_what_came_out(name: str) -> None:
    story = read_experiment(OmegaConf.to_container(on_tiny(name), resolve=True)).story  # type: ignore[arg-type]
    sentences = (story.question, story.paper, story.ours, story.difference)
    assert story.question.endswith("?") and story.link.startswith("https://")
    assert all(len(words) > 30 and words[-1] in ".?" and "  " not in words for words in sentences)
    assert len(set(sentences)) == 4


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_runs_small(name: str, bench: Path) -> None:
    network = OWN_NETWORK.get(name, "tinycaffenet")
    config = small(on(name, network))
    config["runtime"]["results"] = str(bench)
    assert cli.execute(config)
    (folder,) = (bench / name / network).iterdir()
    found = metrics(folder)
    assert is_done(folder)
    assert found["metrics"]
    assert found["skipped"] == []
    assert (folder / "figure.png").stat().st_size > 1000
    not_measured = [note for note in found["notes"] if "is not measured" in note]
    assert len(found["claims"]) + len(not_measured) == len(config["claims"])


# ---- networks without ReLUs ----

RULED = ("saliency", "faithfulness", "localisation")
"""The techniques with a `relu_rule`."""


@pytest.fixture
def no_relus(bench: Path) -> str:
    """The name of a network in the working directory with swish activations and CaffeNet's layer names."""
    rng = np.random.default_rng(3)
    weights = {**filters(rng, "fc", (1000, 8))}
    nodes, last, channels = [], "data_0", 3
    for layer, count in (("conv2", 8), ("conv3", 8), ("conv5", 8)):
        weights |= filters(rng, layer, (count, channels, 3, 3))
        nodes += [
            node("Conv", f"{last} {layer}_w_0 {layer}_b_0", layer), node("Sigmoid", layer, f"{layer}_gate"),
            node("Mul", f"{layer} {layer}_gate", f"{layer}_swish"),
        ]  # fmt: skip
        last, channels = f"{layer}_swish", count
    nodes += [node("GlobalAveragePool", last, "mean"), node("Flatten", "mean", "flat")]
    nodes += [node("Gemm", "flat fc_w_0 fc_b_0", "scores", transB=1)]
    weights = {name: values.astype(np.float32) for name, values in weights.items()}
    model = graphs.model(nodes, weights, output="scores", shape=("N", 3, 32, 32), opset=13)
    onnx.save(model, bench / "swish.onnx")
    write(draft(bench / "swish.onnx"), bench / "conf_models")
    return "swish"


def advice(*words: str) -> list[str] | None:
    """Runs a command, made small; the overrides that its error tells the user to add, or None if it succeeds."""
    config = small(compose_dict([*words, "runtime.report=false"]))
    try:
        assert cli.execute(config)["status"] == "done"
    except di.DeepInsideError as error:
        _, found, advised = str(error).partition("; add to the command: ")
        assert found, error
        return shlex.split(advised.removesuffix("."))
    return None


def refusable() -> list[tuple[str, ...]]:
    """Commands that a ReLU rule may make unsuitable: every experiment, as it is and with a rule."""
    commands: list[tuple[str, ...]] = []
    for name in EXPERIMENTS:
        text = (ROOT / "experiments" / f"{name}.yaml").read_text(encoding="utf-8")
        found = re.search(r"override /technique: (\w+)", text)
        technique = found[1] if found else ""
        commands += [(f"experiment={name}",)] if "relu_rule" in text or technique == "randomisation" else []
        if technique in RULED and "target: conv" not in text:
            commands.append((f"experiment={name}", "technique.relu_rule=guided"))
    commands += [("technique=randomisation", "technique.rules=[guided]"), ("technique=randomisation",)]
    return [*commands, *((f"technique={name}", "technique.relu_rule=deconvnet") for name in RULED)]


@pytest.mark.parametrize("words", refusable(), ids=" ".join)
def test_the_advice_for_a_network_without_relus_works_as_written(words: tuple[str, ...], no_relus: str) -> None:
    command = (f"network={no_relus}", "images=shipped", *words)
    advised = advice(*command)
    assert advised is not None
    assert advice(*command, *advised) is None


def test_the_advice_works_in_python_too(no_relus: str, bench: Path) -> None:
    network, photo = di.load(no_relus), np.zeros((40, 40, 3), np.uint8)
    for function in (di.saliency, di.faithfulness, di.localisation, di.randomisation):
        key = "rules" if function is di.randomisation else "relu_rule"
        asked = ["guided", "deconvnet"] if key == "rules" else "guided"
        with pytest.raises(di.DeepInsideError) as refused:
            function(network, photo, **{key: asked})
        found = re.search(r"; set (\w+)=(.+)\.$", str(refused.value))
        assert found is not None
        assert found[1] == key
        assert len(function(network, photo, **{found[1]: literal_eval(found[2])}))
