"""What processes took, against what they say of themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.servers import processes

# A child that burns a fifth of a second of processor time, holds 30 MB, and waits.
CHILD = (
    "import sys, time, os\n"
    "held = bytearray(os.urandom(1000) * 30_000)\n"
    "while time.process_time() < 0.2: pass\n"
    "print(time.process_time(), flush=True)\n"
    "sys.stdin.readline()"
)
PARENT = (
    "import subprocess, sys\n"
    f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=sys.stdin, stdout=sys.stdout)\n"
    "child.wait()"
)


def test_descendants_count_with_their_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        burnt = float(parent.stdout.readline())
        pids = processes.tree(parent.pid)
        used, held = processes.cpu_s(parent.pid), processes.proportional_mb(parent.pid)
        parent.stdin.close()
    assert pids[0] == parent.pid
    assert len(pids) == 2
    assert burnt <= used + 2 / processes.TICKS
    assert 30 < held < 90


def test_processor_time_is_that_of_this_process() -> None:
    before, own = processes.cpu_s(os.getpid()), time.process_time()
    while time.process_time() < own + 0.1:
        pass
    assert processes.cpu_s(os.getpid()) - before == pytest.approx(time.process_time() - own, abs=3 / processes.TICKS)


def test_a_process_that_has_ended_takes_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processes.cpu_s(child.pid) == processes.proportional_mb(child.pid) == 0
