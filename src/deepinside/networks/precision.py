"""The precision and device of a network."""

import logging
import os
from typing import Literal, get_args

import torch
from torch import Tensor

from deepinside.errors import DeepInsideError
from deepinside.networks.kernels import backward_dtypes, set_backward_dtype, set_winograd, winograd_flags
from deepinside.networks.network import Network

LOG = logging.getLogger(__name__)

Precision = Literal["float32", "float64", "bf16", "mixed", "tf32"]
"""`float32` is the default. With `bf16` the network computes in bfloat16 (three significant digits), and images and
gradients stay float32. `mixed` is a CPU mode: the forward pass in float32, the backward pass in bfloat16. `tf32` is an
NVIDIA GPU mode: float32 with three-digit products."""

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bf16": torch.bfloat16,
    "mixed": torch.float32,
    "tf32": torch.float32,
}


def check_precision(precision: str, device: str) -> None:
    """Raise DeepInsideError for a precision that does not exist or that the device lacks."""
    if precision not in get_args(Precision):
        raise DeepInsideError(f"precision: expected one of {', '.join(get_args(Precision))}, found {precision!r}.")
    if precision == "tf32" and torch.device(device).type != "cuda":
        raise DeepInsideError(
            f"precision: tf32 needs an NVIDIA GPU, found the device {device}; use float32 or runtime.device=cuda."
        )
    if precision == "mixed" and torch.device(device).type != "cpu":
        raise DeepInsideError(f"precision: mixed needs a CPU, found the device {device}; use bf16 or tf32.")


def to_device(network: Network, device: str, precision: Precision, winograd: bool = True) -> Network:
    """A copy of `network` on that device, in that precision. `winograd` allows that algorithm for float32 on a CPU.

    Raises DeepInsideError if the device does not support it.
    """
    check_precision(precision, device)
    if torch.device(device).type == "cuda":
        set_up_gpu(precision)
    elif precision in ("bf16", "mixed") and not computes_bf16():
        LOG.warning(f"precision: this processor has no bf16 instructions; {precision} is slower than float32 here")
    converted = network.to(device=device, dtype=DTYPES[precision])
    return with_winograd(with_backward_dtype(converted, torch.bfloat16 if precision == "mixed" else None), winograd)


def with_backward_dtype(network: Network, dtype: torch.dtype | None) -> Network:
    """The network with input gradients in `dtype`; None is that of its weights. A changed network is a copy."""
    if backward_dtypes(network.module) <= {dtype}:
        return network
    return network.rewritten(lambda module: set_backward_dtype(module, dtype))


def with_winograd(network: Network, allowed: bool) -> Network:
    """The network with or without Winograd's convolution. A changed network is a copy."""
    if winograd_flags(network.module) <= {allowed}:
        return network
    return network.rewritten(lambda module: set_winograd(module, allowed))


def computes_bf16() -> bool:
    """Whether the processor has bfloat16 instructions."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


def set_up_gpu(precision: Precision) -> None:
    """Set process-wide GPU options: no tf32 unless requested, and deterministic kernels."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # its default is true
    torch.backends.cudnn.benchmark = False  # benchmarking picks the fastest kernel, which can differ between runs
    torch.backends.cudnn.deterministic = True
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first matrix product


def pixels_to_device(pixels: Tensor, network: Network) -> Tensor:
    """Move images (N, C, H, W) to the network's device; to a GPU through pinned memory, asynchronously."""
    pinned = pixels.pin_memory() if network.device.type == "cuda" and pixels.device.type == "cpu" else pixels
    return pinned.to(device=network.device, dtype=network.dtype, non_blocking=True)
