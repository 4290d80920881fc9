"""What a run changes in its process, put back after each test that runs one."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from deepinside.networks.network import Part


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the tests' own: what they verify is not remembered in the user's."""
    folder, before = tmp_path_factory.mktemp("cache"), os.environ.get("DEEPINSIDE_CACHE")
    os.environ["DEEPINSIDE_CACHE"] = str(folder)
    yield folder
    del os.environ["DEEPINSIDE_CACHE"]
    os.environ.update({} if before is None else {"DEEPINSIDE_CACHE": before})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass through a network had, as the test goes on."""
    seen: list[int] = []
    run = Part.forward
    monkeypatch.setattr(Part, "forward", lambda part, x: (seen.append(len(x)), run(part, x))[1])
    return seen


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; threads, determinism and logging are afterwards what they were before."""
    monkeypatch.chdir(tmp_path)
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filling = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield tmp_path
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(exact)
    torch.utils.deterministic.fill_uninitialized_memory = filling  # type: ignore[attr-defined]
    root.handlers[:], root.level = handlers, level
