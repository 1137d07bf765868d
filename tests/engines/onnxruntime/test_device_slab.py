"""engines.onnxruntime.device_slab: one task's bytes travel, the rest of the bank stays; in host memory for a GPU's.

ONNX Runtime's own session and IO binding read the values; that a GPU does so is not shown here.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnxruntime.device_slab import OrtDeviceSlab
from tests.engines.onnx_files import lookup

Floats = npt.NDArray[np.float32]
INPUTS = {"table": TensorInfo("table", np.dtype(np.float32), ("T", 3))}
SESSION = ort.InferenceSession(lookup(), providers=["CPUExecutionProvider"])


class Device:
    """Memory that only ONNX Runtime's values and copies to addresses reach."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int]] = []
        self.values: list[Any] = []
        self.held: list[Any] = []
        self.still = threading.Lock()

    def wrap(self, array: Floats) -> Any:
        assert self.still.locked()
        self.held.append(array.copy())  # a value on the CPU shares the memory of its array
        self.values.append(ort.OrtValue.ortvalue_from_numpy(self.held[-1]))
        return self.values[-1]

    def send(self, parts: Any) -> None:
        assert self.still.locked()
        for address, array in parts:
            assert array.flags.c_contiguous
            ctypes.memmove(address, array.ctypes.data, array.nbytes)
            self.sent.append((address - self.values[0].data_ptr(), array.nbytes))


@pytest.fixture
def device() -> Device:
    return Device()


def make(device: Device) -> OrtDeviceSlab:
    return OrtDeviceSlab({"table": (3,)}, INPUTS, 4, ("cpu", 0), device.wrap, device.send, device.still)


def ask(slab: OrtDeviceSlab, slot: int | None, index: list[int]) -> list[list[float]]:
    binding = SESSION.io_binding()
    slab.bind(binding, slot)
    binding.bind_cpu_input("index", np.array(index))
    binding.bind_output("rows", "cpu")
    SESSION.run_with_iobinding(binding)
    rows: list[list[float]] = binding.copy_outputs_to_cpu()[0].tolist()
    return rows


def test_a_task_is_sent_alone_and_read_by_the_next_run(device: Device) -> None:
    slab = make(device)
    slab.write(2, {"table": np.array([1, 2, 3])})
    assert device.sent == [(2 * 12, 12)]
    assert ask(slab, None, [2, 1]) == [[1, 2, 3], [0, 0, 0]]
    slab.write(0, {"table": np.array([7, 8, 9])})
    assert device.sent[1:] == [(0, 12)]
    assert ask(slab, None, [0, 1, 2]) == [[7, 8, 9], [0, 0, 0], [1, 2, 3]]
    assert len(device.values) == 1, "the values are made once and never move"


def test_one_slot_is_a_bank_of_one_at_its_own_address(device: Device) -> None:
    slab = make(device)
    for slot in range(4):
        slab.write(slot, {"table": np.full(3, slot)})
    assert [ask(slab, slot, [0]) for slot in range(4)] == [[[slot] * 3] for slot in range(4)]
    with pytest.raises(EngineError, match="no slot 4, only 0 to 3"):
        ask(slab, 4, [0])


def test_what_is_not_named_becomes_zero_there_too(device: Device) -> None:
    slab = make(device)
    slab.write(1, {"table": np.ones(3)})
    slab.write(1, {})
    assert ask(slab, None, [1]) == [[0, 0, 0]]
    assert slab.read(1)["table"].tolist() == [0, 0, 0]


def test_what_does_not_fit_is_not_sent(device: Device) -> None:
    slab = make(device)
    with pytest.raises(EngineError, match="has shape"):
        slab.write(1, {"table": np.ones(4)})
    assert not device.sent
