"""FP32 tensors in binary form: little-endian float32, row by row."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.protocol.models import FP32_BYTES, Model


def unpack(data: bytes, count: int, model: Model) -> Array:
    """Return float32 [count, *dims], a view of the bytes.

    Raises:
        RequestError: another number of bytes, or values that are NaN or infinite.
    """
    expected = count * model.values * FP32_BYTES
    if len(data) != expected:
        raise RequestError(
            f"input byte size mismatch for input '{model.input}' for model '{model.name}'. Expected {expected}, got "
            f"{len(data)}"
        )
    return checked(np.frombuffer(data, "<f4").reshape(count, *model.dims), model)


def checked(values: Array, model: Model) -> Array:
    """Return values, or raise RequestError where one is NaN or infinite: no answer could come of it."""
    if not np.isfinite(values).all():
        raise RequestError(f"input '{model.input}' for model '{model.name}' holds values that are NaN or infinite")
    return values
