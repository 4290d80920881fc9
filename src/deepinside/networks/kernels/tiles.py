"""The two tile transforms of Winograd's convolution F(4×4, 3×3), compiled. A map is a list of lines of channels.

A tile of 4×4 outputs depends on a window of 6×6 inputs. `spread` turns each window d into 36 lines, Bᵀ d B; `gather` turns
36 lines m into the outputs, Aᵀ m A. Lavin & Gray 2015, Eq. 8. Their interpolation points 0, ±1, ±2 and ∞ are 0, ±√½, ±√2
and ∞ here, which round 3.7 times less.

Each inner loop writes one line from at most six others: the compiler vectorises no loop with more.
"""

import numpy as np
from numba import prange
from numpy.typing import NDArray

from deepinside.networks.kernels.compiled import compiled, compiled_for_threads

Lines = NDArray[np.float32]
"""(lines, channels): a map's line is (image · height + row) · width + column, a tile's 36 lines follow one another."""

SIDE, REACH = 4, 6
"""Outputs and inputs of a tile along one axis."""

LINES = REACH * REACH
A, B = 0.5**0.5, 2**0.5
"""The interpolation points 0, ±A, ±B, ∞; A² = ½, B² = 2, A·B = 1."""

TAKEN = ((0, 2, 4, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 3, 5, 5))
"""By row of Bᵀ: the inputs it adds. Their weights follow."""

INPUT_WEIGHTS = tuple(
    tuple(np.float32(weight) for weight in row)
    for row in (
        (1, -2.5, 1, 0), (-B, -2, A, 1), (B, -2, -A, 1), (-A, -0.5, B, 1), (A, -0.5, -B, 1), (1, -2.5, 1, 0)
    )
)  # fmt: skip
OUTPUT_WEIGHTS = tuple(
    tuple(np.float32(weight) for weight in row)
    for row in (
        (1, 1, 1, 1, 1, 0), (0, A, -A, B, -B, 0), (0, 0.5, 0.5, 2, 2, 0), (0, A / 2, -A / 2, 2 * B, -2 * B, 1)
    )
)  # fmt: skip
"""Aᵀ."""

FILTER_WEIGHTS = ((1, 0, 0), (-2 / 3, -2 / 3 * A, -1 / 3), (-2 / 3, 2 / 3 * A, -1 / 3), (1 / 6, B / 6, 1 / 3), (1 / 6, -B / 6, 1 / 3), (0, 0, 1))
"""G, by which a filter g becomes G g Gᵀ."""


