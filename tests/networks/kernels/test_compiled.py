"""Compiled functions: where they are kept, their threads, and half precision."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deepinside.networks.kernels import compiled


def test_without_a_folder_to_write_to_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available for file")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(compiled, "numba", SimpleNamespace(njit=njit))
    assert compiled.compiled(abs) == ("compiled", abs)


def test_loops_use_the_threads_of_pytorch() -> None:
    before = torch.get_num_threads()
    try:
        for count in (1, 2, 10_000):
            torch.set_num_threads(count)
            compiled.share_threads()
            assert compiled.numba.get_num_threads() == min(count, compiled.numba.config.NUMBA_NUM_THREADS)
    finally:
        torch.set_num_threads(before)


def test_bfloat16_is_rounded_as_by_pytorch() -> None:
    exact = torch.randn(4096, generator=torch.Generator().manual_seed(0)) * torch.logspace(-30, 30, 4096)
    exact[:4] = torch.tensor([0.0, -0.0, torch.inf, 1 + 2**-8])  # the last lies between two
    found = torch.empty(1, 4096, 1, 1, dtype=torch.bfloat16)
    compiled.write(exact.numpy(), compiled.lines(found)[0])
    assert torch.equal(found.flatten(), exact.bfloat16())


def test_lines_are_views_of_maps_in_channels_last_memory() -> None:
    maps = torch.arange(2 * 6 * 3 * 4.0).view(2, 6, 3, 4).contiguous(memory_format=torch.channels_last)
    lines = compiled.lines(maps, 2)
    assert lines.shape == (2 * 3 * 4 * 2, 3)
    np.testing.assert_array_equal(lines[2 * ((1 * 3 + 2) * 4 + 3) + 1], maps[1, 3:, 2, 3].numpy())
    lines[:] = 0
    assert not maps.any()
