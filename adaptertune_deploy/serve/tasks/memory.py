"""Freed memory goes back to the system: the C library keeps most of what a closed engine held otherwise."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any


def give_back() -> None:
    """Return free memory to the system, where the C library has a call for it (glibc); takes milliseconds."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], Any] | None:
    try:
        found: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
        return found
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return None
