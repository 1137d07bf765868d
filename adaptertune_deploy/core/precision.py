"""The number formats in which a graph computes, and how far each may take the answers from torch's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from adaptertune_deploy.core.errors import UsageError, did_you_mean


class Precision(str, Enum):
    """What a graph's matrix products take; its name is part of the graph's file name.

    INT8 measures the range of what it multiplies in every run (DynamicQuantizeLinear, MatMulInteger); INT8_QDQ has
    ranges that were measured on images before (QuantizeLinear, DequantizeLinear). No engine runs both well.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT8_QDQ = "int8-qdq"

    def __str__(self) -> str:
        """Return the name as files and options spell it, in every Python's formatting."""
        return str(self.value)

    @classmethod
    def of(cls, given: Any) -> Precision:
        """Return the precision that a caller of the Python API means, by its name or itself.

        Raises:
            UsageError: there is none of that name.
        """
        try:
            return cls(given)
        except ValueError:
            names = [precision.value for precision in cls]
            near = did_you_mean(str(given), names)
            raise UsageError(f"no precision '{given!s:.60}', only {', '.join(names)}.{near}") from None


@dataclass(frozen=True)
class Tolerance:
    """How far logits may lie from those of torch in float32.

    atol, rtol: no logit may differ by more than atol + rtol times the largest of torch's logits.
    mean: share of that which the mean difference may reach. Rounding spreads, so its mean lies far below its largest;
        a task's tensors in a wrong place shift every logit.
    """

    atol: float
    rtol: float
    mean: float

    def largest(self, logits: float) -> float:
        """Return the largest difference allowed where the largest of torch's logits has this size."""
        return self.atol + self.rtol * logits


# Rounding errors grow with the logits. Engines sum float32 in other orders, each in 24 bits of mantissa; float16 has 11
# bits, bfloat16 8. DeiT-Tiny with adapters on photographs, logits up to 7.3: largest and mean difference were 0.003 and
# 0.0003 in fp16, 0.08 and 0.01 in bf16, 0.34 and 0.04 in int8, 0.44 and 0.08 in int8-qdq. Allowed is about three times
# as much, so that another processor's rounding passes and another task's adapters do not. Adapters and heads of random
# numbers are the worst case: OpenVINO's bf16 took logits up to 12.2 away by 0.48 at most and 0.04 on average.
TOLERANCES: Mapping[Precision, Tolerance] = {
    Precision.FP32: Tolerance(1e-4, 5e-6, 1.0),
    Precision.FP16: Tolerance(2e-3, 2e-3, 0.25),
    Precision.BF16: Tolerance(2e-2, 6e-2, 0.2),
    Precision.INT8: Tolerance(5e-2, 0.15, 0.25),
    Precision.INT8_QDQ: Tolerance(5e-2, 0.2, 0.3),
}
