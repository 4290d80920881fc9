"""Max-pooling of lines of channels and its gradient, compiled. The winner of a window is kept as one byte.

Every input of the gradient is written once, from the windows that contain it: no map is filled with zeros first.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from deepinside.networks.kernels.compiled import Floats, Lines, compiled, compiled_for_threads, widened, write

Pair = tuple[int, int]
Winners = NDArray[np.uint8]
"""By line of the output and channel: row · (columns of a window) + column of the largest value in its window."""

NONE = 255
"""No winner: the ReLU put a zero in its place."""


@compiled_for_threads
def largest(
    lines: Lines, to: Lines, winners: Winners, least: np.float32,
    size: Pair, window: Pair, stride: Pair, padding: Pair, found: Pair,
) -> None:  # fmt: skip
    """Write the largest value of every window, at least `least`, and its place.

    Args:
        lines: (images · height · width, channels) for `size` (height, width).
        to, winners: receive (images · height · width, channels) for `found` (height, width).
        least: 0 for a ReLU, −∞ for none.
        window, stride, padding: rows and columns.
    """
    for strip in prange(to.shape[0] // found[1]):
        best = np.empty(to.shape[1], np.float32)
        image, top = strip // found[0], strip % found[0] * stride[0] - padding[0]
        for column in range(found[1]):
            left, line = column * stride[1] - padding[1], strip * found[1] + column
            best[:] = least
            winners[line] = NONE
            for row in range(max(0, -top), min(window[0], size[0] - top)):
                for offset in range(max(0, -left), min(window[1], size[1] - left)):
                    pixel = (image * size[0] + top + row) * size[1] + left + offset
                    _keep_larger(lines[pixel], np.uint8(row * window[1] + offset), best, winners[line])
            write(best, to[line])


@compiled
def _keep_larger(line: Lines, place: np.uint8, best: Floats, winner: Winners) -> None:
    """Of equal values the first wins, and a NaN always, as in PyTorch."""
    for channel in range(len(line)):
        value = widened(line[channel])
        larger = value > best[channel] or value != value
        best[channel] = value if larger else best[channel]
        winner[channel] = place if larger else winner[channel]


@compiled_for_threads
def largest_back(
    above: Lines, winners: Winners, to: Lines, size: Pair, window: Pair, stride: Pair, padding: Pair, found: Pair
) -> None:
    """Write the gradient with respect to the lines that `largest` got. The arguments are the same."""
    for strip in prange(to.shape[0] // size[1]):
        total = np.empty(to.shape[1], np.float32)
        image, row = strip // size[0], strip % size[0] + padding[0]
        for column in range(padding[1], size[1] + padding[1]):
            total[:] = 0
            for y in range(_first(row, window[0], stride[0]), min(found[0], row // stride[0] + 1)):
                for x in range(_first(column, window[1], stride[1]), min(found[1], column // stride[1] + 1)):
                    line = (image * found[0] + y) * found[1] + x
                    place = np.uint8((row - y * stride[0]) * window[1] + column - x * stride[1])
                    _add_if_winner(above[line], winners[line], place, total)
            write(total, to[strip * size[1] + column - padding[1]])


@compiled
def _first(place: int, window: int, stride: int) -> int:
    """The first window that contains a row or column, counted with the padding."""
    return max(0, (place - window + stride) // stride)


@compiled
def _add_if_winner(line: Lines, winner: Winners, place: np.uint8, total: Floats) -> None:
    for channel in range(len(line)):
        total[channel] += widened(line[channel]) if winner[channel] == place else np.float32(0)
