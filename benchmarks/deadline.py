"""End work that takes too long, wherever it is: in Python, in a library that waits, in a process that it started."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class OutOfTimeError(BaseException):
    """The time of a block is over; no `except Exception` on the way keeps it from ending."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block once it took so long; in the main thread only, and not one in another.

    A call into a library is ended when it returns; one that waits for a process is interrupted.
    """

    def end(number: int, frame: object) -> None:
        raise OutOfTimeError

    if seconds <= 0:
        raise OutOfTimeError
    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
