"""What a message may hold, looked at where it lies: parsing one holds the whole server, and takes all of its memory.

Two bytes are an empty input, and an object of a hundred bytes once they are parsed: 20 MB of them took a gigabyte and
stopped both wires for seconds. So fields are counted on the wire first, no further than to the limit; what has a length
is skipped, so a request with large images is looked at in microseconds.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.fields import MAX_SMALL

MAX_FIELDS = 4096  # of a message besides its images: what a right one has, hundreds of times over
MAX_SHORT = 65_536  # bytes of a message that holds neither images nor files
TENSORS, CONTENTS, RAW = ("inputs", "outputs"), "contents", "raw_input_contents"
READ = ("bytes_contents", "fp32_contents")  # the contents that a model here takes
VARINT, FIXED, LENGTH = 0, {1: 8, 3: 0, 4: 0, 5: 4}, 2  # wire types; of those of a fixed size their bytes
MAX_VARINT = 10  # bytes
FLOAT = b"\x35"  # the tag of one float of fp32_contents that is not packed with others
FLOAT_STEP = 5  # bytes of one, with its tag


@dataclass
class _Budget:
    """How many fields a message may have.

    most: as many.
    spent: those that it has so far.
    """

    most: int
    spent: int = 0

    def spend(self) -> None:
        """Count one; RequestError (400) where it is one too many."""
        self.spent += 1
        if self.spent > self.most:
            raise RequestError(f"the message has more than {self.most:,} fields, the most that is taken; send fewer")


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
    for _ in _fields(data, 0, len(data), _Budget(MAX_FIELDS)):
        pass


def check_infer(data: bytes, rows: int) -> None:
    """Refuse a ModelInferRequest that would take long to parse, or much memory.

    Args:
        data: which may hold large tensors, raw or in `contents`.
        rows: images that a request may hold, each a field.

    Raises:
        RequestError: 400 for too many fields, for names, a shape or parameters that are large, for large contents of a
            type that no model here takes.
        DecodeError: it is no message.
    """
    kind = message("ModelInferRequest").DESCRIPTOR
    _check_part(data, (0, len(data)), kind, _Budget(MAX_FIELDS + rows))


def _check_part(data: bytes, part: tuple[int, int], kind: Any, budget: _Budget) -> None:
    """Check a request, an input or an output; `kind` is its message's descriptor."""
    known = _names(kind)
    small: Counter[str] = Counter()
    for number, start, end in _fields(data, *part, budget):
        name = known.get(number, RAW)
        if name == RAW:  # or unknown: its bytes are kept as they are
            continue
        if name in TENSORS:
            _check_part(data, (start, end), kind.fields_by_number[number].message_type, budget)
        elif name == CONTENTS:
            _check_contents(data, start, end, kind.fields_by_number[number].message_type, budget)
        else:
            small[name] += end - start
            _check_small(name, small[name])


def _check_small(name: str, size: int) -> None:
    if size > MAX_SMALL:
        raise RequestError(f"'{name}' has more than {MAX_SMALL:,} bytes, the most that is taken; send fewer")


def _check_contents(data: bytes, start: int, end: int, kind: Any, budget: _Budget) -> None:
    known = _names(kind)
    start += _floats(data, start, end) * FLOAT_STEP
    for number, begin, stop in _fields(data, start, end, budget):
        if stop - begin > MAX_SMALL and known.get(number, READ[0]) not in READ:
            raise RequestError(f"an input's 'contents' hold '{known[number]}', expected {' or '.join(map(repr, READ))}")


@functools.cache
def _names(kind: Any) -> Mapping[int, str]:
    """Return the name of each field of a message by its number."""
    return {field.number: field.name for field in kind.fields}


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
