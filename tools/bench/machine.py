"""The machine that was measured, named, and the rate its own matrix product reaches."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch

# what decides how fast a matrix product can be
TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "neon", "asimd", "sve")


def describe(threads: int) -> dict[str, object]:
    """Processor, cores, telling flags, threads used, torch's version and, where there is one, the GPU."""
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in TELLING if flag in flags()],
        "threads": threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def sentence(machine: dict[str, object]) -> str:
    """The machine in one line."""
    has = ", ".join(machine["flags"]) or "no vector flags known"  # type: ignore[arg-type]
    return (
        f"{machine['processor']}, {machine['cores']} cores ({has}), {machine['threads']} threads, "
        f"torch {machine['torch']}"
    )


def processor() -> str:
    return cpu_line("model name") or platform.processor() or platform.machine()


def flags() -> set[str]:
    return set((cpu_line("flags") or cpu_line("Features")).split())


def cpu_line(key: str) -> str:
    """What /proc/cpuinfo says of a key, empty where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == key), "")


def product(size: int, dtype: torch.dtype = torch.float32) -> tuple[Callable[[], torch.Tensor], float]:
    """A product of two square matrices, and how many floating-point operations it takes."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    out = torch.empty(size, size, dtype=dtype)
    return lambda: torch.mm(a, b, out=out), 2.0 * size**3
