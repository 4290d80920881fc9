"""When compiled functions are worth waiting for.

numba takes half a second to import. A run of a few photos on a small network would wait longer for it than it computes.
So the layers whose PyTorch version gives the same bytes begin with that, and change over after some work.
"""

import sys

import torch
from torch import Tensor

ENOUGH = 2**26
"""Values: half a second of what the compiled functions save."""

KINDS = (torch.float32, torch.bfloat16)
_done = 0


def compiled_pays(x: Tensor) -> bool:
    """Whether to use compiled functions for maps `x`; called once for each."""
    global _done
    if x.device.type != "cpu" or x.ndim != 4 or x.dtype not in KINDS:
        return False
    _done += x.numel()
    return _done > ENOUGH or "numba" in sys.modules


def exact(x: Tensor) -> Tensor:
    """Half precision as float32; other values (N, …) as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
