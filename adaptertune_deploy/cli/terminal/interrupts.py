"""Ctrl-C, SIGTERM and SIGHUP: each unwinds the work, so that it is cleaned up, and says what was kept."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from adaptertune_deploy.core.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
USUAL = (signal.SIG_DFL, signal.default_int_handler)
# The signal that was raised last. A library that is being imported when it is raised turns it into an error of its own,
# which would be told as what it is not: numpy as a broken installation, ONNX Runtime as an absent one.
_raised: list[int] = []


class Signalled(KeyboardInterrupt):
    """A signal, raised where Ctrl-C would be raised: whatever cleans up after the one cleans up after the other.

    number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return 128 + the signal's number, as a shell would report it: 130 for Ctrl-C."""
    return 128 + (interrupt.number if isinstance(interrupt, Signalled) else signal.SIGINT)


@contextmanager
def signals_raise() -> Iterator[None]:
    """Have signals to stop raise in the main thread; one that is ignored or handled already is left alone."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        _raised[:] = [number]
        raise Signalled(number)

    _raised.clear()
    before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) in USUAL}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def hangups_noted(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Have SIGHUP end nothing for the length of a `with` block; one that is ignored already stays so.

    Args:
        wanted: whether to; where not, everything stays as it is.

    Yields:
        A function that tells whether one came.
    """
    noted: list[int] = []
    before = signal.getsignal(signal.SIGHUP)
    if not wanted or before is signal.SIG_IGN:
        yield lambda: False
        return
    signal.signal(signal.SIGHUP, lambda number, frame: noted.append(number))
    try:
        yield lambda: bool(noted)
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Turn an interrupt into Interrupted, whose line says what `kept` returns after everything was cleaned up."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt as interrupt:
        raise Interrupted(f"stopped; {kept()}", exit_code(interrupt)) from None
    except Exception:
        if not _raised:
            raise
        raise Interrupted(f"stopped; {kept()}", 128 + _raised[0]) from None


def outcome(file: Path, goes_on: Callable[[], bool] = lambda: False) -> Callable[[], str]:
    """Return a function that says what has become of a folder.

    Args:
        file: the one that work on the folder writes last: manifest.json or adapter_config.json.
        goes_on: tells whether --resume can go on with the work.
    """
    written = watch(file)

    def kept() -> str:
        if written():
            return f"{file.parent}/ is complete"
        said = f"nothing was written, {file.parent}/ is as it was" if file.exists() else "nothing was written"
        return f"{said}; the same command with --resume goes on where it stopped" if goes_on() else said

    return kept


def watch(file: Path) -> Callable[[], bool]:
    """Return a function that tells whether a file was written, or replaced, since this call."""
    before = _stamp(file)
    return lambda: _stamp(file) not in (None, before)


def _stamp(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced, or None when there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
