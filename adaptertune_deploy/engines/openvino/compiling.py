"""Compiling a model for the CPU; nothing else calls OpenVINO's own compile_model."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CPU = "CPU"


def compile_model(core: Any, model: Any, config: Mapping[str, str | int]) -> Any:
    """Compile a model in a thread that ends with it.

    OpenVINO gives the thread that compiles a stack for signal handlers, and takes it away with the model: models that
    close in another order leave the thread with one that is gone. The next signal then ends the process without a
    word, or is written over what lies there by then, another thread's stack say.

    Args:
        core: openvino.Core.
        model: openvino.Model.
        config: OpenVINO's properties, by name.

    Returns:
        openvino.CompiledModel.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(core.compile_model, model, CPU, config).result()
