"""Device memory, pinned host memory, streams and CUDA graphs through NVIDIA's own Python bindings (cuda-bindings).

They are 13 MB where torch's CUDA build is 3 GB. Imported when a GPU is used, after the driver was asked
(engines.cuda.driver). Every function returns (error, value...); `done` turns that into the value or an EngineError.
Reference: nvidia.github.io/cuda-python/cuda-bindings.
"""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import AnyArray

INSUFFICIENT_DRIVER, OUT_OF_MEMORY = 35, 2
NON_BLOCKING = 1  # cudaStreamNonBlocking: no waiting for the default stream


def runtime() -> Any:
    """Return the module cuda.bindings.runtime.

    Raises:
        EngineError: it is not installed.
    """
    try:
        from cuda.bindings import runtime as module
    except ImportError as error:
        raise EngineError(
            f"NVIDIA's CUDA bindings can't be imported ({error}); install them in the driver's major version, "
            "for CUDA 13: pip install 'cuda-bindings>=13,<14', for CUDA 12: pip install 'cuda-bindings>=12.8,<13'"
        ) from None
    return module


def done(result: tuple[Any, ...], what: str) -> Any:
    """Return the value, or tuple of values, of a call's (error, value...).

    Args:
        result: what the function returned.
        what: what was tried, for the message.

    Raises:
        EngineError: the call failed.
    """
    error, *values = result
    code = int(error)
    if code:
        raise EngineError(f"{what}: {_reason(code, error)}")
    return values[0] if len(values) == 1 else tuple(values)


def _reason(code: int, error: Any) -> str:
    if code == OUT_OF_MEMORY:
        return "the GPU is out of memory; lower --max-batch or -E max_rows, or serve fewer tasks"
    if code == INSUFFICIENT_DRIVER:
        return (
            "the NVIDIA driver is too old for these CUDA bindings; update the driver, or take those of its own major "
            "version: pip install 'cuda-bindings>=12.8,<13'"
        )
    _, text = runtime().cudaGetErrorString(error)
    words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return f"{words} (CUDA error {code})"


def use_device(index: int) -> None:
    """Make a GPU the calling thread's; every thread has to ask for itself.

    Raises:
        EngineError: the GPU can't be used.
    """
    done(runtime().cudaSetDevice(index), f"using cuda:{index}")


class DeviceMemory:
    """Zeroed bytes on the GPU that is in use; freed with this object.

    Args:
        size: bytes.

    Raises:
        EngineError: no memory.
    """

    def __init__(self, size: int) -> None:
        cuda = runtime()
        self.size = size
        self.address = int(done(cuda.cudaMalloc(max(1, size)), f"allocating {size:,} bytes on the GPU"))
        self._free = weakref.finalize(self, cuda.cudaFree, self.address)
        # On a stream of its own, and waited for: other streams would not wait for the default one.
        stream = Stream()
        done(cuda.cudaMemsetAsync(self.address, 0, max(1, size), stream.handle), "clearing memory of the GPU")
        stream.wait()

    def close(self) -> None:
        """Free the memory now."""
        self._free()


class PinnedArray:
    """An array in host memory that the GPU copies from and to without a detour; freed with this object.

    Args:
        shape: of the array, zeros at first.
        dtype: of the array.

    Raises:
        EngineError: no memory.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        cuda = runtime()
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.address = int(done(cuda.cudaMallocHost(max(1, size)), f"pinning {size:,} bytes of host memory"))
        self._free = weakref.finalize(self, cuda.cudaFreeHost, self.address)
        memory = (ctypes.c_uint8 * size).from_address(self.address)
        self.array: AnyArray = np.frombuffer(memoryview(memory).cast("B"), dtype=dtype).reshape(shape)
        self.array[...] = 0

    def close(self) -> None:
        """Free the memory now; `array` must not be touched any more."""
        self._free()


class Stream:
    """An order of work for the GPU; closed with this object."""

    def __init__(self) -> None:
        cuda = runtime()
        stream = done(cuda.cudaStreamCreateWithFlags(NON_BLOCKING), "making a CUDA stream")
        self.handle = int(stream)
        self._close = weakref.finalize(self, cuda.cudaStreamDestroy, stream)

    def to_device(self, target: int, source: int, size: int) -> None:
        """Copy bytes from host memory when it is this stream's turn; see Stream.wait."""
        self._copy(target, source, size, "cudaMemcpyHostToDevice")

    def to_host(self, target: int, source: int, size: int) -> None:
        """Copy bytes to host memory when it is this stream's turn; see Stream.wait."""
        self._copy(target, source, size, "cudaMemcpyDeviceToHost")

    def wait(self) -> None:
        """Return when all that was given to the stream is done.

        Raises:
            EngineError: some of it failed.
        """
        done(runtime().cudaStreamSynchronize(self.handle), "running on the GPU")

    def capture(self, work: Callable[[], None]) -> Graph:
        """Return what `work` gives to this stream as a graph; nothing of it is run.

        Raises:
            EngineError: something in it can't be captured.
        """
        cuda = runtime()
        with _capturing(cuda, self.handle) as captured:
            work()
        graph = captured[0]
        try:
            program = done(cuda.cudaGraphInstantiate(graph, 0), "making a CUDA graph")
        finally:
            cuda.cudaGraphDestroy(graph)
        return Graph(program, self.handle)

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        cuda = runtime()
        done(cuda.cudaMemcpyAsync(target, source, size, getattr(cuda.cudaMemcpyKind, kind), self.handle), "copying")


class Graph:
    """Work for a stream that is launched in one call; closed with this object."""

    def __init__(self, program: Any, stream: int) -> None:
        self._program, self._stream = program, stream
        self._close = weakref.finalize(self, runtime().cudaGraphExecDestroy, program)

    def launch(self) -> None:
        """Give the work to its stream.

        Raises:
            EngineError: the GPU refuses it.
        """
        done(runtime().cudaGraphLaunch(self._program, self._stream), "launching a CUDA graph")


@contextlib.contextmanager
def _capturing(cuda: Any, stream: int) -> Iterator[list[Any]]:
    """Capture what the block gives to the stream, into the list; a failure leaves the stream as it was."""
    captured: list[Any] = []
    mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    done(cuda.cudaStreamBeginCapture(stream, mode), "capturing a CUDA graph")
    try:
        yield captured
    except BaseException:
        _, graph = cuda.cudaStreamEndCapture(stream)
        if graph is not None:
            cuda.cudaGraphDestroy(graph)
        raise
    captured.append(done(cuda.cudaStreamEndCapture(stream), "capturing a CUDA graph"))
