"""Functions compiled to machine code by numba on their first call, and kept on disk for the next process."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import torch

Function = TypeVar("Function", bound=Callable[..., Any])
OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},  # a·b + c in one instruction; nothing is summed in another order
}


def compiled(function: Function) -> Function:
    """Compile a function that other compiled functions call."""
    made: Function = numba.njit(**OPTIONS)(function)
    return made


def compiled_for_threads(function: Function) -> Function:
    """Compile a function whose `prange` loops are shared by the threads."""
    made: Function = numba.njit(parallel=True, **OPTIONS)(function)
    return made


def share_threads() -> None:
    """Let the loops of compiled functions use as many threads as PyTorch."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
