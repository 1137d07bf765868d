"""The NVIDIA driver and its GPUs, asked through libcuda itself before any other CUDA library is touched.

Without a driver TensorRT's runtime returns an object that ends the process with a segmentation fault when it is used,
so what is here comes first, and needs neither a CUDA library nor NVIDIA's Python bindings.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.options import gpu_index

LIBRARY = "libcuda.so.1"
RELEASE = Path("/proc/driver/nvidia/version")
MAJOR, MINOR, INTEGRATED = 75, 76, 18  # CUdevice_attribute
NO_DEVICE = 100
# CUresult of cuInit (cuda.h) -> what to do
HINTS = {
    802: "it is not ready yet, so wait; with NVSwitch start nvidia-fabricmanager",
    803: "its parts are of different versions, so reboot, which loads the kernel's part of the new one",
    804: "this GPU takes no forward-compatible CUDA, so remove the cuda-compat package or install a newer driver",
    999: "reboot, or load its module: sudo modprobe nvidia nvidia_uvm",
}


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    index: its number, N of "cuda:N".
    capability: of its streaming multiprocessors, (8, 7) for SM 8.7.
    memory: bytes; shared with the CPU where `integrated`.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory: int
    integrated: bool

    @property
    def sm(self) -> str:
        """The capability as NVIDIA writes it: "8.7"."""
        return ".".join(map(str, self.capability))


@dataclass(frozen=True)
class Driver:
    """The driver that runs.

    cuda: newest CUDA version that it runs, (13, 0) for example.
    release: its own version, "580.65.06"; "" where the system does not say.
    gpus: ascending by index; at least one.
    """

    cuda: tuple[int, int]
    release: str
    gpus: tuple[Gpu, ...]


def ask_driver() -> Driver:
    """Return what the driver says.

    Raises:
        EngineError: no driver, no GPU, or a driver that does not start; says what to do.
    """
    library = load_library()
    code = library.cuInit(0)
    if code:
        raise EngineError(_refusal(code))
    cuda = _integer(library.cuDriverGetVersion)
    count = _integer(library.cuDeviceGetCount)
    if not count:
        raise EngineError(_refusal(NO_DEVICE))
    gpus = tuple(_gpu(library, index) for index in range(count))
    return Driver((cuda // 1000, cuda % 1000 // 10), _release(), gpus)


def find_gpu(driver: Driver, device: str) -> Gpu:
    """Return the GPU that a device's name means.

    Args:
        driver: what the driver says.
        device: "auto" or "cuda" for the first one, or "cuda:N".

    Raises:
        EngineError: there is no such GPU.
    """
    index = gpu_index(device) or 0
    if index >= len(driver.gpus):
        held = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in driver.gpus)
        raise EngineError(f"no GPU {device} here, only {held}")
    return driver.gpus[index]


def load_library() -> Any:
    """Return libcuda.

    Raises:
        EngineError: there is none.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError:
        raise EngineError(
            f"no NVIDIA driver here ({LIBRARY} is not found): install the driver, in a container start it with "
            "--gpus all, or take --engine onnxruntime"
        ) from None


def _refusal(code: int) -> str:
    if code == NO_DEVICE:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = f"CUDA_VISIBLE_DEVICES is {hidden!r}; unset it" if hidden is not None else "look at: nvidia-smi"
        return f"the NVIDIA driver sees no GPU: {why}, or take --engine onnxruntime"
    hint = HINTS.get(code, "see nvidia-smi")
    return f"the NVIDIA driver does not start (CUDA error {code}): {hint}; or take --engine onnxruntime"


def _gpu(library: Any, index: int) -> Gpu:
    device = ctypes.c_int()
    call(library.cuDeviceGet, ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    call(library.cuDeviceGetName, name, len(name), device)
    memory = ctypes.c_size_t()
    call(library.cuDeviceTotalMem_v2, ctypes.byref(memory), device)

    def attribute(number: int) -> int:
        return _integer(library.cuDeviceGetAttribute, number, device)

    capability = attribute(MAJOR), attribute(MINOR)
    return Gpu(index, name.value.decode(errors="replace"), capability, memory.value, attribute(INTEGRATED) != 0)


def _integer(function: Any, *arguments: Any) -> int:
    """Return the int that a function of libcuda writes to its first argument."""
    value = ctypes.c_int()
    call(function, ctypes.byref(value), *arguments)
    return value.value


def call(function: Any, *arguments: Any) -> None:
    """Call a function of libcuda.

    Raises:
        EngineError: it failed.
    """
    code = function(*arguments)
    if code:
        raise EngineError(f"the NVIDIA driver fails at {getattr(function, '__name__', 'a call')} (CUDA error {code})")


def _release() -> str:
    try:
        found = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", RELEASE.read_text())
    except OSError:
        return ""
    return found[0] if found else ""