@compiled_for_threads
def spread(lines: Lines, size: tuple[int, int], padding: tuple[int, int], tiles: tuple[int, int, int], to: Lines) -> None:
    """Write the 36 lines of every tile of a block.

    Args:
        lines: the block's images, all rows, (images · height · width, channels).
        size: height and width of an image.
        padding: rows above and columns to the left that count as zeros.
        tiles: the block's first row of tiles, its rows of tiles per image, and its columns.
        to: receives (images · rows · columns · 36, channels).
    """
    height, width = size
    first, rows, columns = tiles
    for strip in prange(to.shape[0] // (LINES * columns)):
        half, copy = np.empty((LINES, lines.shape[1]), np.float32), np.empty((LINES, lines.shape[1]), np.float32)
        image, top = strip // rows, SIDE * (first + strip % rows) - padding[0]
        for column in range(columns):
            left, start = SIDE * column - padding[1], (strip * columns + column) * LINES
            if top >= 0 and left >= 0 and top + REACH <= height and left + REACH <= width:
                _spread_window(lines, (image * height + top) * width + left, width, half, to, start)
            else:
                _copy_window(lines, image, top, left, size, copy)
                _spread_window(copy, 0, REACH, half, to, start)


@compiled
def _spread_window(lines: Lines, corner: int, stride: int, half: Lines, to: Lines, start: int) -> None:
    """Bᵀ d B of the window whose upper left line is `corner`; a row further is `stride` lines further."""
    for column in range(REACH):
        for row in range(REACH):
            _add_four(lines, corner + column, stride, row, half, REACH * row + column)
    for row in range(REACH):
        for column in range(REACH):
            _add_four(half, REACH * row, 1, column, to, start + REACH * row + column)


@compiled
def _add_four(lines: Lines, start: int, stride: int, row: int, to: Lines, line: int) -> None:
    """One row of Bᵀ, applied to the six lines from `start` on."""
    taken, weights = TAKEN[row], INPUT_WEIGHTS[row]
    a, b, c, d = start + stride * taken[0], start + stride * taken[1], start + stride * taken[2], start + stride * taken[3]
    for channel in range(to.shape[1]):
        to[line, channel] = (
            weights[0] * lines[a, channel]
            + weights[1] * lines[b, channel]
            + weights[2] * lines[c, channel]
            + weights[3] * lines[d, channel]
        )


@compiled
def _copy_window(lines: Lines, image: int, top: int, left: int, size: tuple[int, int], to: Lines) -> None:
    """Copy a window that extends beyond the image, with zeros there."""
    height, width = size
    to[:] = 0
    for row in range(max(0, -top), min(REACH, height - top)):
        for column in range(max(0, -left), min(REACH, width - left)):
            to[REACH * row + column] = lines[(image * height + top + row) * width + left + column]


@compiled_for_threads
def gather(
    lines: Lines, size: tuple[int, int], tiles: tuple[int, int, int], bias: Lines, least: np.float32, to: Lines
) -> None:
    """Write the outputs of a block: max(Aᵀ m A + bias, least).

    Args:
        lines: the block's products, (images · rows · columns · 36, channels).
        size: height and width of an image of the output.
        tiles: the block's first row of tiles, its rows of tiles per image, and its columns.
        bias: a value per channel.
        least: 0 for a ReLU, −∞ for none.
        to: the block's images, all rows, (images · height · width, channels).
    """
    height, width = size
    first, rows, columns = tiles
    for strip in prange(lines.shape[0] // (LINES * columns)):
        half = np.empty((SIDE * REACH, to.shape[1]), np.float32)
        image, top = strip // rows, SIDE * (first + strip % rows)
        for column in range(columns):
            _gather_columns(lines, (strip * columns + column) * LINES, half)
            left = SIDE * column
            for row in range(min(SIDE, height - top)):
                corner = (image * height + top + row) * width + left
                for offset in range(min(SIDE, width - left)):
                    _add_row(half, REACH * row, offset, bias, least, to, corner + offset)


@compiled
def _gather_columns(lines: Lines, start: int, half: Lines) -> None:
    """Aᵀ m: from 6×6 to 4×6 lines."""
    for row in range(SIDE):
        w = OUTPUT_WEIGHTS[row]
        for column in range(REACH):
            a, to = start + column, REACH * row + column
            for channel in range(half.shape[1]):
                half[to, channel] = (
                    w[0] * lines[a, channel]
                    + w[1] * lines[a + 6, channel]
                    + w[2] * lines[a + 12, channel]
                    + w[3] * lines[a + 18, channel]
                    + w[4] * lines[a + 24, channel]
                    + w[5] * lines[a + 30, channel]
                )


@compiled
def _add_row(half: Lines, start: int, column: int, bias: Lines, least: np.float32, to: Lines, line: int) -> None:
    """One output from the six lines from `start` on."""
    w = OUTPUT_WEIGHTS[column]
    for channel in range(to.shape[1]):
        value = (
            w[0] * half[start, channel]
            + w[1] * half[start + 1, channel]
            + w[2] * half[start + 2, channel]
            + w[3] * half[start + 3, channel]
            + w[4] * half[start + 4, channel]
            + w[5] * half[start + 5, channel]
            + bias[channel]
        )
        to[line, channel] = value if value > least else least
