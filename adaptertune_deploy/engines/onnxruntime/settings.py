"""The settings that ONNX Runtime has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OrtSettings:
    """What -E NAME=VALUE sets of the engine onnxruntime.

    provider: Execution provider that runs the graph; auto takes the one that goes with the device, which is never
        tensorrt.
    cuda_graphs: Whether the CUDA provider captures runs; they then come in steps of rows, powers of two.
    max_rows: Rows of one such run at most, and images too.
    """

    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    cuda_graphs: bool = False
    max_rows: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.max_rows <= 1024:
            raise ValueError(f"max_rows={self.max_rows}: expected 1 to 1024")
