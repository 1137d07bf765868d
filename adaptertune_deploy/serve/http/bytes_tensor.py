"""BYTES tensors: each element is a uint32 little-endian length and that many bytes; in JSON, base64.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
The specification leaves JSON BYTES open (kserve/open-inference-protocol#12); images are no text, so it is base64.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable

import msgspec

from adaptertune_deploy.core.errors import RequestError

LENGTH = struct.Struct("<I")


def pack(elements: Iterable[bytes]) -> bytes:
    """Return elements in their binary form."""
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)


def unpack(data: bytes, count: int, name: str, model: str) -> tuple[bytes, ...]:
    """Return exactly `count` elements.

    Raises:
        RequestError: fewer or more elements, or bytes left over; names the input and the model.
    """
    elements: list[bytes] = []
    place = 0
    while place < len(data):
        if len(elements) == count:
            raise RequestError(
                f"expected {count} string elements for inference input '{name}' for model '{model}', got more"
            )
        left = len(data) - place
        if left < LENGTH.size:
            raise RequestError(
                f"incomplete string length for inference input '{name}', expecting {LENGTH.size} bytes but only {left} "
                "bytes available"
            )
        (length,) = LENGTH.unpack_from(data, place)
        place += LENGTH.size
        if length > len(data) - place:
            raise RequestError(
                f"incomplete string data for inference input '{name}', expecting string of length {length} but only "
                f"{len(data) - place} bytes available"
            )
        elements.append(data[place : place + length])
        place += length
    _check_count(len(elements), count, name, model)
    return tuple(elements)


def from_json(data: msgspec.Raw, count: int, name: str, model: str) -> tuple[bytes, ...]:
    """Return exactly `count` elements of a JSON array of base64 strings, or of arrays of one such string each.

    Args:
        data: the array as it is written.
        count: elements that the tensor's shape [count, 1] says.
        name: of the input.
        model: the model's name, for messages.

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
                f"expected {count} string elements for inference input '{name}' for model '{model}', got others"
            ) from None
        raise RequestError(
            f"'data' of inference input '{name}' must hold encoded images as base64 strings; URLs are not accepted"
        ) from None


# A decoder for an array of just so many elements stops at the first one too many.


@functools.lru_cache(256)
def _flat(count: int) -> msgspec.json.Decoder[tuple[bytes, ...]]:
    return msgspec.json.Decoder(tuple[(bytes,) * count])  # type: ignore[misc]


@functools.lru_cache(256)
def _rows(count: int) -> msgspec.json.Decoder[tuple[tuple[bytes], ...]]:
    return msgspec.json.Decoder(tuple[(tuple[bytes],) * count])  # type: ignore[misc]


def _check_count(found: int, expected: int, name: str, model: str) -> None:
    if found != expected:
        raise RequestError(
            f"expected {expected} string elements for inference input '{name}' for model '{model}', got {found}"
        )
