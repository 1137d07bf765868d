"""The settings that ONNX Runtime has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OrtSettings:
    """What -E NAME=VALUE sets of the engine onnxruntime.

    provider: Execution provider that runs the graph; auto takes the one that goes with the device, which is never
        tensorrt.
    """

    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
