"""The micro-batch size: how many images one pass computes."""

LEAST, MOST = 16, 160
"""The smallest and the largest micro-batch, for large and small images; 160 are the ten crops of 16 photos."""
PIXELS_PER_MICRO_BATCH = LEAST * 227 * 227


def micro_batch_size(size: tuple[int, int]) -> int:
    """The number of images of `size` (rows, columns) in one pass: 16, and more for images smaller than CaffeNet's.

    A pass over few small images is too short to use all threads: 100 images of 64×64 in one pass take 75 % of the time
    of passes of 16. For large images a larger micro-batch only takes more memory.
    """
    return min(max(LEAST, PIXELS_PER_MICRO_BATCH // (size[0] * size[1])), MOST)
