"""engines.onnxruntime.providers: what ONNX Runtime's providers are told, in words that its documents know."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnxruntime import providers as ort_providers
from adaptertune_deploy.engines.onnxruntime.providers import cuda_options, tensorrt_options
from tests.engines import cuda_double
from tests.engines.cuda_double import DriverDouble

FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)
INPUTS = {
    "images": TensorInfo("images", FLOAT, ("N", 3, 8, 8)),
    "task": TensorInfo("task", INT, ("B",)),
    "down": TensorInfo("down", FLOAT, ("T", 4, "r")),
}
# Options of the providers in onnxruntime-gpu 1.31.1, read from its libraries.
KNOWN = frozenset(
    [
        "device_id",
        "trt_fp16_enable",
        "trt_bf16_enable",
        "trt_int8_enable",
        "trt_engine_cache_enable",
        "trt_engine_cache_path",
        "trt_timing_cache_enable",
        "trt_timing_cache_path",
        "trt_profile_min_shapes",
        "trt_profile_opt_shapes",
        "trt_profile_max_shapes",
        "trt_layer_norm_fp32_fallback",
        "arena_extend_strategy",
        "use_tf32",
    ]
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    monkeypatch.setattr(ort_providers, "tensorrt_version", lambda: "10.13.3.9")
    cuda_double.install(monkeypatch)
    return tmp_path / "plans" / "onnxruntime"


def told(graph: bytes = b"graph", precision: Precision = Precision.FP32, version: str = "1.31.1") -> dict[str, str]:
    return tensorrt_options(graph, INPUTS, precision, 0, version)


def test_float32_is_no_tf32_on_cuda() -> None:
    assert cuda_options(2) == {"device_id": "2", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}


@pytest.mark.parametrize("precision", ort_providers.ALLOWED)
def test_every_option_is_one_that_the_provider_has(precision: Precision) -> None:
    options = told(precision=precision)
    assert {*options, *cuda_options(0)} <= KNOWN
    wanted = {
        Precision.FP16: "trt_fp16_enable",
        Precision.BF16: "trt_bf16_enable",
        Precision.INT8_QDQ: "trt_int8_enable",
    }
    enabled = {name for name in wanted.values() if options.get(name) == "1"}
    assert enabled == {wanted[precision]} if precision in wanted else not enabled


def test_engines_are_built_once_for_all_shapes() -> None:
    options = told()
    assert options["trt_profile_min_shapes"] == "images:1x3x8x8,task:1,down:1x4x1"
    assert options["trt_profile_opt_shapes"] == "images:8x3x8x8,task:8,down:8x4x8"
    assert options["trt_profile_max_shapes"] == "images:32x3x8x8,task:32,down:128x4x64"
    limits = ort_providers.TENSORRT_LIMITS
    assert (limits.max_rows, limits.max_slots, limits.max_rank) == (32, 128, 64)


def test_another_graph_or_machine_has_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider itself reads whatever lies in its folder."""
    paths = [told()["trt_engine_cache_path"], told(b"other")["trt_engine_cache_path"]]
    paths += [told(precision=Precision.FP16)["trt_engine_cache_path"], told(version="1.32.0")["trt_engine_cache_path"]]
    other = DriverDouble(gpus=(("B", (9, 0), 1 << 30, False),))
    for change in (
        lambda: monkeypatch.setattr(cuda_driver, "_release", lambda: "999.1"),
        lambda: monkeypatch.setattr(cuda_driver, "load_library", DriverDouble(cuda=13010).library),
        lambda: monkeypatch.setattr(cuda_driver, "load_library", other.library),
        lambda: monkeypatch.setattr(ort_providers, "tensorrt_version", lambda: "10.14.1"),
    ):
        change()
        paths.append(told()["trt_engine_cache_path"])
    assert len({*paths}) == len(paths)
    assert {Path(path) for path in paths} == {*folder.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    assert told()["trt_engine_cache_path"] == told()["trt_timing_cache_path"] == paths[-1]


def test_a_precision_without_operators_is_refused() -> None:
    with pytest.raises(EngineError, match="TensorRT has no operators for int8; take --precision int8-qdq"):
        told(precision=Precision.INT8)


@pytest.mark.parametrize("version", ["11.0.0.114", "9.3.0"])
def test_only_tensorrt_10_goes_with_the_provider(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(ort_providers, "tensorrt_version", lambda: version)
    with pytest.raises(EngineError, match=rf"^TensorRT {version} is installed, .*'tensorrt-cu13>=10.13.3,<11', or "):
        ort_providers.check_tensorrt()


@pytest.mark.parametrize("version", ["10.13.3.9", None])
def test_a_fitting_or_a_systems_own_tensorrt_is_left_to_the_session(
    monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.setattr(ort_providers, "tensorrt_version", lambda: version)
    ort_providers.check_tensorrt()


def test_the_version_is_that_of_the_package_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def version(package: str) -> str:
        if package != "tensorrt-cu12":
            raise importlib.metadata.PackageNotFoundError(package)
        return "10.9.0.34"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert ort_providers.tensorrt_version() == "10.9.0.34"
    monkeypatch.setattr(ort_providers, "PACKAGES", ())
    assert ort_providers.tensorrt_version() is None


def test_only_float32_forbids_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[Any] = []
    monkeypatch.setattr(ort_providers.importlib, "import_module", imported.append)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    ort_providers.load_tensorrt(Precision.FP16)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    ort_providers.load_tensorrt(Precision.FP32)
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert imported == ["tensorrt", "tensorrt"]


def test_a_size_that_no_graph_of_ours_has_is_refused() -> None:
    inputs = {"images": TensorInfo("images", FLOAT, ("batch", 3, 8, 8))}
    with pytest.raises(EngineError, match="the graph has a size 'batch', expected N, B, T, r; run atd export again"):
        tensorrt_options(b"graph", inputs, Precision.FP32, 0, "1.31.1")
