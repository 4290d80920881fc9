"""Hints: the nearest name that is known, in any case, or none."""

import pytest

from deepinside.config.suggestions import hint, nearest


def test_the_most_alike_comes_first() -> None:
    assert nearest("conv5_2", ["fc6", "conv5_1", "conv52", "norm1"], count=2) == ["conv52", "conv5_1"]


@pytest.mark.parametrize(("name", "found"), [("GOOSE", "goose"), ("egyptian cat", "Egyptian cat"), ("Sigmoid", None)])
def test_case_does_not_matter(name: str, found: str | None) -> None:
    assert hint(name, ["goose", "Egyptian cat"]) == (f" Did you mean {found}?" if found else "")


def test_names_that_differ_in_case_only_are_both_found() -> None:
    assert nearest("fc6", ["FC6", "fc6", "fc7"], count=2) == ["FC6", "fc6"]


def test_nothing_known_gives_nothing() -> None:
    assert nearest("a", []) == []
    assert hint("a", []) == ""
