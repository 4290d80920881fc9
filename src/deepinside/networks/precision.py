"""In what precision a network computes, and where."""

import logging
import os
from typing import Literal, get_args

import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.network import Network

LOG = logging.getLogger(__name__)

Precision = Literal["float32", "float64", "bf16", "tf32"]
"""`float32` is the default. `bf16` has three significant digits: the graph computes in bfloat16, images and gradients
stay float32. `tf32` is a GPU's float32 whose products have three digits."""

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bf16": torch.bfloat16,
    "tf32": torch.float32,
}


def check_precision(precision: str, device: str) -> None:
    """Raise DeepInsideError for a precision that there is not, or not on that device."""
    if precision not in get_args(Precision):
        raise DeepInsideError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}.")
    if precision == "tf32" and torch.device(device).type != "cuda":
        raise DeepInsideError(
            f"precision: tf32 is a way of computing on NVIDIA GPUs, found the device {device}; use float32, or "
            "runtime.device=cuda."
        )


def placed(network: Network, device: str, precision: Precision) -> Network:
    """`network` on that device, computing in that precision; the given one stays as it is.

    Raises DeepInsideError where the device cannot do it.
    """
    check_precision(precision, device)
    if torch.device(device).type == "cuda":
        set_up_gpu(precision)
    elif precision == "bf16" and not computes_bf16():
        LOG.warning("precision: this processor has no instructions for bf16, with which it is slower than with float32")
    return network.to(device=device, dtype=DTYPES[precision])


def computes_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself, and does not spell it out in float32."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


def set_up_gpu(precision: Precision) -> None:
    """For the whole process: float32 means float32 unless tf32 is asked for, and each run takes the same kernels."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # true unless it is said
    torch.backends.cudnn.benchmark = False  # which times kernels and takes the fastest, not always the same one
    torch.backends.cudnn.deterministic = True
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed


def brought(pixels: Tensor, network: Network) -> Tensor:
    """Photos (N, C, H, W) from the CPU to where the network is; to a GPU from pinned memory, which nobody waits for."""
    pinned = pixels.pin_memory() if network.device.type == "cuda" and pixels.device.type == "cpu" else pixels
    return pinned.to(device=network.device, dtype=network.dtype, non_blocking=True)
