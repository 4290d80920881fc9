"""Damaged files of Caffe end in one sentence: whatever is cut, flipped, removed or exaggerated."""

from pathlib import Path

import numpy as np
import pytest
from caffe_nets import caffenet

from deepinside.errors import DeepInsideError
from deepinside.networks.caffe.graph import read_network

WORDS = ["-1", "0", "999999999", "1e30", "nan", '"', "{", "}", "type", "Softmax", "top", "\x00", "é"]


def damaged_text(text: str, rng: np.random.Generator) -> str:
    """One to three words of a prototxt replaced, removed or doubled, or the text cut."""
    words = text.split(" ")
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(words)))
        match rng.integers(4):
            case 0:
                words[place] = str(rng.choice(WORDS))
            case 1:
                del words[place]
            case 2:
                words.insert(place, words[int(rng.integers(len(words)))])
            case _:
                words = words[: max(place, 1)] if rng.random() < 0.3 else words
    return " ".join(words)


def damaged_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped near the start, where the structure is, or anywhere; or the file cut."""
    found = bytearray(data)
    reach = len(found) if rng.random() < 0.3 else 400
    for _ in range(int(rng.integers(1, 8))):
        found[int(rng.integers(reach))] = int(rng.integers(256))
    return bytes(found[: int(rng.integers(len(found)))] if rng.random() < 0.3 else found)


def reads(prototxt: Path, caffemodel: Path) -> bool:
    """Whether two files are read; anything but a sentence is an error of the test."""
    try:
        read_network(prototxt, caffemodel)
    except DeepInsideError as error:
        assert "\n" not in str(error)
        assert prototxt.name in str(error) or caffemodel.name in str(error)
        return False
    return True


@pytest.mark.parametrize("part", range(4))
def test_damaged_files_end_in_one_sentence(part: int, tmp_path: Path) -> None:
    prototxt, caffemodel = caffenet().write(tmp_path)
    text, data = prototxt.read_text(), caffemodel.read_bytes()
    assert reads(prototxt, caffemodel)
    survived = 0
    for seed in range(50 * part, 50 * (part + 1)):
        rng = np.random.default_rng(seed)
        in_text = bool(rng.random() < 0.6)
        prototxt.write_text(damaged_text(text, rng) if in_text else text, encoding="utf-8")
        caffemodel.write_bytes(data if in_text else damaged_bytes(data, rng))
        survived += reads(prototxt, caffemodel)
    assert survived < 40  # most damages are noticed; a changed weight or name is not one
