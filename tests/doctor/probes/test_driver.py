"""The probe of the driver, over a double of libcuda: there is no driver where the tests run."""

from __future__ import annotations

import json

import pytest

from adaptertune_deploy.doctor.probes import driver
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from tests.engines.cuda_double import DriverDouble


def test_what_a_driver_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cuda_driver, "load_library", DriverDouble(cuda=12060).library)
    driver.main()
    assert json.loads(capsys.readouterr().out) == {
        "cuda": [12, 6],
        "devices": [{"name": "NVIDIA Double", "capability": "8.6", "bytes": 24 << 30}],
    }


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libno-such-library.so.1")
    driver.main()
    assert "libno-such-library.so.1" in json.loads(capsys.readouterr().out)["refused"]
