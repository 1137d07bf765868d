"""The settings that OpenVINO has of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OpenVinoSettings:
    """What -E NAME=VALUE sets of the engine openvino.

    hint: With latency one run has all threads, with throughput several runs at once have some threads each.
    streams: Runs at the same time; 0 lets the hint choose.
    rest: What operators other than the products of a graph in int8 compute in.
    """

    hint: Literal["latency", "throughput"] = "latency"
    streams: int = 0
    rest: Literal["fp32", "bf16"] = "fp32"

    def __post_init__(self) -> None:
        if self.streams < 0:
            raise ValueError(f"streams={self.streams}: expected 0 (the hint chooses) or more")
