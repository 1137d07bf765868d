"""benchmarks.gpu.deadline: a block ends when its time is over, and what was set before is set again."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from benchmarks.gpu.deadline import OutOfTimeError, deadline


def test_a_block_in_time_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with deadline(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_block_that_waits_for_a_process_ends_with_it() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(OutOfTimeError), deadline(0.05):
        process.wait()
    process.kill()
    process.communicate()
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_who_catches_exceptions_does_not_keep_it() -> None:
    def swallow() -> None:
        while True:
            try:
                signal.pause()
            except Exception:  # noqa: BLE001  what is tried here
                continue

    with pytest.raises(OutOfTimeError), deadline(0.05):
        swallow()


def test_of_two_blocks_the_one_whose_time_is_over_raises() -> None:
    with deadline(60) as outer, pytest.raises(OutOfTimeError) as raised, deadline(0.05) as inner:
        signal.pause()
    assert raised.value is inner
    assert raised.value is not outer
    with pytest.raises(OutOfTimeError) as raised, deadline(0.05) as outer, deadline(60) as inner:
        signal.pause()
    assert raised.value is outer


def test_the_outer_block_goes_on_counting() -> None:
    with deadline(60):
        with deadline(30):
            assert signal.getitimer(signal.ITIMER_REAL)[0] <= 30
        assert 30 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("seconds", [0, -1.5])
def test_no_time_at_all(seconds: float) -> None:
    with pytest.raises(OutOfTimeError), deadline(seconds):
        pytest.fail("the block began")
