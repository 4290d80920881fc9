"""Random streams and names of files."""

import pytest
import torch

from deepinside.types import Seeds, safe_name


def draw(seed: int, index: int = 0, stream: str = "start") -> list[float]:
    return torch.rand(4, generator=Seeds(seed).generator(index, stream)).tolist()


def test_the_same_stream_gives_the_same_numbers() -> None:
    assert draw(0) == draw(0)


def test_zero_is_a_seed_of_its_own() -> None:
    assert draw(0) != draw(1)


def test_items_and_streams_are_apart() -> None:
    drawn = [tuple(draw(0, index, stream)) for index in (0, 1, 11) for stream in ("start", "1", "11")]
    assert len(set(drawn)) == len(drawn)


def test_the_global_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("goose", "goose"), ("tiger cat", "tiger_cat"), ("a/b\\c:d", "a_b_c_d"), ("..", "_"), ("/ ", "_"), ("É", "É")],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe
