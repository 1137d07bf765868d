"""What a message may hold, looked at where it lies: parsing one holds the whole server, and takes all of its memory.

Two bytes are an empty input, and an object of a hundred bytes once they are parsed: 20 MB of them took a gigabyte and
stopped both wires for seconds. So fields are counted on the wire first, no further than to the limit; what has a length
is skipped, so a request with large images is looked at in microseconds.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.fields import MAX_SMALL, MAX_VALUES

MAX_FIELDS = 4096  # of a message: what a right one has, hundreds of times over
MAX_SHORT = 65_536  # bytes of a message that holds neither images nor files
TENSORS, RAW = ("inputs", "outputs"), "raw_input_contents"
VARINT, FIXED, LENGTH = 0, {1: 8, 3: 0, 4: 0, 5: 4}, 2  # wire types; of those of a fixed size their bytes
MAX_VARINT = 10  # bytes
FLOAT = b"\x35"  # the tag of one float of fp32_contents that is not packed with others
FLOAT_STEP = 5  # bytes of one, with its tag


@dataclass
class _Budget:
    """How many more fields are taken.

    left: as many.
    refusal: says why there may be no further one.
    """

    left: int
    refusal: str

    def spend(self) -> None:
        """Count one; RequestError (400) where it is one too many."""
        self.left -= 1
        if self.left < 0:
            raise RequestError(self.refusal)


def check_short(data: bytes) -> None:
    """Refuse a large message of a method that needs none.

    Raises:
        RequestError: 413.
    """
    if len(data) > MAX_SHORT:
        raise RequestError(f"the message has {len(data):,} bytes, expected at most {MAX_SHORT:,} for this method", 413)


def check_fields(data: bytes) -> None:
    """Refuse a message of too many fields, however long each is.

    Raises:
        RequestError: 400.
        DecodeError: it is no message.
    """
    for _ in _fields(data, 0, len(data), _most_fields()):
        pass


def check_infer(data: bytes) -> None:
    """Refuse a ModelInferRequest that would take long to parse, or much memory.

    Args:
        data: which may hold large tensors, raw or in `contents`.

    Raises:
        RequestError: 400 for too many fields or values, for names, a shape or parameters that are large, for large
            contents of a type that no model here takes.
        DecodeError: it is no message.
    """
    kind = message("ModelInferRequest").DESCRIPTOR
    values = _Budget(
        MAX_VALUES, f"the request's 'contents' hold more than {MAX_VALUES:,} values; send 'raw_input_contents'"
    )
    _check_part(data, (0, len(data)), kind, _most_fields(), values)


def _check_part(data: bytes, part: tuple[int, int], kind: Any, fields: _Budget, values: _Budget) -> None:
    """Check a request, an input or an output; `kind` is its message's descriptor."""
    known: Mapping[int, Any] = kind.fields_by_number
    small: Counter[str] = Counter()
    for number, start, end in _fields(data, *part, fields):
        field = known.get(number)
        if field is None or field.name == RAW:
            continue
        if field.name in TENSORS:
            _check_part(data, (start, end), field.message_type, fields, values)
        elif field.name == "contents":
            _check_contents(data, start, end, field.message_type, values)
        else:
            small[field.name] += end - start
            _check_small(field.name, small[field.name])


def _check_small(name: str, size: int) -> None:
    if size > MAX_SMALL:
        raise RequestError(f"'{name}' has more than {MAX_SMALL:,} bytes, the most that is taken; send fewer")


def _check_contents(data: bytes, start: int, end: int, kind: Any, values: _Budget) -> None:
    start += _floats(data, start, end) * FLOAT_STEP
    for number, begin, stop in _fields(data, start, end, values):
        field = kind.fields_by_number.get(number)
        if field is not None and field.name not in ("bytes_contents", "fp32_contents") and stop - begin > MAX_SMALL:
            raise RequestError(
                f"an input's 'contents' hold '{field.name}', expected 'bytes_contents' or 'fp32_contents'"
            )


def _floats(data: bytes, start: int, end: int) -> int:
    """Return how many floats that are not packed lie at the beginning: a client may write a whole tensor like that."""
    if data[start : start + 1] != FLOAT:
        return 0
    tags = np.frombuffer(data, np.uint8, end - start, start)[::FLOAT_STEP][: (end - start) // FLOAT_STEP]
    others = np.flatnonzero(tags != ord(FLOAT))
    return int(others[0]) if len(others) else len(tags)


def _fields(data: bytes, at: int, end: int, budget: _Budget) -> Iterator[tuple[int, int, int]]:
    """Yield each field's number, and where what has a length begins and ends."""
    while at < end:
        budget.spend()
        tag, at = _varint(data, at, end)
        number, kind, size = tag >> 3, tag & 7, 0
        if kind == LENGTH:
            size, at = _varint(data, at, end)
        elif kind == VARINT:
            at = _varint(data, at, end)[1]
        elif kind in FIXED:
            at += FIXED[kind]
        else:
            raise DecodeError
        if number == 0 or tag >= 1 << 32 or at + size > end:
            raise DecodeError
        yield number, at, at + size
        at += size


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number, and where what follows it begins."""
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for place, byte in enumerate(data[at : min(end, at + MAX_VARINT)]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise DecodeError


def _most_fields() -> _Budget:
    return _Budget(MAX_FIELDS, f"the message has more than {MAX_FIELDS:,} fields, the most that this server takes")
