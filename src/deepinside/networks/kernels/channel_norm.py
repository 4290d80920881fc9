"""Local response normalisation of lines of channels and its gradient, each in one pass over memory, compiled.

y = x · e^-¾ with e = k + scale · Σ x² over the neighbouring channels. `CrossChannelNorm` does the same steps in
PyTorch's operations and gets the same bytes. Loops over the channels are written so that the compiler vectorises them.
"""

import numpy as np
from numba import prange

from deepinside.networks.kernels.compiled import Floats, Lines, compiled, compiled_for_threads, widened, write

PART = 256
"""The lines that a thread does in one go."""


@compiled_for_threads
def normalise(lines: Lines, to: Lines, before: int, after: int, scale: np.float32, k: np.float32) -> None:
    """Write y. `before` and `after` count the neighbours on either side; `scale` is α/n."""
    count, channels = lines.shape
    for part in prange(-(-count // PART)):
        x, inverse = np.empty(channels, np.float32), np.empty(channels, np.float32)
        squares = np.zeros(channels + before + after, np.float32)
        for line in range(part * PART, min(count, (part + 1) * PART)):
            _read(lines[line], x)
            _inverse_root(x, before, scale, k, squares, inverse)
            for channel in range(channels):
                x[channel] *= _factor(inverse[channel])
            write(x, to[line])


@compiled_for_threads
def normalise_back(
    lines: Lines, above: Lines, to: Lines, slope: np.float32, before: int, after: int, scale: np.float32, k: np.float32
) -> None:
    """Write the gradient with respect to x of Σ y · above: f·g + slope · x · Σ (f·g·x / e), where f = e^-¾."""
    count, channels = lines.shape
    for part in prange(-(-count // PART)):
        x, gradient = np.empty(channels, np.float32), np.empty(channels, np.float32)
        inverse, sums = np.empty(channels, np.float32), np.empty(channels, np.float32)
        squares = np.zeros(channels + before + after, np.float32)
        through = np.zeros(channels + before + after, np.float32)
        middle = through[after : after + channels]
        for line in range(part * PART, min(count, (part + 1) * PART)):
            _read(lines[line], x)
            _read(above[line], gradient)
            _inverse_root(x, before, scale, k, squares, inverse)
            for channel in range(channels):
                gradient[channel] *= _factor(inverse[channel])
            for channel in range(channels):
                middle[channel] = gradient[channel] * x[channel] * (inverse[channel] * inverse[channel])
            _sum_neighbours(through, sums)
            for channel in range(channels):
                gradient[channel] += x[channel] * slope * sums[channel]
            write(gradient, to[line])


@compiled
def _factor(inverse: np.float32) -> np.float32:
    """e^-¾ from 1/√e."""
    return inverse * inverse * (np.float32(1) / np.sqrt(inverse))


@compiled
def _read(line: Lines, to: Floats) -> None:
    for channel in range(len(line)):
        to[channel] = widened(line[channel])


@compiled
def _inverse_root(x: Floats, before: int, scale: np.float32, k: np.float32, squares: Floats, to: Floats) -> None:
    """1/√e. `squares` is a buffer with zeros at its ends."""
    middle = squares[before : before + len(x)]
    for channel in range(len(x)):
        middle[channel] = x[channel] * x[channel]
    _sum_neighbours(squares, to)
    for channel in range(len(x)):
        to[channel] = np.float32(1) / np.sqrt(to[channel] * scale + k)


@compiled
def _sum_neighbours(padded: Floats, to: Floats) -> None:
    """The sums over windows of `padded`, one for each value of `to`."""
    for channel in range(len(to)):
        to[channel] = padded[channel]
    for offset in range(1, len(padded) - len(to) + 1):
        shifted = padded[offset : offset + len(to)]
        for channel in range(len(to)):
            to[channel] += shifted[channel]
