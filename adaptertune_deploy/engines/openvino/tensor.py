"""Arrays as OpenVINO's tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.openvino.library import ov

HALF = np.dtype(np.uint16)  # how bfloat16 is kept


def tensor_of(array: AnyArray) -> Any:
    """Return a tensor that shares an array's memory; uint16 holds bfloat16. One that can't be written to is copied."""
    whole = np.require(array, requirements=("C", "W"))
    if whole.dtype == HALF:
        return ov.Tensor(whole, ov.Shape(whole.shape), ov.Type.bf16)
    return ov.Tensor(whole, shared_memory=True)
