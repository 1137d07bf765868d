"""engines.onnxruntime.arenas: when memory is given back, and that ONNX Runtime then really does so."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.engines.onnxruntime.arenas import CALM, SHRINK, Peaks, arenas
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from tests.engines.tensorrt.conftest import golden_graph

MANY = 1000


def test_after_a_large_run_many_small_ones_give_back_once() -> None:
    peaks = Peaks()
    told = [peaks.passed(rows) for rows in [40, *[8] * (3 * CALM)]]
    assert [place for place, due in enumerate(told) if due] == [CALM]


def test_what_came_meanwhile_is_the_next_peak() -> None:
    peaks = Peaks()
    assert [peaks.passed(rows) for rows in [40, 16, *[1] * (CALM - 1)]][-1]
    assert [place for place in range(2 * CALM) if peaks.passed(8)] == [CALM - 1], "half of 16, which then was largest"


@pytest.mark.parametrize("rows", [[1] * 500, [40, 21] * 200, [8, 4, 4, 8, 5] * 100])
def test_runs_of_like_sizes_give_nothing_back(rows: list[int]) -> None:
    peaks = Peaks()
    assert not any(peaks.passed(count) for count in rows)


def test_which_arenas_there_are() -> None:
    assert [arenas(provider, 2) for provider in (CPU, CUDA, TENSORRT)] == ["cpu:0", "cpu:0;gpu:2", ""]


class Watched:
    """A session that notes what its runs are told."""

    def __init__(self, session: Any) -> None:
        self._session, self.told = session, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.told.append("" if options is None else options.get_run_config_entry(SHRINK))
        self._session.run_with_iobinding(binding, options)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def give_back() -> tuple[int, list[str], bool]:
    """Return the bytes that the system has back after a large run and many small ones, what runs were told, and
    whether the answers stayed."""
    session = Watched(ort.InferenceSession(golden_graph("birds"), providers=[CPU]))
    engine = OrtEngine(session, CPU, 0, "g")
    images = np.zeros((MANY, 3, 32, 32), np.float32)
    engine.run({bank.IMAGES: images})
    largest = resident()
    first = engine.run({bank.IMAGES: images[:1]})[bank.LOGITS]
    for _ in range(CALM - 1):
        last = engine.run({bank.IMAGES: images[:1]})[bank.LOGITS]
    return largest - resident(), session.told, bool(np.array_equal(first, last))


def test_the_system_has_it_back() -> None:
    """In a process that does nothing else: memory that others freed before would hide what is given back."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        freed, told, same = pool.apply(give_back)
    assert told == [""] * CALM + ["cpu:0"]
    assert freed > 20e6  # 40 MB where this was measured
    assert same
