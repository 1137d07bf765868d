"""Memory that a batch frees, in a training step or where images are measured, stays with this process for the next one.

A step on a CPU frees hundreds of megabytes at its end. glibc hands them back to the system as soon as enough of them
lie together, and gets them again in the next step page by page, each one cleared: up to a tenth of the step, more or
less by where the memory happens to lie (mallopt(3)). Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# malloc.h's numbers of the two settings.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEEP = 1 << 30
# What glibc comes to by itself in a process with blocks as large as these, and the most that older ones take.
OWN_MMAP, OWN_TRIM = 1 << 25, 1 << 26
# The settings hold for the whole process: the last of several contexts to close gives the memory back.
OPEN: list[object] = []


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Keep freed memory, up to a gigabyte, while the context is open; yields whether this C library does."""
    library = ctypes.CDLL(None)
    mallopt: Callable[[int, int], int] | None = getattr(library, "mallopt", None)
    if mallopt is None:
        yield False
        return
    mallopt(MMAP_THRESHOLD, KEEP) or mallopt(MMAP_THRESHOLD, OWN_MMAP)
    mallopt(TRIM_THRESHOLD, KEEP)
    OPEN.append(library)
    try:
        yield True
    finally:
        OPEN.pop()
        if not OPEN:
            mallopt(MMAP_THRESHOLD, OWN_MMAP)
            mallopt(TRIM_THRESHOLD, OWN_TRIM)
            library.malloc_trim(0)
