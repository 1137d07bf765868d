"""ONNX Runtime's Python package, imported here and nowhere else, and the exceptions that it raises."""

from __future__ import annotations

import os
from typing import Any

from adaptertune_deploy.core.errors import EngineError

# Since 1.29 ONNX Runtime's wheels for Linux and macOS report to their maker and keep an identifier in the home folder,
# unless this is set before they are imported; whoever wants the reports sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
try:
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
except ImportError as error:
    raise EngineError(
        f"ONNX Runtime can't be imported ({error}); install it with: pip install 'adaptertune-deploy[cpu]' "
        "(or [gpu] for an NVIDIA GPU)"
    ) from None

__all__ = ["FAILURES", "ort", "run_options"]

# ONNX Runtime's exceptions have no common base of their own.
FAILURES: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
)


def run_options(name: str, value: str) -> Any:
    """Return RunOptions with one configuration entry."""
    options = ort.RunOptions()
    options.add_run_config_entry(name, value)
    return options
