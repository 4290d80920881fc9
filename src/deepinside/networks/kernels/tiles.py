"""The tile transforms of Winograd's convolution F(4×4, 3×3), compiled. They work on lines of channels.

A tile of 4×4 outputs depends on a window of 6×6 inputs. `spread` turns each window d into 36 lines, Bᵀ d B; `gather`
turns 36 lines m into the outputs, Aᵀ m A. Lavin & Gray 2015, Eq. 8. Their interpolation points 0, ±1, ±2 and ∞ are 0,
±√½, ±√2 and ∞ here, which round 3.7 times less. A pixel's line is (image · height + row) · width + column, and the 36
lines of a tile follow one another.

Each inner loop writes one line from at most six others: the compiler vectorises no loop with more.
"""

import numpy as np
from numba import prange

from deepinside.networks.kernels.compiled import Floats, compiled_for_threads, compiled_fused

SIDE, REACH = 4, 6
"""Outputs and inputs of a tile along one axis."""

LINES = REACH * REACH
A, B = 0.5**0.5, 2**0.5
"""The interpolation points are 0, ±A, ±B and ∞; A² = ½, B² = 2, A · B = 1."""

TAKEN = ((0, 2, 4, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (1, 3, 5, 5))
"""By row of Bᵀ: the inputs that it adds."""

FILTER_WEIGHTS = (
    (1, 0, 0),
    (-2 / 3, -2 / 3 * A, -1 / 3), (-2 / 3, 2 / 3 * A, -1 / 3),
    (1 / 6, B / 6, 1 / 3), (1 / 6, -B / 6, 1 / 3),
    (0, 0, 1),
)  # fmt: skip
"""G, by which a filter g becomes G g Gᵀ."""


def _float32(matrix: tuple[tuple[float, ...], ...]) -> tuple[tuple[np.float32, ...], ...]:
    """Constants as compiled functions take them."""
    return tuple(tuple(np.float32(value) for value in row) for row in matrix)


INPUT_WEIGHTS = _float32((
    (1, -2.5, 1, 0),
    (-B, -2, A, 1), (B, -2, -A, 1),
    (-A, -0.5, B, 1), (A, -0.5, -B, 1),
    (1, -2.5, 1, 0),
))  # fmt: skip
"""By row of Bᵀ: the weights of the inputs in TAKEN."""

OUTPUT_WEIGHTS = _float32((
    (1, 1, 1, 1, 1, 0),
    (0, A, -A, B, -B, 0),
    (0, 0.5, 0.5, 2, 2, 0),
    (0, A / 2, -A / 2, 2 * B, -2 * B, 1),
))  # fmt: skip
"""Aᵀ."""


@compiled_for_threads
def spread(
    lines: Floats, size: tuple[int, int], padding: tuple[int, int], strip: tuple[int, int, int], to: Floats
) -> None:
    """Write the 36 lines of every tile of a block.

    Args:
        lines: the block's images, all rows, (images · height · width, channels).
        size: height and width of an image.
        padding: rows above and columns to the left that count as zeros.
        strip: the block's first row of tiles, its rows of tiles per image, and its columns.
        to: receives (images · rows · columns · 36, channels).
    """
    first, rows, columns = strip
    for part in prange(to.shape[0] // (LINES * columns)):
        half, copy = np.empty((LINES, lines.shape[1]), np.float32), np.empty((LINES, lines.shape[1]), np.float32)
        image, top = part // rows, SIDE * (first + part % rows) - padding[0]
        for column in range(columns):
            left, start = SIDE * column - padding[1], (part * columns + column) * LINES
            if top >= 0 and left >= 0 and top + REACH <= size[0] and left + REACH <= size[1]:
                _spread_window(lines, (image * size[0] + top) * size[1] + left, size[1], half, to, start)
            else:
                _copy_window(lines, image, top, left, size, copy)
                _spread_window(copy, 0, REACH, half, to, start)


@compiled_fused
def _spread_window(lines: Floats, corner: int, stride: int, half: Floats, to: Floats, start: int) -> None:
    """Bᵀ d B of the window whose upper left line is `corner`; a row further is `stride` lines further."""
    for column in range(REACH):
        for row in range(REACH):
            _add_inputs(lines, corner + column, stride, row, half, REACH * row + column)
    for row in range(REACH):
        for column in range(REACH):
            _add_inputs(half, REACH * row, 1, column, to, start + REACH * row + column)


@compiled_fused
def _add_inputs(lines: Floats, start: int, stride: int, row: int, to: Floats, line: int) -> None:
    """One row of Bᵀ, applied to six lines: `start`, and each `stride` further."""
    taken, w = TAKEN[row], INPUT_WEIGHTS[row]
    a, b = start + stride * taken[0], start + stride * taken[1]
    c, d = start + stride * taken[2], start + stride * taken[3]
    for channel in range(to.shape[1]):
        to[line, channel] = (
            w[0] * lines[a, channel] + w[1] * lines[b, channel] + w[2] * lines[c, channel] + w[3] * lines[d, channel]
        )


@compiled_fused
def _copy_window(lines: Floats, image: int, top: int, left: int, size: tuple[int, int], to: Floats) -> None:
    """Copy a window that extends beyond the image, with zeros there."""
    to[:] = 0
    for row in range(max(0, -top), min(REACH, size[0] - top)):
        for column in range(max(0, -left), min(REACH, size[1] - left)):
            to[REACH * row + column] = lines[(image * size[0] + top + row) * size[1] + left + column]


@compiled_for_threads
def gather(
    lines: Floats, size: tuple[int, int], strip: tuple[int, int, int], bias: Floats, least: np.float32, to: Floats
) -> None:
    """Write the outputs of a block: max(Aᵀ m A + bias, least).

    Args:
        lines: the block's products, (images · rows · columns · 36, channels).
        size: height and width of an output image.
        strip: the block's first row of tiles, its rows of tiles per image, and its columns.
        bias: a value per channel.
        least: 0 for a ReLU, −∞ for none.
        to: the block's output images, all rows, (images · height · width, channels).
    """
    first, rows, columns = strip
    for part in prange(lines.shape[0] // (LINES * columns)):
        half = np.empty((SIDE * REACH, to.shape[1]), np.float32)
        image, top = part // rows, SIDE * (first + part % rows)
        for column in range(columns):
            _gather_rows(lines, (part * columns + column) * LINES, half)
            for row in range(min(SIDE, size[0] - top)):
                corner = (image * size[0] + top + row) * size[1] + SIDE * column
                for offset in range(min(SIDE, size[1] - SIDE * column)):
                    _add_outputs(half, REACH * row, offset, bias, least, to, corner + offset)


@compiled_fused
def _gather_rows(lines: Floats, start: int, half: Floats) -> None:
    """Aᵀ m: from 6×6 to 4×6 lines."""
    for row in range(SIDE):
        w = OUTPUT_WEIGHTS[row]
        for column in range(REACH):
            a, to = start + column, REACH * row + column
            for channel in range(half.shape[1]):
                half[to, channel] = (
                    w[0] * lines[a, channel]
                    + w[1] * lines[a + REACH, channel]
                    + w[2] * lines[a + 2 * REACH, channel]
                    + w[3] * lines[a + 3 * REACH, channel]
                    + w[4] * lines[a + 4 * REACH, channel]
                    + w[5] * lines[a + 5 * REACH, channel]
                )


@compiled_fused
def _add_outputs(half: Floats, start: int, column: int, bias: Floats, least: np.float32, to: Floats, line: int) -> None:
    """One output: a row of Aᵀ, applied to the six lines from `start` on."""
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
        to[line, channel] = least if value < least else value  # a NaN stays
