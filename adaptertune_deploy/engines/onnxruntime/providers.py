"""ONNX Runtime's execution providers on NVIDIA GPUs: what each is told, and pairs of packages that don't work.

ONNX Runtime lists a provider that it can't load, and goes on without one that does not load, so whoever opens a session
compares what it got (engines.onnxruntime.session). Options: onnxruntime.ai/docs/execution-providers, for CUDA and
TensorRT.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import cache, files
from adaptertune_deploy.engines.cuda.driver import ask_driver, find_gpu
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.limits import Limits

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
LABELS = {CUDA: "CUDA", TENSORRT: "TensorRT"}
Options = dict[str, str]
PACKAGES = ("tensorrt-cu13", "tensorrt-cu12", "tensorrt")
# What TensorRT's provider builds for: symbol of a size -> least, usual, largest. Without these it would build again
# whenever a size comes that is larger than all before.
SPANS = {"N": (1, 8, 32), "B": (1, 8, 32), "T": (1, 8, 128), "r": (1, 8, 64)}
TENSORRT_LIMITS = Limits(max_rows=SPANS["B"][2], max_slots=SPANS["T"][2], max_rank=SPANS["r"][2])
# TensorRT 10 still chooses among types by itself in this provider: what it may choose besides float32.
ALLOWED: Mapping[Precision, Options] = {
    Precision.FP32: {},
    Precision.FP16: {"trt_fp16_enable": "1", "trt_layer_norm_fp32_fallback": "1"},
    Precision.BF16: {"trt_bf16_enable": "1", "trt_layer_norm_fp32_fallback": "1"},
    Precision.INT8_QDQ: {"trt_int8_enable": "1"},
}


def cuda_options(gpu: int, graphs: bool = False) -> Options:
    """Return what the CUDA provider is told; with `graphs` it captures runs, and refuses nodes that are not its own.

    Without use_tf32=0 a float32 graph runs at 10 bits of mantissa. Memory grows by what is asked for and not to the
    next power of two, and a run's workspace is given back when the session is closed.
    """
    options = {"device_id": str(gpu), "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    return {**options, "enable_cuda_graph": "1"} if graphs else options


def tensorrt_options(
    graph: bytes, inputs: Mapping[str, TensorInfo], precision: Precision, gpu: int, version: str
) -> Options:
    """Return what the TensorRT provider is told; its engines and timing caches are kept in the cache.

    The provider reads an engine whose name fits, so every folder is one graph's on one machine: an engine of another
    driver, GPU, ONNX Runtime or TensorRT lies in another one.

    Args:
        graph: the bytes of the ONNX file.
        inputs: what it takes.
        precision: what it computes in.
        gpu: index of the GPU.
        version: ONNX Runtime's.

    Raises:
        EngineError: a precision that the provider does not have, or no driver.
        UsageError: the cache can't be written.
    """
    if precision not in ALLOWED:
        raise EngineError(f"TensorRT has no operators for {precision}; take --precision {Precision.INT8_QDQ}")
    driver = ask_driver()
    found = find_gpu(driver, f"cuda:{gpu}")
    told = [version, tensorrt_version() or "", found.name, found.sm, driver.release, str(driver.cuda), str(precision)]
    name = files.sha256_bytes(json.dumps([files.sha256_bytes(graph), told, SPANS]).encode())[:32]
    folder: Path = cache.cache_folder("plans") / "onnxruntime" / name
    files.check_writable(folder, "ATD_CACHE", 2 * len(graph))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    return {"device_id": str(gpu), **kept, **ALLOWED[precision], **_profile(inputs)}


def _profile(inputs: Mapping[str, TensorInfo]) -> Options:
    """Return least, usual and largest shapes of every input, as the provider reads them: "name:1x3x224x224,..."."""
    unknown = {size for info in inputs.values() for size in info.shape if isinstance(size, str)} - SPANS.keys()
    if unknown:
        raise EngineError(f"the graph has a size '{min(unknown)}', expected {', '.join(SPANS)}; run atd export again")
    found = {}
    for place, kind in enumerate(("min", "opt", "max")):
        shapes = [
            f"{name}:{'x'.join(str(SPANS[size][place] if isinstance(size, str) else size) for size in info.shape)}"
            for name, info in inputs.items()
        ]
        found[f"trt_profile_{kind}_shapes"] = ",".join(shapes)
    return found


def check_tensorrt() -> None:
    """Refuse a TensorRT that ONNX Runtime's provider can't load, which it would leave out without an error.

    Raises:
        EngineError: names the version that is installed and what to install.
    """
    version = tensorrt_version()
    if version is not None and not version.startswith("10."):
        raise EngineError(
            f"TensorRT {version} is installed, and ONNX Runtime's TensorRT provider loads version 10: "
            "pip install 'tensorrt-cu13>=10.13.3,<11', or take --engine tensorrt, which runs on both"
        )


def tensorrt_version() -> str | None:
    """Return the version of the TensorRT package that is installed, None where there is none of pip's."""
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return None


def load_tensorrt(precision: Precision) -> None:
    """Make TensorRT's libraries loadable from where pip puts them, and float32 mean float32.

    TensorRT multiplies float32 in TF32, with 10 bits of mantissa; the provider has no option for that, NVIDIA's
    libraries have a variable, which they read when they are loaded.
    """
    if precision is Precision.FP32:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with contextlib.suppress(ImportError, OSError):  # a system's own TensorRT is found without
        importlib.import_module("tensorrt")
