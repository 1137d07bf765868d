"""The number format in which a graph computes."""

from __future__ import annotations

from enum import Enum


class Precision(str, Enum):
    """What a graph's matrix products take; its name is part of the graph's file name."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"

    def __str__(self) -> str:
        """Return the name as files and options spell it, in every Python's formatting."""
        return str(self.value)
