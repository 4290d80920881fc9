"""Names of metrics on the pages."""

import json

import pytest
from markupsafe import escape

from deepinside.config.paths import ROOT
from deepinside.html_report.layout import code, definitions, environment, metric, readable


@pytest.mark.parametrize(
    ("name", "words", "defined"),
    [
        ("map_max", "map max", "map_max"),
        ("guided/conv5/map_spread", "guided: conv5: map spread", "map_spread"),
        ("rank_correlation/ten~centre", "rank correlation: ten~centre", "rank_correlation/A~B"),
    ],
)
def test_a_metric_has_its_definition_as_tooltip(name: str, words: str, defined: str) -> None:
    page = environment().from_string("{{ name|metric }}").render(name=name)
    assert page == f'<abbr title="{escape(definitions()[defined])}">{words}</abbr>'


def test_an_unknown_metric_is_its_name_escaped() -> None:
    assert metric("my_own/<b>") == "my own: &lt;b&gt;"


def test_every_metric_of_the_reference_has_a_tooltip() -> None:
    for path in (ROOT / "results" / "reference").glob("*.json"):
        for name in json.loads(path.read_text(encoding="utf-8"))["metrics"]:
            assert metric(name) != readable(name), f"{path.stem}: {name}"


def test_definitions_are_plain_text() -> None:
    assert not [name for name, text in definitions().items() if set(text) & set("`$\\") or not text.strip()]


def test_backticks_are_code_and_everything_is_escaped() -> None:
    assert code("`a<b>` and <i>") == "<code>a&lt;b&gt;</code> and &lt;i&gt;"
