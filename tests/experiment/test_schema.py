"""A composed configuration becomes an experiment, or is refused before any work."""

import copy
from functools import cache
from typing import Any

import pytest

from deepinside.config.composition import compose_dict
from deepinside.errors import DeepInsideError
from deepinside.experiment.schema import merge, read_experiment
from deepinside.optimisation.optimisers import Adam, Momentum
from deepinside.techniques.class_model import ClassModel


@cache
def _composed() -> dict[str, Any]:
    return compose_dict(["technique=class_model"])


def config(**changes: Any) -> dict[str, Any]:
    """The default configuration with values at dotted keys (`technique__l2`) replaced."""
    found = copy.deepcopy(_composed())
    for key, value in changes.items():
        *path, last = key.split("__")
        node = found
        for name in path:
            node = node[name]
        node[last] = value
    return found


def refusal(**changes: Any) -> str:
    with pytest.raises(DeepInsideError) as refused:
        read_experiment(config(**changes))
    return str(refused.value)


def test_sections_become_typed_and_nothing_is_changed_in_the_configuration() -> None:
    given = config(seed=0)
    before = copy.deepcopy(given)
    experiment = read_experiment(given)
    assert given == before
    assert experiment.seed == 0
    assert experiment.network.name == "tinycaffenet"
    assert isinstance(experiment.techniques[""], ClassModel)
    assert isinstance(experiment.techniques[""].optimiser, Momentum)


def test_variants_change_the_technique_key_by_key() -> None:
    adam = {"_target_": "deepinside.optimisation.optimisers.Adam", "rate": 2.0}
    variants = {"paper": {}, "slow": {"optimiser": {"rate": 0.1}}, "adam": {"optimiser": adam, "jitter": 0.05}}
    found = read_experiment(config(variants=variants, technique__optimiser__rate=0.7)).techniques
    assert list(found) == ["paper", "slow", "adam"]
    assert (found["paper"].optimiser.rate, found["slow"].optimiser.rate) == (0.7, 0.1)
    assert found["slow"].optimiser.momentum == found["paper"].optimiser.momentum
    assert found["adam"].optimiser == Adam(rate=2.0)
    assert (found["paper"].jitter, found["adam"].jitter) == (0, 0.05)


def test_merging_leaves_the_base_alone() -> None:
    base = {"a": {"b": 1, "c": 2}}
    assert merge(base, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert base == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"technique": None}, ("technique:", "technique=saliency", "none")),
        ({"technique__l2": -1.0}, ("technique.l2:", "greater than or equal to 0", "-1.0")),
        ({"technique__jiter": 1}, ("technique.jiter: no such key", "l2", "Did you mean jitter?")),
        ({"technique__targets": []}, ("technique.targets:", "at least 1")),
        ({"technique__optimiser__rate": "fast"}, ("technique.optimiser.rate:", "number", "'fast'")),
        ({"variants": {"wild": {"l2": -1}}}, ("variants.wild.l2:", "-1")),
        ({"seed": -1}, ("seed:", "-1")),
        ({"seeds": 1}, ("seeds: no such key", "seed", "technique", "variants")),
        ({"images__limit": 0}, ("images.limit:", "greater than 0")),
        ({"images__names": ["mona_lisa"]}, ("images.names", "chelsea", "mona_lisa")),
        ({"figure__layout": "spiral"}, ("figure.layout:", "'rows'", "'page'", "'spiral'")),
        ({"figure__magnitude_map": "plaid"}, ("figure.magnitude_map:", "inferno", "'plaid'")),
        ({"runtime__precision": "float16"}, ("runtime.precision:", "'bf16', 'mixed' or 'tf32'", "'float16'")),
        ({"runtime__device": "abacus"}, ("runtime.device:", "this machine has no such device", "'abacus'")),
        ({"network__targett": "fc8"}, ("network.targett: no such key", "target")),
        ({"story": {"link": "javascript:alert(1)"}}, ("story.link:", "https://")),
        ({"network__input__size": [64]}, ("network.input.size",)),
    ],
)
def test_what_is_wrong_is_refused_by_its_key(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    said = refusal(**changes)
    assert all(word in said for word in words), said
