"""Memory that is freed stays with the process, for the next tensor."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""The C library's numbers for what `mallopt` sets."""
KEPT = 2**31 - 1
"""As many bytes as can be named."""


def keep_freed() -> bool:
    """Have the C library hand out again what was freed, and not return it to the system; whether it can.

    Large tensors come and go with every pass, and the system fills each page of a new one with zeros first: a tenth
    of VGG-16's time. Only glibc, the library of most Linux systems, is known to take such words.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(TRIM_THRESHOLD, KEPT) and library.mallopt(MMAP_THRESHOLD, KEPT))
