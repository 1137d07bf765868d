"""End work that takes too long, wherever it is: in Python, in a library that waits, in a process that it started."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

SOON = 1e-3  # seconds; a timer of 0 would be none


class OutOfTimeError(BaseException):
    """The time of a block is over; no `except Exception` on the way keeps it from ending."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[OutOfTimeError]:
    """Raise the OutOfTimeError that it gives once the block took so long; in the main thread only.

    Blocks may lie in one another: the one whose time is over first raises its own. A call into a library is ended when
    it returns; one that waits for a process is interrupted.
    """
    error, started = OutOfTimeError(), time.monotonic()

    def end(number: int, frame: object) -> None:
        raise error

    if seconds <= 0:
        raise error
    outer, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < outer <= seconds:
        yield error
        return
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(SOON, outer - (time.monotonic() - started)))
