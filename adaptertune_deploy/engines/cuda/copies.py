"""Copies from host memory into memory of a GPU that another library owns, through the driver alone.

ONNX Runtime hands out addresses of its device memory and overwrites whole tensors only; a part of one is written here.
libcuda is there wherever such memory is, so no CUDA library and no binding of Python's has to be installed.
Functions: docs.nvidia.com/cuda/cuda-driver-api.
"""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from collections.abc import Iterable, Iterator

from adaptertune_deploy.engines.cuda import driver
from adaptertune_deploy.engines.engine import AnyArray


class DeviceCopies:
    """Writes to the memory of one GPU, in its primary context, which is the one of every CUDA runtime.

    Args:
        gpu: its index.

    Raises:
        EngineError: no driver, or no such GPU.
    """

    def __init__(self, gpu: int) -> None:
        self._library = driver.load_library()
        driver.call(self._library.cuInit, 0)
        device = ctypes.c_int()
        driver.call(self._library.cuDeviceGet, ctypes.byref(device), gpu)
        self._context = ctypes.c_void_p()
        driver.call(self._library.cuDevicePrimaryCtxRetain, ctypes.byref(self._context), device)
        self._release = weakref.finalize(self, self._library.cuDevicePrimaryCtxRelease_v2, device)

    def write(self, parts: Iterable[tuple[int, AnyArray]]) -> None:
        """Copy arrays to addresses, and return when all of them are there.

        Args:
            parts: address on the GPU, and a contiguous array for it.

        Raises:
            EngineError: the GPU refuses a copy.
        """
        with self._current():
            for address, array in parts:
                source = ctypes.c_void_p(array.ctypes.data)
                driver.call(
                    self._library.cuMemcpyHtoD_v2, ctypes.c_uint64(address), source, ctypes.c_size_t(array.nbytes)
                )
            # A copy from memory that is not pinned returns when it is read, which is before it has arrived.
            driver.call(self._library.cuStreamSynchronize, None)

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        """Make the context this thread's, and the one before again."""
        driver.call(self._library.cuCtxPushCurrent_v2, self._context)
        try:
            yield
        finally:
            driver.call(self._library.cuCtxPopCurrent_v2, ctypes.byref(ctypes.c_void_p()))
