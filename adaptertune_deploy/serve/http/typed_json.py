"""JSON from strangers, decoded into what is wanted of it: the rest is skipped where it lies, and builds no objects.

A tree of everything costs thirty times the text (20 MB of `[]` held 600 MB and stopped the server for seconds). Of a
name given twice in one object the last one counts.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.fields import MAX_SMALL

MAX_VALUES = 100_000  # of arrays and objects: skipping them takes time, though no memory
STEP = 1 << 16
Wanted = TypeVar("Wanted")


class FirstTwo(msgspec.Struct, array_like=True, frozen=True):
    """The first elements of an array, as they are written; b"" where there are none. Further ones are skipped."""

    first: msgspec.Raw = msgspec.Raw()
    second: msgspec.Raw = msgspec.Raw()


def check(data: bytes, most: int = MAX_VALUES) -> None:
    """Refuse JSON that it would take long to skip, and what is no UTF-8.

    Args:
        data: the text.
        most: values that it may hold.

    Raises:
        RequestError: 400.
    """
    values = 0
    for start in range(0, len(data), STEP):
        part = data[start : start + STEP]
        values += part.count(b",") + part.count(b"[") + part.count(b"{")
        if values > most:
            raise RequestError(f"the request's JSON holds more than {most:,} values; send tensors in binary form")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            raise RequestError("the request's JSON is not valid UTF-8") from None


def decode(data: bytes | msgspec.Raw, wanted: msgspec.json.Decoder[Wanted], otherwise: str) -> Wanted:
    """Return JSON that `check` took as the type of a decoder.

    Args:
        data: the text.
        wanted: decodes into that type.
        otherwise: says what was expected, for JSON of another shape.

    Raises:
        RequestError: 400, `otherwise`, or for what is no JSON where.
    """
    try:
        return wanted.decode(data)
    except msgspec.ValidationError:
        raise RequestError(otherwise) from None
    except RecursionError:
        raise RequestError("the request's JSON is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"failed to parse the request JSON: {_where(error)}") from None


def small(raw: msgspec.Raw, name: str) -> Any:
    """Return a part of a request that no right one makes large, as whatever it is.

    Raises:
        RequestError: 400 for more than 4,096 bytes.
    """
    if len(raw) > MAX_SMALL:
        raise RequestError(f"'{name}' has {len(raw):,} bytes of JSON, expected at most {MAX_SMALL:,}")
    return decode(raw, _ANYTHING, name)


def _where(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not valid UTF-8"
    return str(error).removeprefix("JSON is malformed: ")[:100].lower()


_ANYTHING = msgspec.json.Decoder(Any)
