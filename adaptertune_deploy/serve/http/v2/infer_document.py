"""The JSON of an infer request as plain parts: what is small as values, tensors as they are written."""

from __future__ import annotations

from typing import Any

import msgspec

from adaptertune_deploy.serve.http import typed_json


class _Document(msgspec.Struct):
    """An infer request, each part as it is written."""

    inputs: typed_json.FirstTwo
    id: msgspec.Raw = msgspec.Raw()
    outputs: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


class _Entry(msgspec.Struct):
    """An input or output, each part but the name as it is written."""

    name: str
    datatype: msgspec.Raw = msgspec.Raw()
    shape: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()


_DOCUMENT = msgspec.json.Decoder(_Document)
_ENTRY = msgspec.json.Decoder(_Entry)
_ENTRIES = msgspec.json.Decoder(typed_json.FirstTwo)


def read(text: bytes, most: int = typed_json.MAX_VALUES) -> dict[str, Any]:
    """Return a request's parts: at most two inputs and outputs, of which one is too many already.

    Args:
        text: the JSON.
        most: values that it may hold.

    Raises:
        RequestError: 400.
    """
    typed_json.check(text, most)
    found = typed_json.decode(text, _DOCUMENT, "the request must be a JSON object with an array 'inputs'")
    parts: dict[str, Any] = _small_parts(found, "id", "parameters")
    parts["inputs"] = _entries(found.inputs, "input")
    if found.outputs:
        outputs = typed_json.decode(found.outputs, _ENTRIES, "'outputs' must be an array")
        parts["outputs"] = _entries(outputs, "output")
    return parts


def _entries(pair: typed_json.FirstTwo, kind: str) -> list[dict[str, Any]]:
    entries = []
    for raw in (pair.first, pair.second):
        if raw:
            entry = typed_json.decode(raw, _ENTRY, f"every {kind} must be an object with a text 'name'")
            parts = _small_parts(entry, "datatype", "shape", "parameters")
            entries.append({"name": entry.name, **parts, **({"data": entry.data} if entry.data else {})})
    return entries


def _small_parts(found: msgspec.Struct, *names: str) -> dict[str, Any]:
    raws = {name: getattr(found, name) for name in names}
    return {name: typed_json.small(raw, name) for name, raw in raws.items() if raw}
