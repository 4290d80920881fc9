"""Items of a batch by kind, put back in order, and numbers sent once."""

import pytest
import torch

from deepinside.optimisation.batching import Rows, grouped, numbers_like

CPU = torch.device("cpu")


@pytest.mark.parametrize("kinds", ["aaaa", "aabb", "abab", "bbaca", "c"])
def test_what_is_computed_by_kind_comes_back_in_order(kinds: str) -> None:
    x = torch.arange(2.0 * len(kinds)).view(-1, 2)
    found = grouped(tuple(kinds), CPU).map(lambda kind, rows: x[rows.index] + 100 * ord(kind))
    assert torch.equal(found, x + 100 * torch.tensor([[ord(kind)] for kind in kinds]))


def test_every_kind_is_computed_once_for_its_own_items() -> None:
    seen: dict[str, list[str]] = {}

    def look(kind: str, rows: Rows) -> torch.Tensor:
        seen[kind] = rows.of("01234")
        return torch.zeros(len(rows.positions))

    grouped(tuple("bbaca"), CPU).map(look)
    assert seen == {"b": ["0", "1"], "a": ["2", "4"], "c": ["3"]}


def test_neighbours_are_not_copied() -> None:
    groups = grouped(tuple("aabbb"), CPU)
    assert groups.rows["b"].index == slice(2, 5) and groups.order is None


def test_numbers_are_sent_once_for_each_precision() -> None:
    first, again = (numbers_like([1.0, 2.5], torch.zeros(3)) for _ in range(2))
    assert first is again and first.tolist() == [1.0, 2.5]
    assert numbers_like([1.0, 2.5], torch.zeros(3, dtype=torch.float64)).dtype == torch.float64
