"""Files that are never half written, and JSON that is never half understood."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, Union

from adaptertune_deploy.core.errors import FormatError, did_you_mean

Value = TypeVar("Value")


def sha256_bytes(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part."""
    with staged_file(path) as stage:
        stage.write_bytes(data)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path` that takes its place when the block ends without an error.

    The temporary file is flushed to the disk before it is renamed; after an error it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    stage = Path(temporary)
    try:
        yield stage
        with stage.open("rb") as stream:
            os.fsync(stream.fileno())
        stage.chmod(0o644)
        stage.replace(path)
    except BaseException:
        stage.unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """Flush a folder's entries, so that files renamed one after the other survive a power cut in that order."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends without an error.

    After an error the folder is removed and what stood at `path` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        stage.chmod(0o755)
        yield stage
        _swap(stage, path)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _swap(stage: Path, path: Path) -> None:
    if not path.exists():
        stage.rename(path)
        return
    retired = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    path.rename(retired / path.name)
    try:
        stage.rename(path)
    except BaseException:
        (retired / path.name).rename(path)
        retired.rmdir()
        raise
    shutil.rmtree(retired, ignore_errors=True)


def dump_json(value: object) -> str:
    """Return a dataclass as JSON text, fields in the order of their definition."""
    return json.dumps(dataclasses.asdict(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"  # type: ignore[call-overload]


def write_json(path: Path, value: object) -> None:
    """Write a dataclass as JSON, atomically."""
    write_bytes(path, dump_json(value).encode())


def read_json(path: Path, kind: type[Value], version: int) -> Value:
    """Read a JSON file into the dataclass `kind`.

    Args:
        path: the file.
        kind: a frozen dataclass whose first field is `format_version: int`.
        version: the only format version this release reads.

    Raises:
        FormatError: absent or unreadable file, another version, an unknown or missing field, a wrong type.
    """
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=unique_fields)
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(data, dict):
        raise FormatError(f"{path}: holds {type(data).__name__}, expected an object")
    found = data.get("format_version")
    if found != version:
        raise FormatError(
            f"{path}: format_version is {found!r:.60}, this release reads {version}; use a matching release"
        )
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
    """Turn JSON data into `kind`: a dataclass, tuple[X, ...], dict[str, X], X | None, str, int, float or bool.

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
    hints = typing.get_type_hints(kind)
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
        raise FormatError(f"{where}: {error}") from None


def _parse_tuple(data: object, kind: Any, where: str) -> tuple[Any, ...]:
    _expect(isinstance(data, list), data, "a list", where)
    items = typing.cast(list[Any], data)
    inner = typing.get_args(kind)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(parse(item, inner[0], f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(inner):
        raise FormatError(f"{where}: holds {len(items)} values, expected {len(inner)}")
    return tuple(parse(item, of, f"{where}[{i}]") for i, (item, of) in enumerate(zip(items, inner, strict=True)))


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
