"""Memory of this process that was freed and is still kept for it by the C library."""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Hand freed memory back to the system; a C library without such a call keeps it.

    An inference library frees a graph's weights in pieces, between which others live on, so malloc keeps most of it.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
