"""The advice in messages, for every technique that optimises: the settings it names exist, and following it works."""

import re
from pathlib import Path

import pytest
import toys

from deepinside.config.composition import compose_dict
from deepinside.config.settings import build
from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network
from deepinside.types import Seeds

ALL = sorted(path.stem for path in (Path(__file__).parents[2] / "configs" / "technique").glob("*.yaml"))
OPTIMISING = ("class_model", "inversion", "inversion_2016")
DEAD_START = {  # not inversion_2016: the gradient of its penalty is never zero
    "class_model": ["technique.targets=[0]", "technique.start=zero"],
    "inversion": ["technique.layers=[fc8]", "technique.energy.alpha_weight=0", "technique.energy.total_variation=0"],
}
DIVERGENCE = {  # not inversion_2016: its images are projected to bounds
    "class_model": ["technique.targets=[0]", "technique.l2=1", "technique.start=noise", "technique.noise=50"],
    "inversion": ["technique.layers=[conv1]", "technique.safeguard=false"],
}
FAST = ["technique/optimiser=momentum", "technique.optimiser.steps=60", "technique.optimiser.rate_in=gradient"]


def run(network: Network, name: str, words: list[str]) -> None:
    """Run a technique as the command line configures it."""
    technique = build(compose_dict([f"technique={name}", *words])["technique"], "technique")
    technique(network, toys.photos(network, 1, level=60), Seeds(0))


def message(network: Network, name: str, words: list[str]) -> str:
    with pytest.raises(DeepInsideError) as raised:
        run(network, name, words)
    return str(raised.value)


def test_every_technique_that_optimises_is_here(tmp_path: Path) -> None:
    built = {name: build(compose_dict([f"technique={name}"])["technique"], "technique") for name in ALL}
    assert tuple(name for name, one in built.items() if hasattr(one, "optimisation_requests")) == OPTIMISING


@pytest.mark.parametrize("name", DEAD_START)
def test_advice_after_a_dead_start_works(name: str, tmp_path: Path) -> None:
    network = toys.dead(tmp_path, bias=-10 if name == "class_model" else -1e6)
    words = [*FAST, "technique.optimiser.rate=1e-6", *DEAD_START[name]]
    said = message(network, name, words)
    assert "gradient at the start is zero for item 0" in said
    settings = re.findall(r"technique\.[a-z_.]+=[^\s,;]+", said)
    if name == "class_model":
        assert settings == ["technique.start=noise", "technique.noise=50"]
    else:
        assert "other layers than fc8 in technique.layers" in said
        settings = ["technique.layers=[conv1]"]
    run(network, name, [*words, *settings])


@pytest.mark.parametrize("name", DIVERGENCE)
@pytest.mark.parametrize("key", ["rate", "schedule"])
def test_advice_after_divergence_works(name: str, key: str, tmp_path: Path) -> None:
    network = toys.dead(tmp_path)
    value = {"rate": "{}", "schedule": "[[60,{}]]"}[key]

    def words(rate: float) -> list[str]:
        return [*FAST, *DIVERGENCE[name], f"technique.optimiser.{key}={value.format(rate)}"]

    said = message(network, name, words(1e36))
    assert "NaN or infinity" in said and f"technique.optimiser.{key} (try a tenth)" in said
    run(network, name, words(1e-8))


def test_advice_after_divergence_of_lbfgs_works(tmp_path: Path) -> None:
    network = toys.dead(tmp_path)
    words = ["technique.targets=[0]", "technique.l2=1e38", "technique.parametrisation=pixels", "technique.start=noise"]
    said = message(network, "class_model", [*words, "technique/optimiser=lbfgs"])
    (advice,) = re.findall(r"technique/optimiser=\w+", said)
    run(network, "class_model", [*words, "technique.l2=1", advice])
