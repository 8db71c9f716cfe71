"""The memory that the C library holds: when it is reused, and when it is returned to the system.

Has no effect if the library is not glibc.
"""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1  # malloc.h
M_MMAP_THRESHOLD: Final = -3
REUSED_BYTES_MAX: Final = 32 << 20  # the most that glibc takes


def reuse() -> None:
    """Have large buffers come from memory that was used before.

    glibc maps what a fetch reads anew each time, and gives it back: every page of it faults, which
    costs as much as copying it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, REUSED_BYTES_MAX)
        mallopt(M_TRIM_THRESHOLD, 2 * REUSED_BYTES_MAX)


def give_back() -> None:
    """Have the system get all that is free, wherever it lies. Takes 0.1 ms a megabyte."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
