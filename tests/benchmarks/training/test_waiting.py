"""benchmarks.training.waiting with processes that count steps instead of training."""

from __future__ import annotations

import os
import sys

import pytest

from adaptertune_deploy.core import openmp
from benchmarks.training.speed_page import page
from benchmarks.training.waiting import ALONE, LONG_LOOKS, TOGETHER, Training, measure

# Notes in a file every step that it is asked for, with how its threads would wait.
COUNTS = """
import os, sys
print("ready", flush=True)
for line in sys.stdin:
    with open({file!r}, "a") as file:
        file.write(f"{{os.environ['GOMP_SPINCOUNT']}} {{os.getpid()}} {{int(line)}}\\n")
    print("done", flush=True)
"""


def test_each_kind_of_waiting_steps_alone_and_in_two_processes(tmp_path: object) -> None:
    file = f"{tmp_path}/steps"
    found = measure([sys.executable, "-c", COUNTS.format(file=file)], rounds=3, steps=2)
    with open(file) as lines:
        steps = [line.split() for line in lines]
    assert all(count == "2" for _, _, count in steps)
    for looks in (LONG_LOOKS, openmp.FEW_LOOKS):
        asked = [process for found, process, _ in steps if found == str(looks)]
        first, second = sorted((asked.count(process) for process in set(asked)), reverse=True)
        assert (first, second) == (8, 4)  # alone and together, or together only, in three rounds and once before
    assert [row["looks"] for row in found["rows"]] == [LONG_LOOKS, openmp.FEW_LOOKS]
    assert found["rows"][0]["faster"][ALONE]["median"] == found["rows"][0]["faster"][TOGETHER]["median"] == 1
    assert "| 1,000 |" in page({"Chip": {"waiting": found}})


def test_a_policy_of_the_caller_s_is_not_measured_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(openmp.POLICY, "passive")
    code = f"import os; print('ready' if {openmp.POLICY!r} not in os.environ else '', end='', flush=True)"
    with Training([sys.executable, "-c", code], 5):
        assert os.environ[openmp.POLICY] == "passive"


def test_a_training_that_ends_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        Training([sys.executable, "-c", "raise SystemExit(3)"], 5)
