"""engines.openvino.compiling: the thread that asks keeps its stack for signal handlers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.engines.openvino.compiling import compile_model
from adaptertune_deploy.engines.openvino.library import operators, ov
from tests.signal_stack import signal_stack

ROOT = Path(__file__).parents[3]
ORDERS = """
import faulthandler, os, signal, sys
faulthandler.enable()
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from tests.engines.golden import golden_graph
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
graph, options = golden_graph("birds"), EngineOptions("openvino", "cpu", threads=1)
held = [open_engine(graph, "g", options) for _ in range(3)]
os.kill(os.getpid(), signal.SIGUSR1)
while held:
    held.pop(0).close()
    os.kill(os.getpid(), signal.SIGUSR1)
"""


def doubled() -> Any:
    """Return a model that gives twice what it is given, [2] float32."""
    given = operators.parameter([2], np.float32)
    return ov.Model([operators.add(given, given)], [given])


def test_the_caller_keeps_its_stack_for_signals() -> None:
    before = signal_stack()
    compiled = compile_model(ov.Core(), doubled(), {"INFERENCE_PRECISION_HINT": "f32"})
    assert signal_stack() == before
    (found,) = compiled([np.array([1, 2], np.float32)]).values()
    assert found.tolist() == [2, 4]
    del compiled, found
    assert signal_stack() == before


def test_openvino_alone_takes_it() -> None:
    """Should this fail, OpenVINO leaves the stack alone, and the thread of its own can go."""
    before = signal_stack()
    compiled = ov.Core().compile_model(doubled(), "CPU", {})
    assert signal_stack() != before
    del compiled
    assert signal_stack() == before


def test_signals_are_handled_whatever_was_opened_and_closed_in_which_order() -> None:
    """The first to be opened closes first: the stack for signal handlers must not be one that went with it."""
    done = subprocess.run([sys.executable, "-c", ORDERS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["handled"] * 4), done.stderr


def test_what_openvino_says_is_raised() -> None:
    with pytest.raises(RuntimeError, match="NO_SUCH_PROPERTY"):
        compile_model(ov.Core(), doubled(), {"NO_SUCH_PROPERTY": "1"})
