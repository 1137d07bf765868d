"""Ctrl-C and SIGTERM that wait for the end of a training step, so that what is kept is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the work was asked to stop.

    number: of the signal that asked, None while nobody did.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None


@contextmanager
def patient() -> Iterator[Stop]:
    """Have the first SIGINT or SIGTERM only be noted; it is raised again when the block ends, and a second one at once.

    A signal that would end the process without a word, or is ignored, is left alone; so is every signal outside the
    main thread, where Python runs no handlers.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = {number: handler for number, handler in before.items() if callable(handler)}

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop:
            ours[signal.Signals(number)](number, frame)
        stop.number = number

    for number in ours:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    if stop.number is not None:
        signal.raise_signal(stop.number)
