"""Ask the NVIDIA driver itself, by ctypes: whether it starts, which CUDA it runs, which devices it sees.

    python -m adaptertune_deploy.doctor.probes.driver

Functions and their codes: docs.nvidia.com/cuda/cuda-driver-api.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

LIBRARY = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


def ask_driver(library: Any) -> dict[str, Any]:
    """Return {"cuda": [major, minor], "devices": [{"name", "capability", "bytes"}]}, or {"failed": code of cuInit}.

    Args:
        library: libcuda as ctypes opens it.
    """
    code = library.cuInit(0)
    if code != 0:
        return {"failed": code}
    number = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(number))
    cuda = [number.value // 1000, number.value % 1000 // 10]
    library.cuDeviceGetCount(ctypes.byref(number))
    return {"cuda": cuda, "devices": [_device(library, place) for place in range(number.value)]}


def _device(library: Any, place: int) -> dict[str, Any]:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    size = ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), place)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    library.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    return {
        "name": name.value.decode(errors="replace"),
        "capability": f"{major.value}.{minor.value}",
        "bytes": size.value,
    }


def main() -> None:
    """Print what the driver says, or why it can't be asked."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        print(json.dumps({"refused": str(error)}))
        return
    print(json.dumps(ask_driver(library)))


if __name__ == "__main__":
    main()
