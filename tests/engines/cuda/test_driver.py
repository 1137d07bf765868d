"""engines.cuda.driver: what the driver says, and one line with the fix where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from adaptertune_deploy.engines.cuda.driver import Gpu, ask_driver, find_gpu
from tests.engines.cuda_double import DriverDouble

ORIN = ("Orin", (8, 7), 8 << 30, True)
H100 = ("NVIDIA H100", (9, 0), 80 << 30, False)


def use(patch: pytest.MonkeyPatch, driver: DriverDouble) -> None:
    patch.setattr(cuda_driver, "load_library", driver.library)


def test_driver_and_gpus_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(monkeypatch, DriverDouble(cuda=12060, gpus=(ORIN, H100)))
    release = tmp_path / "version"
    release.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n")
    monkeypatch.setattr(cuda_driver, "RELEASE", release)
    found = ask_driver()
    assert (found.cuda, found.release) == ((12, 6), "540.4.0")
    assert found.gpus == (Gpu(0, "Orin", (8, 7), 8 << 30, True), Gpu(1, "NVIDIA H100", (9, 0), 80 << 30, False))
    assert [gpu.sm for gpu in found.gpus] == ["8.7", "9.0"]
    monkeypatch.setattr(cuda_driver, "RELEASE", tmp_path / "absent")
    assert ask_driver().release == ""


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_a_name_means_a_gpu(monkeypatch: pytest.MonkeyPatch, device: str, index: int) -> None:
    use(monkeypatch, DriverDouble(gpus=(ORIN, H100)))
    assert find_gpu(ask_driver(), device).index == index


def test_a_gpu_that_is_not_there_is_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, DriverDouble(gpus=(ORIN,)))
    with pytest.raises(EngineError, match=r"^no GPU cuda:1 here, only cuda:0 \(Orin\)$"):
        find_gpu(ask_driver(), "cuda:1")


@pytest.mark.parametrize(
    ("driver", "visible", "message"),
    [
        (
            DriverDouble(init=100),
            None,
            "the NVIDIA driver sees no GPU: look at: nvidia-smi, or take --engine onnxruntime",
        ),
        (DriverDouble(gpus=()), "", "the NVIDIA driver sees no GPU: CUDA_VISIBLE_DEVICES is ''; unset it, or take "),
        (
            DriverDouble(init=999),
            None,
            "the NVIDIA driver does not start (CUDA error 999): reboot, or load its module: ",
        ),
        (DriverDouble(init=1), None, "the NVIDIA driver does not start (CUDA error 1): see nvidia-smi; or take "),
        (
            DriverDouble(init=803),
            None,
            "the NVIDIA driver does not start (CUDA error 803): its parts are of different ",
        ),
    ],
)
def test_a_driver_that_does_not_serve_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, driver: DriverDouble, visible: str | None, message: str
) -> None:
    use(monkeypatch, driver)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(EngineError) as caught:
        ask_driver()
    assert str(caught.value).startswith(message)


def test_without_a_driver_the_line_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(EngineError, match=r"^no NVIDIA driver here \(libcuda-that.* start it with --gpus all, or take"):
        ask_driver()


def test_a_call_that_fails_later_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library = DriverDouble().library()

    def cuDeviceGetName(*arguments: object) -> int:  # noqa: N802  libcuda's name
        return 101

    library.cuDeviceGetName = cuDeviceGetName
    monkeypatch.setattr(cuda_driver, "load_library", lambda: library)
    with pytest.raises(EngineError, match=r"^the NVIDIA driver fails at cuDeviceGetName \(CUDA error 101\)$"):
        ask_driver()
