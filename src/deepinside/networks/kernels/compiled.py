"""Functions compiled to machine code by numba on their first call, and kept on disk for the next process.

They work on lines: a map (N, C, H, W) in channels-last memory is N · H · W lines of C channels.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from numba import types
from numba.extending import overload
from numpy.typing import NDArray
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])
Floats = NDArray[np.float32]
Lines = NDArray[Any]
"""(lines, channels), float32, or the bits of bfloat16 as uint16: NumPy has no such type."""

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
}
FUSED = {**OPTIONS, "fastmath": {"contract"}}
"""Also a·b + c in one instruction, with one rounding. Nothing is summed in another order."""


def compiled(function: Function) -> Function:
    """Compile a function that other compiled functions call. Every operation rounds as in PyTorch."""
    return _kept(function, **OPTIONS)


def compiled_fused(function: Function) -> Function:
    """Compile a function that other compiled functions call, with fused multiplications and additions."""
    return _kept(function, **FUSED)


def compiled_for_threads(function: Function) -> Function:
    """Compile a function whose `prange` loops are shared by the threads."""
    return _kept(function, parallel=True, **OPTIONS)


def _kept(function: Function, **options: Any) -> Function:
    """The compiled function; kept on disk unless neither its folder nor the user's cache can be written."""
    made: Function
    try:
        made = numba.njit(cache=True, **options)(function)
    except RuntimeError:
        made = numba.njit(**options)(function)
    return made


def share_threads() -> None:
    """Let the loops of compiled functions use as many threads as PyTorch."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def lines(maps: Tensor, parts: int = 1) -> Lines:
    """Maps (N, parts · C, H, W) in channels-last memory as lines (N · H · W · parts, C), without a copy."""
    bits = maps.view(torch.uint16) if maps.dtype == torch.bfloat16 else maps
    found: Lines = bits.permute(0, 2, 3, 1).reshape(-1, maps.shape[1] // parts).numpy()
    return found


def widened(value: Any) -> np.float32:
    """A value of a line as float32. Only compiled functions can call it."""
    raise NotImplementedError


@overload(widened, strict=False, inline="always")
def _widened(value: Any) -> Callable[[Any], Any]:
    def of_bfloat16(value: np.uint16) -> Any:
        return np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)

    def of_float32(value: np.float32) -> Any:
        return value

    return of_bfloat16 if value == types.uint16 else of_float32


def narrowed(value: np.float32, line: Lines) -> Any:
    """A float32 value in the type of a line, rounded to the nearest. Only compiled functions can call it."""
    raise NotImplementedError


@overload(narrowed, strict=False, inline="always")
def _narrowed(value: Any, line: Any) -> Callable[[Any, Any], Any]:
    def to_bfloat16(value: np.float32, line: Lines) -> Any:
        bits = np.float32(value).view(np.uint32)
        last = (bits >> np.uint32(16)) & np.uint32(1)  # ties go to the even number
        return np.uint16((bits + np.uint32(0x7FFF) + last) >> np.uint32(16))

    def to_float32(value: np.float32, line: Lines) -> Any:
        return value

    return to_bfloat16 if line.dtype == types.uint16 else to_float32


@compiled
def write(values: Floats, line: Lines) -> None:
    """Copy float32 values into a line."""
    for channel in range(len(line)):
        line[channel] = narrowed(values[channel], line)
