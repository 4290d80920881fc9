"""Where an image has contrast, and of what kind: in a box, around a centre, in colour, at which frequencies."""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def contrast(x: Tensor) -> Tensor:
    """(H, W): the squared differences of an image (C, H, W) to its right and lower neighbours, summed over channels."""
    down, right = F.pad(x.diff(dim=1), (0, 0, 0, 1)), F.pad(x.diff(dim=2), (0, 1))
    return (down.square() + right.square()).sum(0)


def share_inside(x: Tensor, box: Sequence[int]) -> float:
    """The share of the contrast of `x` (C, H, W) in a box (x0 y0 x1 y1), 0 to 1; 0 for a constant image."""
    found = contrast(x)
    return ratio(inside(found, box).sum(), found.sum())


def spread(x: Tensor, box: Sequence[int]) -> float:
    """The root mean square distance of the contrast of `x` (C, H, W) in a box from the box's centre, in pixels.

    √(side² / 6) for contrast that is the same everywhere in a square.
    """
    weights = inside(contrast(x), box)
    rows, columns = (weights.new_tensor(range(size)) - (size - 1) / 2 for size in weights.shape)
    distances = rows.square()[:, None] + columns.square()
    return math.sqrt(ratio((weights * distances).sum(), weights.sum()))


def colour_share(x: Tensor) -> float:
    """The share of colour in the variance of `x` (3, H, W): 0 if it is grey, 1 if the channels' mean is constant."""
    varying = x - x.mean((1, 2), keepdim=True)
    return ratio((varying - varying.mean(0)).square().sum(), varying.square().sum())


def frequency(x: Tensor) -> float:
    """The root mean square spatial frequency of `x` (C, H, W), in cycles per pixel; 0 for a constant image.

    A wave sin(2πfs) of low frequency f has a mean squared difference of neighbours of (2πf)² times its variance.
    """
    varying = x - x.mean((1, 2), keepdim=True)
    return math.sqrt(ratio(contrast(x).sum(), varying.square().sum())) / (2 * math.pi)


def inside(values: Tensor, box: Sequence[int]) -> Tensor:
    """The part of (H, W) in a box."""
    x0, y0, x1, y1 = box
    return values[y0:y1, x0:x1]


def ratio(part: Tensor, total: Tensor) -> float:
    return (part / total).item() if total > 0 else 0.0
