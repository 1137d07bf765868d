"""The settings that OpenVINO has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OpenVinoSettings:
    """What -E NAME=VALUE sets of the engine openvino.

    hint: What to be quick at: latency gives every run all threads, throughput several runs at once some each.
    streams: Runs at the same time; 0 lets the hint choose.
    rest: What all but the products of a graph in int8 computes in.
    """

    hint: Literal["latency", "throughput"] = "latency"
    streams: int = 0
    rest: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.streams < 0:
            raise ValueError(f"streams={self.streams}: expected 0 (the hint chooses) or more")
