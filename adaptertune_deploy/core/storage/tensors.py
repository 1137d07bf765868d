"""Safetensors files of float32 arrays, read without trust: every name, shape and value is checked."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage.records import unique_fields

Array = npt.NDArray[np.float32]
HEADER_LIMIT = 1 << 20
METADATA = "__metadata__"
STORED_DTYPES = ("F32", "F16")


def pack(tensors: Mapping[str, Array], note: tuple[str, str] | None = None) -> bytes:
    """Return the tensors as one safetensors file, float32, sorted by name.

    Arrays are made contiguous first: safetensors writes a transposed view in the wrong order without an error.

    Args:
        tensors: name -> array.
        note: one (key, text) of the file's metadata. One only: safetensors orders several differently in every process.
    """
    ordered = {name: np.ascontiguousarray(tensors[name], dtype=np.float32) for name in sorted(tensors)}
    return safetensors.numpy.save(ordered, dict([note]) if note else None)


def read_note(data: bytes, key: str, where: str) -> str | None:
    """Return the text that a safetensors file's metadata holds under `key`, or None.

    Raises:
        FormatError: not a safetensors file.
    """
    metadata = _read_header(data, where).get(METADATA) or {}
    found = metadata.get(key)
    return found if isinstance(found, str) else None


def unpack(data: bytes, shapes: Mapping[str, tuple[int, ...]], where: str) -> dict[str, Array]:
    """Return exactly the tensors named in `shapes`, in that order, as float32 arrays.

    Args:
        data: a safetensors file's bytes, stored as F32 or F16.
        shapes: every expected name with its shape.
        where: the file, for messages.

    Raises:
        FormatError: not a safetensors file, header over 1 MiB, missing or unknown names, wrong shapes or
            dtypes, NaN or infinite values.
    """
    header = _read_header(data, where)
    header.pop(METADATA, None)
    _check_names(set(header), set(shapes), where)
    for name, shape in shapes.items():
        entry = header[name]
        found = tuple(entry["shape"])
        if found != shape:
            raise FormatError(f"{where}: tensor '{name}' has shape {list(found)!r:.80}, expected {list(shape)}")
        if entry["dtype"] not in STORED_DTYPES:
            raise FormatError(f"{where}: tensor '{name}' has dtype {entry['dtype']!r:.20}, expected F32 or F16")
    try:
        loaded = safetensors.numpy.load(data)
    except (SafetensorError, ValueError) as error:
        raise FormatError(f"{where}: not a safetensors file ({error})") from None
    # In the order of `shapes`: safetensors gives them in another order each time.
    tensors = {name: loaded[name].astype(np.float32) for name in shapes}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise FormatError(f"{where}: tensor '{name}' holds NaN or infinite values; train the adapter again")
    return tensors


def size_limit(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the largest size in bytes that a safetensors file of these shapes may have."""
    return 8 + HEADER_LIMIT + 4 * sum(math.prod(shape) for shape in shapes.values())


def _read_header(data: bytes, where: str) -> dict[str, dict[str, Any]]:
    """Return name -> entry from the JSON header (github.com/huggingface/safetensors, section Format)."""
    if len(data) < 8:
        raise FormatError(f"{where}: not a safetensors file ({len(data)} bytes)")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(HEADER_LIMIT, len(data) - 8):
        raise FormatError(f"{where}: not a safetensors file (header of {length:,} bytes in a file of {len(data):,})")
    try:
        header = json.loads(data[8 : 8 + length], object_pairs_hook=unique_fields)
        entries = [entry for name, entry in header.items() if name != METADATA]
        if not all(isinstance(entry["shape"], list) and "dtype" in entry for entry in entries):
            raise ValueError
        if not isinstance(header.get(METADATA, {}), dict):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise FormatError(f"{where}: not a safetensors file (its header is not what the format asks)") from None
    return header  # type: ignore[no-any-return]


def _check_names(found: set[str], expected: set[str], where: str) -> None:
    missing, unknown = sorted(expected - found), sorted(found - expected)
    if missing:
        raise FormatError(f"{where}: tensor {missing[0]!r} is missing ({len(missing)} missing in all)")
    if unknown:
        raise FormatError(
            f"{where}: tensor {unknown[0]!r:.80} is not part of this adapter ({len(unknown)} such in all)"
        )
