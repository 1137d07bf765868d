from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from adaptertune_deploy.cli.terminal import interrupts
from adaptertune_deploy.core.errors import Interrupted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_unwinds_the_work_and_says_what_was_kept(number: signal.Signals, code: int) -> None:
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            pytest.fail("the signal did not end the work")
        finally:
            cleaned.append(number)

    kept = interrupts.stoppable(lambda: f"{len(cleaned)} cleaned up")
    with interrupts.signals_raise(), pytest.raises(Interrupted) as ended, kept:
        work()
    assert (str(ended.value), ended.value.exit_code) == ("stopped; 1 cleaned up", code)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_that_a_library_takes_for_an_error_of_its_own_stays_one(number: signal.Signals) -> None:
    def load() -> None:
        try:
            os.kill(os.getpid(), number)
            pytest.fail("the signal did not end the work")
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    outer, inner = interrupts.stoppable(lambda: "nothing was done"), interrupts.stoppable(lambda: "no file was read")
    expected = pytest.raises(Interrupted, match="stopped; no file was read")
    with interrupts.signals_raise(), expected as ended, outer, inner:
        load()
    assert ended.value.exit_code == 128 + number
    kept = interrupts.stoppable(lambda: "nothing was done")
    with interrupts.signals_raise(), pytest.raises(ImportError, match="no such library"), kept:
        raise ImportError("no such library")


def test_a_signal_that_is_ignored_or_handled_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.signals_raise():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is before[0]
    finally:
        signal.signal(signal.SIGHUP, before[1])


@pytest.mark.parametrize("wanted", [True, False])
def test_a_hangup_is_noted_where_that_is_wanted(wanted: bool) -> None:
    before = signal.getsignal(signal.SIGHUP)
    with interrupts.signals_raise(), interrupts.hangups_noted(wanted) as came:
        assert not came()
        if wanted:
            os.kill(os.getpid(), signal.SIGHUP)
        else:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGHUP)
        assert came() is wanted
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_hangup_that_is_ignored_is_not_noted() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.hangups_noted(True) as came:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not came()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_outcome_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "pets" / "adapter_config.json"
    absent = interrupts.outcome(file)
    assert absent() == "nothing was written"
    file.parent.mkdir()
    file.write_text("old")
    assert absent() == f"{file.parent}/ is complete"
    there = interrupts.outcome(file)
    assert there() == f"nothing was written, {file.parent}/ is as it was"
    replacement = tmp_path / "new"
    replacement.write_text("new")
    replacement.replace(file)
    assert there() == f"{file.parent}/ is complete"
