import shlex

import pytest

from deepinside.config.composition import compose_dict
from deepinside.html_report.commands import override_command, repeat_command, value
from deepinside.results import folder as results


def test_a_folder_with_blanks_and_quotes_is_one_word_for_the_shell() -> None:
    folder = "results/fig2/net/it's ä b #1"
    assert shlex.split(repeat_command(folder)) == ["deepinside", "--repeat", folder]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "null"),
        (True, "true"),
        (1e-08, "1e-08"),
        ("plain/path.png", "plain/path.png"),
        ("1e-3", '"1e-3"'),
        ("null", '"null"'),
        ("a, b", '"a, b"'),
        ('say "x"', r'"say \"x\""'),
        ("", '""'),
        ([1, "a b"], '[1,"a b"]'),
        ({"jitter": 4}, "{jitter:4}"),
    ],
)
def test_values_are_written_in_hydras_grammar(found: object, words: str) -> None:
    assert value(found) == words


@pytest.mark.parametrize(
    "words",
    [
        ["technique.l2=1e-6", "seed=3"],
        ["technique/optimiser=adam", "technique.optimiser.steps=5"],
        ["technique.targets=[goldfish,'tabby | Egyptian cat',\"it's\"]"],
        ["title='a \\'b\\', c: {d} 100% # ü'", "variants.clearer.jitter=2"],
        ["images=shipped", "+variants.third={blur: 1.0}"],
    ],
    ids=str,
)
@pytest.mark.parametrize("experiment", ["fig1_class_models", "adhoc"])
def test_the_override_form_composes_the_same_configuration(experiment: str, words: list[str]) -> None:
    base = [f"experiment={experiment}", "network=tinycaffenet"]
    if experiment == "adhoc":  # what is called so has no experiment
        base, words = base[1:], ["technique=class_model", *[word for word in words if "clearer" not in word]]
    wanted, defaults = compose_dict([*base, *words]), compose_dict(base)
    now, before = results.identity(wanted), results.identity(defaults)
    changes = {key: found for key, found in now.items() if key not in before or found != before[key]}
    gone = [key for key in before if key not in now]
    command = override_command(experiment, "tinycaffenet", changes, gone, results.flatten(defaults))
    assert results.identity(compose_dict(shlex.split(command)[1:])) == now
    assert ("experiment=" in command) == (experiment != "adhoc")
