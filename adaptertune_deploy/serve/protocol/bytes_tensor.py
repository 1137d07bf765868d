"""BYTES tensors in binary form: each element is a uint32 little-endian length and that many bytes.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.models import Model

LENGTH = struct.Struct("<I")


def pack(elements: Iterable[bytes]) -> bytes:
    """Return elements in their binary form."""
    return b"".join(LENGTH.pack(len(element)) + element for element in elements)


def unpack(data: bytes, count: int, model: Model) -> tuple[bytes, ...]:
    """Return exactly `count` elements.

    Raises:
        RequestError: fewer or more elements, or bytes left over; names the input and the model.
    """
    elements: list[bytes] = []
    where, whose = f"for inference input '{model.input}'", f"for model '{model.name}'"
    place = 0
    while place < len(data):
        if len(elements) == count:
            raise RequestError(f"expected {count} string elements {where} {whose}, got more")
        left = len(data) - place
        if left < LENGTH.size:
            raise RequestError(
                f"incomplete string length {where}, expecting {LENGTH.size} bytes but only {left} bytes available"
            )
        (length,) = LENGTH.unpack_from(data, place)
        place += LENGTH.size
        if length > len(data) - place:
            raise RequestError(
                f"incomplete string data {where}, expecting string of length {length} but only "
                f"{len(data) - place} bytes available"
            )
        elements.append(data[place : place + length])
        place += length
    if len(elements) != count:
        raise RequestError(f"expected {count} string elements {where} {whose}, got {len(elements)}")
    return tuple(elements)
