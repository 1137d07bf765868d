"""Tensors in JSON, flat or nested: FP32 as numbers, BYTES as base64.

The specification leaves JSON BYTES open (kserve/open-inference-protocol#12); images are no text, so it is base64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.protocol.float_tensor import checked
from adaptertune_deploy.serve.protocol.inference import Images
from adaptertune_deploy.serve.protocol.models import BYTES, FP32, Model


def elements(data: msgspec.Raw, count: int, model: Model) -> tuple[bytes, ...]:
    """Return exactly `count` elements of a JSON array of base64 strings, or of arrays of one such string each.

    Args:
        data: the array as it is written.
        count: elements that the tensor's shape [count, 1] says.
        model: which is asked, for messages.

    Raises:
        RequestError: another count, or an element that is no base64 string.
    """
    try:
        return _flat(count).decode(data)
    except msgspec.ValidationError as error:
        faults = [str(error)]
    try:
        return tuple(element for (element,) in _rows(count).decode(data))
    except msgspec.ValidationError as error:
        if f"Expected `array` of length {count}" in (*faults, str(error)):
            raise RequestError(
                f"expected {count} string elements for inference input '{model.input}' for model '{model.name}', got "
                "others"
            ) from None
        raise RequestError(
            f"'data' of inference input '{model.input}' must hold encoded images as base64 strings; URLs are not "
            "accepted"
        ) from None


def numbers(data: msgspec.Raw, count: int, model: Model) -> Array:
    """Return float32 [count, *dims] of a JSON array of numbers, flat or nested as the shape says.

    Raises:
        RequestError: another count, an element that is no number, or one too large for float32.
    """
    shape = (count, *model.dims)
    try:
        found = _nested(1).decode(data)
    except msgspec.ValidationError:
        found = _decode_nested(data, model)
    try:
        with np.errstate(over="ignore"):
            values = np.array(found, dtype=np.float32)
    except ValueError:  # arrays of different lengths side by side
        values = np.empty(0, dtype=np.float32)
    if values.shape not in (shape, (int(np.prod(shape)),)):
        raise RequestError(
            f"'data' of inference input '{model.input}' for model '{model.name}' does not hold the "
            f"{count * model.values} values of its shape"
        )
    return checked(values.reshape(shape), model)


READ: dict[str, Callable[[msgspec.Raw, int, Model], Images]] = {BYTES: elements, FP32: numbers}


def _decode_nested(data: msgspec.Raw, model: Model) -> Any:
    try:
        return _nested(1 + len(model.dims)).decode(data)
    except msgspec.ValidationError:
        raise RequestError(
            f"'data' of inference input '{model.input}' must hold numbers, flat or nested as its shape says"
        ) from None


# A decoder for an array of just so many elements stops at the first one too many.


@functools.lru_cache(256)
def _flat(count: int) -> msgspec.json.Decoder[tuple[bytes, ...]]:
    return msgspec.json.Decoder(tuple[(bytes,) * count])  # type: ignore[misc]


@functools.lru_cache(256)
def _rows(count: int) -> msgspec.json.Decoder[tuple[tuple[bytes], ...]]:
    return msgspec.json.Decoder(tuple[(tuple[bytes],) * count])  # type: ignore[misc]


@functools.lru_cache(16)
def _nested(depth: int) -> msgspec.json.Decoder[Any]:
    kind: Any = float
    for _ in range(depth):
        kind = list[kind]
    return msgspec.json.Decoder(kind)
