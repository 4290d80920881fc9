"""How many images go through a network at once."""

LEAST, MOST = 16, 160
"""Images of a pass, from large ones to small ones; the most are the ten crops of sixteen photos."""
PIXELS_PER_MICRO_BATCH = LEAST * 227 * 227


def micro_batch_size(size: tuple[int, int]) -> int:
    """Images of `size` (rows, columns) in one pass: sixteen, and more of images smaller than CaffeNet's.

    Passes of few small images are too short to be shared among threads: of 64 rows and columns a hundred at once take
    three quarters of the time that they take by sixteens. Of large ones more at once only take more memory.
    """
    return min(max(LEAST, PIXELS_PER_MICRO_BATCH // (size[0] * size[1])), MOST)
