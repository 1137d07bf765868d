"""train.resume.interruption: the first signal waits for the end of the work, the second does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from adaptertune_deploy.train.resume.interruption import patient


class CalledError(Exception):
    """The handler that stood before was called."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Let SIGTERM raise CalledError, and SIGINT KeyboardInterrupt as Python does."""

    def raise_called(number: int, frame: FrameType | None) -> None:
        raise CalledError

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, raise_called)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def work(done: list[str], *numbers: signal.Signals) -> None:
    """Get these signals in the middle of some work."""
    with patient() as stop:
        assert not stop
        for number in numbers:
            signal.raise_signal(number)
        assert stop
        done.append("the rest of the step")


RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: CalledError}


@pytest.mark.parametrize("number", RAISED, ids=lambda number: number.name)
def test_a_signal_is_raised_when_the_work_ends(number: signal.Signals) -> None:
    done: list[str] = []
    with pytest.raises(RAISED[number]):
        work(done, number)
    assert done == ["the rest of the step"]


@pytest.mark.parametrize("number", RAISED, ids=lambda number: number.name)
def test_a_second_signal_does_not_wait(number: signal.Signals) -> None:
    done: list[str] = []
    with pytest.raises(RAISED[number]):
        work(done, signal.SIGINT, number)
    assert done == []


def test_handlers_stand_again_afterwards() -> None:
    before = {number: signal.getsignal(number) for number in RAISED}
    with patient() as stop:
        pass
    assert not stop
    assert {number: signal.getsignal(number) for number in RAISED} == before
    with pytest.raises(ValueError, match="mistake"), patient():
        raise ValueError("mistake")
    assert {number: signal.getsignal(number) for number in RAISED} == before


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_what_python_does_not_handle_is_left_alone(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    with patient():
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_another_thread_has_no_handlers_to_set() -> None:
    seen: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with patient() as stop:
            seen.extend([bool(stop), signal.getsignal(signal.SIGINT) is before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]
