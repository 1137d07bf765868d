"""bfloat16, which numpy does not have: the upper half of a float32, kept as uint16."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Halves = npt.NDArray[np.uint16]


def to_bfloat16(values: npt.NDArray[np.float32]) -> Halves:
    """Return float32 values rounded to the nearest bfloat16, ties to even; what is not finite is undefined."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    last = (bits >> np.uint32(16)) & np.uint32(1)  # of the bits that stay
    halves: Halves = ((bits + np.uint32(0x7FFF) + last) >> np.uint32(16)).astype(np.uint16)
    return halves


def to_float32(halves: Halves) -> npt.NDArray[np.float32]:
    """Return bfloat16 values as float32, exactly."""
    values: npt.NDArray[np.float32] = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values
