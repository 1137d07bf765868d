"""What a process says that ends at once, whoever listens."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def end(code: int, words: str = "") -> NoReturn:
    """End the process though an engine run goes on: a thread inside an engine can't be stopped.

    Args:
        code: the exit code.
        words: what standard error gets before, if it takes it.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # its disk is full; it is closed; there is none
        sys.stderr.write(words)
        sys.stderr.flush()
    os._exit(code)
