"""The stack on which the main thread handles signals, as the kernel knows it."""

from __future__ import annotations

import ctypes

LARGEST = 64  # bytes, more than a stack_t has on any system


def signal_stack() -> bytes:
    """Return this thread's stack_t, of sigaltstack(2): where the stack lies, how large it is and whether it is used."""
    library, found = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(LARGEST)
    if library.sigaltstack(None, found) != 0:
        raise OSError(ctypes.get_errno(), "sigaltstack")
    return found.raw
