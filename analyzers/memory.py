"""Freed memory goes back to the system: what glibc would keep grows with the length of a run.

glibc raises its mmap threshold to the largest block it has seen freed (up to 32 MiB, ``mallopt(3)``),
so that tables which come and go end up between small blocks of the heap and hold it open. Naming the
threshold stops that.
"""

import ctypes
import sys
from functools import cache

# mallopt(3), malloc.h: the parameter's number, and glibc's own first value for it.
M_MMAP_THRESHOLD = -3
MMAP_THRESHOLD_BYTES = 128 << 10


@cache
def return_freed() -> bool:
    """Keep glibc's mmap threshold where it starts, once a process; False where there is no glibc."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES) == 1
