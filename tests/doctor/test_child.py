"""Probes in real processes, and what is said of those that crash."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adaptertune_deploy.doctor.child import ask
from adaptertune_deploy.doctor.machine import Ran, ThisMachine
from tests.doctor.fake_machine import FakeMachine, answers

COMMAND = "/venv/bin/python -m adaptertune_deploy.doctor.probes.engine onnxruntime"


def test_the_last_line_is_the_answer() -> None:
    machine = FakeMachine(programs=answers("engine", "onnxruntime", version="1.32"))
    assert ask(machine, "engine", "onnxruntime") == {"version": "1.32"}


@pytest.mark.parametrize(
    ("ran", "how"),
    [
        (None, "gave no answer in 120 seconds"),
        (Ran(-11, "", ""), "crashed with SIGSEGV"),
        (Ran(-6, '{"version": "1"}', "terminate called\nwhat(): bad\n\n"), "crashed with SIGABRT (what(): bad)"),
        (Ran(-200, ""), "crashed with signal 200"),
        (Ran(1, "", "ImportError: libx.so\n"), "ended with exit code 1 (ImportError: libx.so)"),
        (Ran(0, "", ""), "ended with exit code 0"),
        (Ran(0, "[1]\n", ""), "ended with exit code 0"),
        (Ran(0, "no json\n", ""), "ended with exit code 0"),
    ],
)
def test_how_a_probe_ended_without_an_answer(ran: Ran | None, how: str) -> None:
    machine = FakeMachine(programs={COMMAND: ran} if ran else {})
    assert ask(machine, "engine", "onnxruntime") == {"died": how}


def test_a_process_that_crashes_is_survived(tmp_path: Path) -> None:
    class Crashing(ThisMachine):
        def run(self, *command: str) -> Ran | None:
            return super().run(sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    assert ask(Crashing(), "engine") == {"died": "crashed with SIGSEGV"}
