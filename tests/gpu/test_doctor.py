"""The doctor on a machine with an NVIDIA GPU: the driver answers, and what is installed for the GPU runs on it."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.doctor.checks import driver, engines
from adaptertune_deploy.doctor.machine import ThisMachine
from adaptertune_deploy.engines.cuda.driver import ask_driver


def is_there() -> bool:
    try:
        ask_driver()
    except EngineError:
        return False
    return True


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not is_there(), reason="no GPU")]


def test_the_driver_and_every_gpu_are_named() -> None:
    found = {finding.what: finding for finding in driver.check(ThisMachine())}
    assert found["NVIDIA driver"].status == "ok"
    for gpu in ask_driver().gpus:
        assert gpu.name in found[f"GPU {gpu.index}"].found


def test_engines_for_the_gpu_run_the_small_graph_on_it() -> None:
    found = [finding for finding in engines.check(ThisMachine()) if " on cuda" in finding.what]
    assert found
    for finding in found:
        assert finding.status != "problem", finding
        assert finding.status == "note" or "on cuda:0" in finding.found
