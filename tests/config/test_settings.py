"""From configuration nodes to settings: every refusal names the key and what is allowed."""

from dataclasses import FrozenInstanceError
from typing import Literal

import pytest
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from deepinside.config.settings import STRICT, build, construct
from deepinside.errors import DeepInsideError

HERE = __name__


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner:
    rate: NonNegativeFloat = 1.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer:
    steps: PositiveInt
    kind: Literal["red", "green"] = "red"
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("settings_here")
    module.Inner, module.Outer, module.Plain = Inner, Outer, str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "settings_here", module)


def outer(**keys: object) -> dict[str, object]:
    return {"_target_": "settings_here.Outer", "steps": 3, **keys}


def refusal(node: object) -> str:
    with pytest.raises(DeepInsideError) as refused:
        build(node, "technique")
    return str(refused.value)


def test_targets_become_objects_however_deep() -> None:
    inner = {"_target_": "settings_here.Inner", "rate": 0.5}
    found = build(outer(inner=inner, many=[inner, inner]), "technique")
    assert found == Outer(steps=3, inner=Inner(rate=0.5), many=(Inner(rate=0.5), Inner(rate=0.5)))


def test_what_has_no_target_stays_what_it_is() -> None:
    assert build({"a": [1, {"b": "c"}], "d": None}, "technique") == {"a": (1, {"b": "c"}), "d": None}


def test_settings_never_change() -> None:
    with pytest.raises(FrozenInstanceError):
        build(outer(), "technique").steps = 4


def test_an_unknown_key_is_named_with_those_allowed_and_the_nearest() -> None:
    said = refusal(outer(stepz=3))
    assert said.startswith("technique.stepz: no such key; allowed here: steps, kind, inner, many.")
    assert "Did you mean steps?" in said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"steps": "abc"}, ("technique.steps", "valid integer", "'abc'")),
        ({"steps": 2.5}, ("technique.steps", "integer", "2.5")),
        ({"steps": 0}, ("technique.steps", "greater than 0", "0")),
        ({"steps": None}, ("technique.steps", "integer", "None")),
        ({"kind": "blue"}, ("technique.kind", "'red' or 'green'", "'blue'")),
        ({"many": [{"_target_": "settings_here.Inner", "rate": -1}]}, ("technique.many[0].rate", "-1")),
        ({"inner": {"_target_": "settings_here.Inner", "rate": float("nan")}}, ("technique.inner.rate", "nan")),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(keys: dict[str, object], words: tuple[str, ...]) -> None:
    said = refusal(outer(**keys))
    assert all(word in said for word in words), said


def test_several_faults_are_all_named() -> None:
    said = refusal(outer(steps="a", kind="b"))
    assert "technique.steps" in said
    assert "technique.kind" in said


def test_a_missing_value_is_named() -> None:
    assert refusal({"_target_": "settings_here.Outer"}) == "technique.steps: expected a value, found none."


@pytest.mark.parametrize("path", ["settings_here.None_", "no_such_module.Thing", "Thing", "", "settings_here.Plain"])
def test_only_settings_classes_are_built(path: str) -> None:
    said = refusal({"_target_": path})
    assert said.startswith("technique._target_: expected")
    assert repr(path) in said


def test_a_refusal_by_the_class_itself_names_the_place() -> None:
    @dataclass(frozen=True, kw_only=True, config=STRICT)
    class Picky:
        def __post_init__(self) -> None:
            raise DeepInsideError("never content")

    with pytest.raises(DeepInsideError, match=r"^images: never content$"):
        construct(Picky, {}, "images")
