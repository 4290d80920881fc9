"""What the system says of pages: how many it had to fill for memory that was freed and asked for again."""

import platform
import subprocess
import sys

import pytest

from deepinside.pipeline.allocator import disable_malloc_trim

SCRIPT = """
import ctypes, resource
from deepinside.pipeline.allocator import disable_malloc_trim
KEEP and disable_malloc_trim()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
def used(size):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))
    ctypes.memset(block, 1, size)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(used(2**26), used(2**26))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_handed_out_again_without_the_system() -> None:
    def faults(keep: bool) -> list[int]:
        script = SCRIPT.replace("KEEP", str(keep))
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return [int(word) for word in found.stdout.split()]

    first, again = faults(True)
    assert again < first / 10
    first, again = faults(False)
    assert again > first / 2


def test_where_the_c_library_is_another_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not disable_malloc_trim()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not disable_malloc_trim()
