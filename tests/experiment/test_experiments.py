"""Every experiment: composes for every network, says what it is, and runs small on the network that ships."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from corridor import metrics, small
from omegaconf import DictConfig, OmegaConf

from deepinside import claims
from deepinside.cli import run as cli
from deepinside.config import catalogue
from deepinside.config.paths import ROOT
from deepinside.experiment.schema import read_experiment
from deepinside.networks.spec import read_spec
from deepinside.results.folder import is_done

EXPERIMENTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))
NETWORKS = sorted(path.stem for path in (ROOT / "conf_models").glob("*.yaml") if read_spec(path).checked is None)


@cache
def on_tiny(name: str) -> DictConfig:
    return cli.composed([f"experiment={name}", "network=tinycaffenet"])


def on(name: str, network: str) -> dict[str, Any]:
    """The experiment's configuration on a network; composing anew for each would take a minute."""
    config = on_tiny(name).copy()
    OmegaConf.set_struct(config, False)
    node = catalogue.network_node(network, catalogue.files("network")[network])
    config.network = OmegaConf.create(node)
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def test_changing_the_network_afterwards_is_what_the_command_line_composes() -> None:
    words = ["experiment=fig1_class_models", "network=vgg16"]
    assert on("fig1_class_models", "vgg16") == cli.compose_plain(words)


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
def test_runs_small(name: str, bench: Path) -> None:
    config = small(on(name, "tinycaffenet"))
    config["runtime"]["results"] = str(bench)
    assert cli.execute(config)
    (folder,) = (bench / name / "tinycaffenet").iterdir()
    found = metrics(folder)
    assert is_done(folder)
    assert found["metrics"]
    assert found["skipped"] == []
    assert (folder / "figure.png").stat().st_size > 1000
    not_measured = [note for note in found["notes"] if "is not measured" in note]
    assert len(found["claims"]) + len(not_measured) == len(config["claims"])
