"""Dataclasses as JSON that is never half understood."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union

from adaptertune_deploy.core.errors import FormatError, did_you_mean
from adaptertune_deploy.core.storage import files

Value = TypeVar("Value")
# A manifest of a thousand tasks with a thousand labels each has some 30 MB.
FILE_LIMIT = 1 << 28
LONGEST_REASON = 300
# Metadata of a field that came after files of its format were written; `digest` leaves it out at its default.
LATER = {"later": True}
# Metadata of a field that tells people and checks about a value and decides nothing; `digest` always leaves it out.
NOTED = {"noted": True}


def dump(value: object) -> str:
    """Return a dataclass as JSON text, fields in the order of their definition."""
    return json.dumps(dataclasses.asdict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"  # type: ignore[call-overload]


def digest(value: object) -> str:
    """Return the SHA-256 of a dataclass as JSON, keys sorted; numbers as a reader of the file would find them.

    A field with the metadata LATER is left out at its default: what was written before it came keeps its hash. One with
    the metadata NOTED is always left out.
    """
    read = parse(json.loads(dump(value)), type(value), "value")
    text = json.dumps(_early(read), sort_keys=True, separators=(",", ":"))
    return files.sha256_bytes(text.encode())


def _early(value: object) -> object:
    """Return a dataclass as a dict, without fields that are noted, or came later and have their default."""
    if isinstance(value, tuple):
        return [_early(item) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    found = {field: getattr(value, field.name) for field in dataclasses.fields(value) if field.metadata != NOTED}
    return {
        field.name: _early(inner) for field, inner in found.items() if field.metadata != LATER or inner != field.default
    }


def write(path: Path, value: object) -> None:
    """Write a dataclass as JSON, atomically."""
    files.write_bytes(path, dump(value).encode())


def read(path: Path, kind: type[Value], version: int, older: str = "use a matching release") -> Value:
    """Read a JSON file into the dataclass `kind`.

    Args:
        path: the file.
        kind: a frozen dataclass whose first field is `format_version: int`.
        version: the only format version this release reads.
        older: what to do about a file of an older version.

    Raises:
        FormatError: absent or unreadable file, another version, an unknown or missing field, a wrong type.
    """
    try:
        data = json.loads(files.read_regular(path, FILE_LIMIT), object_pairs_hook=unique_fields)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise FormatError(f"{path}: holds {type(data).__name__}, expected an object")
    found = data.get("format_version")
    if found != version:
        is_older = isinstance(found, int) and found < version
        advice = older if is_older else "use a matching release"
        raise FormatError(f"{path}: format_version is {found!r:.60}, this release reads {version}; {advice}")
    return typing.cast(Value, parse(data, kind, str(path)))


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's fields; an `object_pairs_hook` for `json`, which by itself keeps the last of two.

    Raises:
        ValueError: a field is given twice.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"field {name!r:.80} is given twice")
        fields[name] = value
    return fields


def parse(data: object, kind: Any, where: str) -> Any:
    """Turn JSON data into `kind`: a dataclass, tuple[X, ...], dict[str, X], X | None, an Enum of texts or a scalar.

    Scalars are str, int, float and bool.

    Raises:
        FormatError: names the place (`where`), what was found and what was expected.
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parse_dataclass(data, kind, where)
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        if data is None:
            return None
        (inner,) = (argument for argument in typing.get_args(kind) if argument is not type(None))
        return parse(data, inner, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _parse_enum(data, kind, where)
    if origin is tuple:
        return _parse_tuple(data, kind, where)
    if origin is dict:
        _expect(isinstance(data, dict), data, "an object", where)
        inner = typing.get_args(kind)[1]
        return {
            key: parse(value, inner, f"{where}: {key}") for key, value in typing.cast(Mapping[str, Any], data).items()
        }
    return _parse_scalar(data, kind, where)


def _parse_dataclass(data: object, kind: type[Value], where: str) -> Value:
    _expect(isinstance(data, dict), data, "an object", where)
    fields = typing.cast(Mapping[str, Any], data)
    hints = _hints(typing.cast(Hashable, kind))
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in fields:
        if name not in known:
            raise FormatError(f"{where}: unknown field {name!r:.80}.{did_you_mean(name, known)}")
    for name, field in known.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in fields and not optional:
            raise FormatError(f"{where}: field '{name}' is missing")
    values = {name: parse(value, hints[name], f"{where}: {name}") for name, value in fields.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise FormatError(f"{where}: {error!s:.{LONGEST_REASON}}") from None


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    """Return the types of a dataclass's fields; found once, since a bundle of many tasks asks thousands of times."""
    return typing.get_type_hints(kind)


def _parse_tuple(data: object, kind: Any, where: str) -> tuple[Any, ...]:
    _expect(isinstance(data, list), data, "a list", where)
    items = typing.cast(list[Any], data)
    inner = typing.get_args(kind)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(parse(item, inner[0], f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(inner):
        raise FormatError(f"{where}: holds {len(items)} values, expected {len(inner)}")
    return tuple(parse(item, of, f"{where}[{i}]") for i, (item, of) in enumerate(zip(items, inner, strict=True)))


def _parse_enum(data: object, kind: type[Enum], where: str) -> Enum:
    known = {member.value: member for member in kind}
    _expect(isinstance(data, str) and data in known, data, f"one of {', '.join(known)}", where)
    return known[data]


def _is_text(value: object) -> bool:
    # JSON can spell half a surrogate pair, which no file and no answer can carry on.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # Compared, not converted: a whole number in JSON can be too large for a float.
    return (isinstance(value, float) or _is_whole(value)) and abs(typing.cast(float, value)) <= sys.float_info.max


SCALARS: dict[type, tuple[Callable[[object], bool], str]] = {
    str: (_is_text, "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
}


def _parse_scalar(data: object, kind: type, where: str) -> Any:
    check, expected = SCALARS[kind]
    _expect(check(data), data, expected, where)
    return float(typing.cast(float, data)) if kind is float else data


def _expect(condition: bool, data: object, expected: str, where: str) -> None:
    if not condition:
        raise FormatError(f"{where}: found {data!r:.60}, expected {expected}")
