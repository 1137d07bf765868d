"""engines.cuda.copies on a driver whose device memory is host memory."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from adaptertune_deploy.engines.cuda.copies import DeviceCopies
from tests.engines.cuda_double import DriverDouble

TWO = (("A", (8, 6), 1 << 30, False), ("B", (9, 0), 1 << 30, False))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> DriverDouble:
    double = DriverDouble(gpus=TWO)
    monkeypatch.setattr(cuda_driver, "load_library", double.library)
    return double


def test_arrays_arrive_where_they_are_sent_and_are_waited_for(driver: DriverDouble) -> None:
    device = np.zeros(6, np.float32)
    parts = [(device.ctypes.data + 8, np.array([3, 4], np.float32)), (device.ctypes.data, np.array([9], np.float32))]
    DeviceCopies(1).write(parts)
    assert device.tolist() == [9, 0, 3, 4, 0, 0]
    assert driver.copies == [(1, device.ctypes.data + 8, 8), (1, device.ctypes.data, 4)]
    assert driver.waited == 2


def test_the_thread_keeps_the_context_that_it_had(driver: DriverDouble) -> None:
    copies, device = DeviceCopies(1), np.zeros(1, np.float32)
    driver.contexts.append(0)
    copies.write([(device.ctypes.data, np.ones(1, np.float32))])
    driver.failing = 700
    with pytest.raises(EngineError, match=r"^the NVIDIA driver fails at .* \(CUDA error 700\)$"):
        copies.write([(device.ctypes.data, np.ones(1, np.float32))])
    assert driver.contexts == [0]


def test_the_primary_context_is_held_as_long_as_it_is_used(driver: DriverDouble) -> None:
    one, other = DeviceCopies(0), DeviceCopies(1)
    assert driver.retained == [0, 1]
    del one
    gc.collect()
    assert driver.retained == [1]
    del other
    gc.collect()
    assert driver.retained == []


def test_without_a_driver_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(EngineError, match=r"^no NVIDIA driver here"):
        DeviceCopies(0)
