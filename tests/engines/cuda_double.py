"""A double of libcuda and of cuda.bindings.runtime whose device memory is host memory.

Addresses are real, so what computes on them computes real numbers; every copy must lie inside of a live allocation of
the right kind. Work given to a stream waits until the stream is synchronised, so who forgets to wait reads garbage, and
new memory holds garbage until it is cleared. A captured graph replays what was captured, with the addresses of then.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.engines.cuda import driver as cuda_driver

GARBAGE = 0xAB


class cudaError_t(IntEnum):  # noqa: N801  the bindings' names
    cudaSuccess = 0  # noqa: N815
    cudaErrorInvalidValue = 1  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorInsufficientDriver = 35  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815


class cudaMemcpyKind(IntEnum):  # noqa: N801
    cudaMemcpyHostToDevice = 1  # noqa: N815
    cudaMemcpyDeviceToHost = 2  # noqa: N815


class cudaStreamCaptureMode(IntEnum):  # noqa: N801
    cudaStreamCaptureModeThreadLocal = 1  # noqa: N815


Work = Callable[[], None]
OK = cudaError_t.cudaSuccess
INVALID = cudaError_t.cudaErrorInvalidValue


@dataclass
class Allocation:
    memory: Any
    size: int
    pinned: bool


@dataclass
class StreamState:
    pending: list[Work] = field(default_factory=list)
    captured: list[Work] | None = None
    broken: bool = False


class CudaDouble:
    """The state behind the module's functions.

    failing: function name -> error that its next call gives.
    calls: names of the functions that were called.
    """

    def __init__(self) -> None:
        self.live: dict[int, Allocation] = {}
        self.streams: dict[int, StreamState] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.failing: dict[str, cudaError_t] = {}
        self.calls: list[str] = []
        self.fault: str | None = None  # of work that ran on the device
        self.device = -1

    # what the TensorRT double needs of a device

    def view(self, address: int, size: int, pinned: bool = False) -> Any:
        """Return the bytes at an address, which must lie inside of a live allocation of the kind."""
        for start, held in self.live.items():
            if start <= address and address + size <= start + held.size and held.pinned == pinned:
                return held.memory[address - start : address - start + size]
        raise AssertionError(f"{size} bytes at {address} are in no live {'pinned' if pinned else 'device'} memory")

    def give(self, stream: int, work: Work) -> bool:
        """Give work to a stream, or to the graph that is being captured from it."""
        state = self.streams[stream]
        (state.pending if state.captured is None else state.captured).append(work)
        return True

    # cuda.bindings.runtime

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:  # noqa: N802
        self.device = device
        return (OK,)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        return self._allocate(size, pinned=False)

    def cudaMallocHost(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        return self._allocate(size, pinned=True)

    def cudaFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        assert not self.live.pop(address).pinned
        return (OK,)

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        assert self.live.pop(address).pinned
        return (OK,)

    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        self.give(stream, lambda: self.view(address, size).fill(value))
        return (OK,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        to_device = {cudaMemcpyKind.cudaMemcpyHostToDevice: True, cudaMemcpyKind.cudaMemcpyDeviceToHost: False}[kind]
        self.view(target, size, pinned=not to_device), self.view(source, size, pinned=to_device)

        def copy() -> None:
            self.view(target, size, pinned=not to_device)[:] = self.view(source, size, pinned=to_device)

        self.give(stream, copy)
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        handle = len(self.streams) + 1
        self.streams[handle] = StreamState()
        return OK, handle

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return (OK,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        state = self.streams[stream]
        if state.captured is not None:
            state.broken = True
            return (cudaError_t.cudaErrorStreamCaptureUnsupported,)
        pending, state.pending = state.pending, []
        for work in pending:
            work()
        return (OK,)

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:  # noqa: N802
        assert mode is cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.streams[stream].captured = []
        return (OK,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        state = self.streams[stream]
        captured, state.captured = state.captured, None
        if state.broken:
            state.broken = False
            return cudaError_t.cudaErrorStreamCaptureInvalidated, None
        assert captured is not None
        return self._keep(captured)

    def cudaGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self._keep(self.graphs[graph])

    def cudaGraphDestroy(self, graph: int) -> tuple[Any, ...]:  # noqa: N802
        del self.graphs[graph]
        return (OK,)

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Any, ...]:  # noqa: N802
        del self.graphs[graph]
        return (OK,)

    def cudaGraphLaunch(self, graph: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        works = self.graphs[graph]
        for work in works:
            self.give(stream, work)
        return (OK,)

    def cudaGetErrorString(self, error: Any) -> tuple[Any, ...]:  # noqa: N802
        return OK, f"error {error.name}".encode()

    def _allocate(self, size: int, pinned: bool) -> tuple[Any, ...]:
        if any(state.captured is not None for state in self.streams.values()):
            return cudaError_t.cudaErrorStreamCaptureUnsupported, None
        memory = np.full(size, GARBAGE, np.uint8)
        self.live[memory.ctypes.data] = Allocation(memory, size, pinned)
        return OK, memory.ctypes.data

    def _keep(self, works: list[Work]) -> tuple[Any, ...]:
        handle = max([1000, *self.graphs]) + 1
        self.graphs[handle] = list(works)
        return OK, handle

    def module(self) -> ModuleType:
        """Return what is imported as cuda.bindings.runtime."""
        module: Any = ModuleType("cuda.bindings.runtime")
        for name in dir(self):
            if name.startswith("cuda") and callable(getattr(self, name)):
                setattr(module, name, self._counted(name, getattr(self, name)))
        for kind in (cudaError_t, cudaMemcpyKind, cudaStreamCaptureMode):
            setattr(module, kind.__name__, kind)
        return module  # type: ignore[no-any-return]

    def _counted(self, name: str, function: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append(name)
            error = self.failing.pop(name, None)
            return function(*arguments) if error is None else (error, None)

        return call


@dataclass
class DriverDouble:
    """A libcuda whose device memory is host memory.

    init: what cuInit returns.
    gpus: (name, capability, bytes, integrated) of each.
    contexts: of which GPU's the primary one is current, innermost last.
    copies: (GPU, address, bytes) of each copy to the device.
    failing: what a copy returns.
    """

    init: int = 0
    cuda: int = 13000
    gpus: tuple[tuple[str, tuple[int, int], int, bool], ...] = (("NVIDIA Double", (8, 6), 24 << 30, False),)
    contexts: list[int] = field(default_factory=list)
    retained: list[int] = field(default_factory=list)
    copies: list[tuple[int, int, int]] = field(default_factory=list)
    waited: int = 0
    failing: int = 0

    def retain(self, context: Any, device: ctypes.c_int) -> int:
        self.retained.append(device.value)
        context._obj.value = 1 + device.value  # a handle is never null
        return 0

    def release(self, device: ctypes.c_int) -> int:
        self.retained.remove(device.value)
        return 0

    def push(self, context: ctypes.c_void_p) -> int:
        assert context.value is not None
        assert context.value - 1 in self.retained
        self.contexts.append(context.value - 1)
        return 0

    def pop(self, context: Any) -> int:
        context._obj.value = 1 + self.contexts.pop()
        return 0

    def copy(self, target: ctypes.c_uint64, source: ctypes.c_void_p, size: ctypes.c_size_t) -> int:
        if self.failing:
            return self.failing
        ctypes.memmove(target.value, source.value, size.value)
        self.copies.append((self.contexts[-1], target.value, size.value))
        return 0

    def wait(self, stream: Any) -> int:
        assert stream is None, "copies are given to the default stream"
        self.waited = len(self.copies)
        return 0

    def library(self) -> Any:
        def device_get(device: Any, index: int) -> int:
            device._obj.value = index
            return 0

        def write(value: int) -> Callable[..., int]:
            def call(result: Any, *rest: Any) -> int:
                result._obj.value = value
                return 0

            return call

        def name(target: Any, size: int, device: ctypes.c_int) -> int:
            target.value = self.gpus[device.value][0].encode()
            return 0

        def memory(result: Any, device: ctypes.c_int) -> int:
            result._obj.value = self.gpus[device.value][2]
            return 0

        def attribute(result: Any, number: int, device: ctypes.c_int) -> int:
            _, capability, _, integrated = self.gpus[device.value]
            known = {cuda_driver.MAJOR: capability[0], cuda_driver.MINOR: capability[1]}
            result._obj.value = {**known, cuda_driver.INTEGRATED: int(integrated)}[number]
            return 0

        return SimpleNamespace(
            cuInit=lambda flags: self.init,
            cuDriverGetVersion=write(self.cuda),
            cuDeviceGetCount=write(len(self.gpus)),
            cuDeviceGet=device_get,
            cuDeviceGetName=name,
            cuDeviceTotalMem_v2=memory,
            cuDeviceGetAttribute=attribute,
            cuDevicePrimaryCtxRetain=self.retain,
            cuDevicePrimaryCtxRelease_v2=self.release,
            cuCtxPushCurrent_v2=self.push,
            cuCtxPopCurrent_v2=self.pop,
            cuMemcpyHtoD_v2=self.copy,
            cuStreamSynchronize=self.wait,
        )


def install(patch: pytest.MonkeyPatch, driver: DriverDouble | None = None) -> CudaDouble:
    """Put a driver and the bindings in the place of the real ones until `patch` is undone."""
    double = CudaDouble()
    module = double.module()
    package, bindings = ModuleType("cuda"), ModuleType("cuda.bindings")
    package.bindings, bindings.runtime = bindings, module  # type: ignore[attr-defined]
    names = {"cuda": package, "cuda.bindings": bindings, "cuda.bindings.runtime": module}
    for name, held in names.items():
        patch.setitem(__import__("sys").modules, name, held)
    patch.setattr(cuda_driver, "load_library", (driver or DriverDouble()).library)
    patch.setattr(cuda_driver, "_release", lambda: "580.65.06")
    return double


def installed() -> Iterator[CudaDouble]:
    """Yield a double that is in place meanwhile; for fixtures."""
    with pytest.MonkeyPatch.context() as patch:
        yield install(patch)
