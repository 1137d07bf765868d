"""BYTES tensors: each element is a uint32 little-endian length and that many bytes; in JSON, base64.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
The specification leaves JSON BYTES open (kserve/open-inference-protocol#12); images are no text, so it is base64.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Iterator
from typing import Any

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


def from_json(data: Any, count: int, name: str, model: str) -> tuple[bytes, ...]:
    """Return exactly `count` elements of a flat or nested JSON array of base64 strings.

    Raises:
        RequestError: another count, or an element that is no base64 string.
    """
    if not isinstance(data, list):
        raise RequestError(f"'data' of inference input '{name}' must be an array of base64 strings")
    strings = list(_flat(data))
    _check_count(len(strings), count, name, model)
    return tuple(_decode(element, name) for element in strings)


def _flat(data: list[Any]) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _decode(element: Any, name: str) -> bytes:
    fault = f"'data' of inference input '{name}' must hold encoded images as base64 strings; URLs are not accepted"
    if not isinstance(element, str):
        raise RequestError(fault)
    try:
        return base64.b64decode(element, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(fault) from None


def _check_count(found: int, expected: int, name: str, model: str) -> None:
    if found != expected:
        raise RequestError(
            f"expected {expected} string elements for inference input '{name}' for model '{model}', got {found}"
        )
