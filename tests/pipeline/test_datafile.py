"""Files that hold data only: everything comes back as it was, and nothing in one can run."""

import pickle
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from deepinside.errors import DeepInsideError
from deepinside.pipeline import datafile


@dataclass(frozen=True)
class Pair:
    first: object
    second: object = None


class Bomb:
    """Whoever unpickles this makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def back(value: object, folder: Path) -> object:
    path = folder / "file"
    path.write_bytes(datafile.dump(value))
    return datafile.read(path, [Pair])


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 1e-300, 0.1, float("inf"), "Straße 猫", [], (), {},
        [1, (2, "3"), {"tensor": 1, "class": "Pair"}],
        {0: {"n": 1}, "0": None, (1, 2): 3.5}, Pair((1, 2), Pair([3])), np.float64(0.1),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_comes_back_equal_and_of_its_kind(value: object, tmp_path: Path) -> None:
    found = back(value, tmp_path)
    assert found == value
    assert repr(found) == repr(float(value) if isinstance(value, np.float64) else value)


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "float16", "int64", "uint8", "bool"])
def test_a_tensor_comes_back_bit_for_bit(kind: str, tmp_path: Path) -> None:
    whole = (torch.randn(4, 6) * 100).to(getattr(torch, kind))
    parts = {
        "view": whole[1:3, ::2],
        "same memory": whole.T,
        "scalar": whole[0, 0],
        "empty": whole[:0],
        "list": [whole],
    }
    found = back(parts, tmp_path)
    assert isinstance(found, dict)
    assert list(found) == list(parts)
    for name in ("view", "same memory", "scalar", "empty"):
        assert found[name].dtype == parts[name].dtype  # type: ignore[attr-defined]
        assert torch.equal(found[name], parts[name])  # type: ignore[arg-type]


def test_the_same_value_gives_the_same_bytes() -> None:
    value = {"images": torch.arange(12.0).reshape(3, 4), "rows": [Pair(1, torch.zeros(2))]}
    assert datafile.dump(value) == datafile.dump(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", len, Pair])
def test_what_is_no_data_is_not_written(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be stored"):
        datafile.dump(value)


def hostile(place: Path) -> dict[str, bytes]:
    deep = "[" * 100_000
    return {
        "a pickle": pickle.dumps(Bomb(place)),
        "nothing": b"",
        "no header": save({"a": torch.zeros(1)}),
        "no JSON": save({}, {datafile.TREE: "{"}),
        "too deep": save({}, {datafile.TREE: deep}),
        "a class that is not known": save({}, {datafile.TREE: '{"class": "Path", "fields": {"a": "b"}}'}),
        "a field that is not known": save({}, {datafile.TREE: '{"class": "Pair", "fields": {"third": 1}}'}),
        "a tensor that is not there": save({}, {datafile.TREE: '{"tensor": "7"}'}),
        "a tensor's name that is none": save({}, {datafile.TREE: '{"tensor": {}}'}),
        "a key that cannot be one": save({}, {datafile.TREE: '{"mapping": [[[], 1]]}'}),
        "cut off": datafile.dump([torch.zeros(99)])[:-7],
    }


@pytest.mark.parametrize("name", list(hostile(Path())))
def test_a_hostile_file_is_refused_in_one_sentence_and_runs_nothing(name: str, tmp_path: Path) -> None:
    place, path = tmp_path / "was here", tmp_path / "file"
    path.write_bytes(hostile(place)[name])
    with pytest.raises(DeepInsideError, match=r"file: expected a checkpoint .* remove it") as refused:
        datafile.read(path, [Pair])
    assert "\n" not in str(refused.value)
    assert not place.exists()


def test_the_bomb_is_one(tmp_path: Path) -> None:
    pickle.loads(hostile(tmp_path / "was here")["a pickle"])
    assert (tmp_path / "was here").exists()
    assert Counter(path.name for path in tmp_path.iterdir()) == {"was here": 1}
