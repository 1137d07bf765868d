"""The probe of the driver, against a libcuda of our own: there is no driver where the tests run."""

from __future__ import annotations

import ctypes
import json

import pytest

from adaptertune_deploy.doctor.probes import driver


class Library:
    """Answers as libcuda does: through pointers, and with a code."""

    def __init__(self, code: int = 0, devices: int = 1) -> None:
        self.code, self.devices = code, devices

    def cuInit(self, flags: int) -> int:  # noqa: N802  the driver's own names
        assert flags == 0
        return self.code

    def cuDriverGetVersion(self, at: ctypes._Pointer[ctypes.c_int]) -> None:  # noqa: N802
        _set(at, 12080)

    def cuDeviceGetCount(self, at: object) -> None:  # noqa: N802
        _set(at, self.devices)

    def cuDeviceGet(self, at: object, place: int) -> None:  # noqa: N802
        _set(at, 40 + place)

    def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], size: int, device: ctypes.c_int) -> None:  # noqa: N802
        assert size == 256
        name.value = f"GPU of handle {device.value}".encode()

    def cuDeviceTotalMem_v2(self, at: object, device: ctypes.c_int) -> None:  # noqa: N802
        _set(at, device.value * 10**9, ctypes.c_size_t)

    def cuDeviceGetAttribute(self, at: object, attribute: int, device: ctypes.c_int) -> None:  # noqa: N802
        _set(at, {75: 8, 76: 7}[attribute])


def _set(at: object, value: int, kind: type = ctypes.c_int) -> None:
    ctypes.cast(at, ctypes.POINTER(kind))[0] = value  # type: ignore[arg-type]


def test_what_a_driver_says() -> None:
    assert driver.ask_driver(Library(devices=2)) == {
        "cuda": [12, 8],
        "devices": [
            {"name": "GPU of handle 40", "capability": "8.7", "bytes": 40 * 10**9},
            {"name": "GPU of handle 41", "capability": "8.7", "bytes": 41 * 10**9},
        ],
    }
    assert driver.ask_driver(Library(code=100)) == {"failed": 100}


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libno-such-library.so.1")
    driver.main()
    assert "libno-such-library.so.1" in json.loads(capsys.readouterr().out)["refused"]
