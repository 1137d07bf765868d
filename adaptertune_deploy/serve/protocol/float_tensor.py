"""FP32 tensors in binary form: little-endian float32, row by row."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.protocol.models import FP32_BYTES, Model

# A backbone that gets larger ones overflows, which looks like a broken engine. Pixels are in units of a deviation that
# is a small part of the range from black to white: real ones are below 10, and below 256 where nothing is normalised.
LARGEST = 10_000


def unpack(data: bytes, count: int, model: Model) -> Array:
    """Return float32 [count, *dims], a view of the bytes.

    Raises:
        RequestError: another number of bytes, or values that no pixel has.
    """
    expected = count * model.values * FP32_BYTES
    if len(data) != expected:
        raise RequestError(
            f"input byte size mismatch for input '{model.input}' for model '{model.name}'. Expected {expected}, got "
            f"{len(data)}"
        )
    return checked(np.frombuffer(data, "<f4").reshape(count, *model.dims), model)


def checked(values: Array, model: Model) -> Array:
    """Return values, or raise RequestError where one is NaN, infinite or no pixel: no answer could come of it."""
    if not -LARGEST <= values.min() <= values.max() <= LARGEST:  # false where one is NaN
        raise RequestError(
            f"input '{model.input}' for model '{model.name}' holds values that are NaN or infinite, or beyond "
            f"{LARGEST:,}, which no normalised image reaches; send pixels as the model's preprocessing makes them"
        )
    return values
