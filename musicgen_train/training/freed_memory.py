"""What a step frees on a CPU is kept for the next one, instead of given back to the system.

glibc gives back what is free above 64 MB, and large blocks at once. A step of training frees
hundreds of MB, and the next one takes them again page by page, each set to zero by the system:
up to 67 000 page faults and a tenth of a step of 1.3 s (docs/training.md).
"""

import contextlib
import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
NEVER = 2**31 - 1  # bytes that are free before any are given back


def keep_freed_memory() -> None:
    """From here on, in the whole process; its peak stays. Without glibc: nothing."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        # Both or none: one alone ends glibc's own adjusting of the other. Some builds of it take
        # no threshold above 32 MB for blocks that are the system's own.
        if mallopt(MMAP_THRESHOLD, 2**30) or mallopt(MMAP_THRESHOLD, 2**25):
            mallopt(TRIM_THRESHOLD, NEVER)
