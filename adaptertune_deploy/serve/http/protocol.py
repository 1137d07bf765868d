"""Inference requests and answers of the Open Inference Protocol v2, for models that take encoded images.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md, with the
binary tensor data and classification extensions of github.com/triton-inference-server/server, docs/protocol.

A model has one input, `image` BYTES [-1, 1], and one output, `logits` FP32 [-1, C]. Parameters of
the client's own are accepted and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.serve.answers import best
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY, PRIORITIES
from adaptertune_deploy.serve.http import bytes_tensor, typed_json
from adaptertune_deploy.serve.http.responses import encode

HEADER_LENGTH = "Inference-Header-Content-Length"
INPUT = "image"
OUTPUT = "logits"
VERSION = "1"
NUMBERS = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
)
DATATYPES = (*NUMBERS, "BYTES")
RESERVED = ("headers", "sequence_id", "sequence_start", "sequence_end")
MAX_TIMEOUT_US = 10**15
MAX_DIGITS = 20  # of a header that is a number


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


@dataclass(frozen=True)
class InferRequest:
    """One parsed inference request.

    id: echoed in the answer; "" for none.
    images: encoded images, one per batch element.
    binary: whether the output goes out in binary form.
    classification: number of "value:index:label" strings per image, 0 for plain logits.
    timeout_s: seconds from its first byte after which the request is given up; None for the server's limit.
    priority: 1 to PRIORITIES, the lowest first among the requests of one task.
    """

    images: tuple[bytes, ...]
    id: str = ""
    binary: bool = False
    classification: int = 0
    timeout_s: float | None = None
    priority: int = DEFAULT_PRIORITY


def parse(body: bytes, header_length: str | None, model: str, max_images: int) -> InferRequest:
    """Parse the (decompressed) body of an infer request.

    Args:
        body: JSON, JSON followed by binary tensors, or one bare image.
        header_length: the Inference-Header-Content-Length header; "0" means a bare image, None means all JSON.
        model: the model's name, for messages.
        max_images: the largest batch.

    Raises:
        RequestError: 400; names the input or field, what was found and what was expected.
    """
    length = _parse_header_length(header_length, len(body))
    if length == 0:
        return InferRequest((body,), binary=True)
    document = _read_document(body[:length])
    parameters = _parameters(document, "the request")
    name = _optional(document, "id", str, "")
    entry = _only_input(document["inputs"], model)
    images = _images(entry, body[length:], model, max_images)
    default = _optional(parameters, "binary_data_output", bool, False)
    binary, classification = _parse_outputs(document, model, default)
    return InferRequest(images, name, binary, classification, _timeout(parameters), _priority(parameters))


def answer(
    request: InferRequest, model: str, labels: Sequence[str], logits: Sequence[Array]
) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of the answer to `request`.

    Args:
        request: what was asked.
        model: the model's name.
        labels: of its classes, in the order of the logits.
        logits: float32 [C] per image.
    """
    head: dict[str, Any] = {"id": request.id} if request.id else {}
    head |= {"model_name": model, "model_version": VERSION}
    output, raw = _plain(logits) if request.classification == 0 else _classes(request, labels, logits)
    if not request.binary:
        return encode(head | {"outputs": [output]}), {"Content-Type": "application/json"}
    del output["data"]
    text = encode(head | {"outputs": [output | {"parameters": {"binary_data_size": len(raw)}}]})
    return text + raw, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}


def _plain(logits: Sequence[Array]) -> tuple[dict[str, Any], bytes]:
    values = np.stack(logits).astype("<f4", copy=False)
    output = {"name": OUTPUT, "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
    return output, values.tobytes()


def _classes(request: InferRequest, labels: Sequence[str], logits: Sequence[Array]) -> tuple[dict[str, Any], bytes]:
    count = min(request.classification, len(labels))
    texts = [f"{row[index]:f}:{index}:{labels[index]}" for row in logits for index in best(row, count)]
    output = {"name": OUTPUT, "datatype": "BYTES", "shape": [len(logits), count], "data": texts}
    return output, bytes_tensor.pack(text.encode() for text in texts)


def _parse_header_length(text: str | None, size: int) -> int:
    if text is None:
        return size or _refuse_empty()
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS) or int(text) > size:
        raise RequestError(f"inference header size should be in range (0, {size}), got: {text[:60]}")
    if size == 0:
        _refuse_empty()
    return int(text)


def _refuse_empty() -> int:
    raise RequestError("the body is empty; send an inference request")


def _read_document(text: bytes) -> dict[str, Any]:
    """Return a request's parts: at most two inputs and outputs, of which one is too many already."""
    typed_json.check(text)
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


def _parameters(document: dict[str, Any], where: str) -> dict[str, Any]:
    parameters: dict[str, Any] = _optional(document, "parameters", dict, {})
    for key in parameters:
        if key.startswith("triton_"):
            raise RequestError(
                f"{where}: parameter keys starting with 'triton_' are reserved and should not be specified"
            )
        if key in RESERVED:
            raise RequestError(
                f"{where}: parameter '{key}' is reserved; this server has no sequences and takes no headers"
            )
    return parameters


def _optional(values: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    value = values.get(key, default)
    if type(value) is not kind:
        named = {str: "text", bool: "true or false", dict: "an object", int: "a whole number", list: "an array"}[kind]
        raise RequestError(f"'{key}' must be {named}")
    return value


def _natural(values: dict[str, Any], key: str, default: int, limit: int) -> int:
    value: int = _optional(values, key, int, default)
    if not 0 <= value <= limit:
        raise RequestError(f"'{key}' must lie between 0 and {limit}")
    return value


def _priority(parameters: dict[str, Any]) -> int:
    """Return the level that a request asks for; 0 is the default one, as in Triton."""
    return min(_natural(parameters, "priority", 0, 2**64 - 1) or DEFAULT_PRIORITY, PRIORITIES)


def _timeout(parameters: dict[str, Any]) -> float | None:
    microseconds = _natural(parameters, "timeout", 0, MAX_TIMEOUT_US)
    return microseconds / 1e6 if microseconds else None


def _only_input(inputs: list[dict[str, Any]], model: str) -> dict[str, Any]:
    """Return the one input, after checking that it is the one that the model has."""
    for place, entry in enumerate(inputs):
        if entry["name"] != INPUT:
            raise RequestError(f"unexpected inference input '{entry['name'][:60]}' for model '{model}'")
        if place:
            raise RequestError(f"input '{INPUT}' already exists in request")
    if not inputs:
        raise RequestError(
            f"expected 1 inputs but got 0 inputs for model '{model}'; missing required input(s) ['{INPUT}']"
        )
    entry = inputs[0]
    datatype = entry.get("datatype")
    if datatype not in DATATYPES:
        raise RequestError(f"invalid datatype for input {INPUT}")
    if datatype != "BYTES":
        raise RequestError(f"inference input '{INPUT}' data-type is '{datatype}', but model '{model}' expects 'BYTES'")
    return entry


def _images(entry: dict[str, Any], binary: bytes, model: str, max_images: int) -> tuple[bytes, ...]:
    count = _batch(entry, model, max_images)
    parameters = _parameters(entry, f"input '{INPUT}'")
    if "shared_memory_region" in parameters:
        raise RequestError(f"input '{INPUT}' names a shared memory region, which this server does not offer")
    if ("data" in entry) == ("binary_data_size" in parameters):
        raise RequestError(f"input '{INPUT}' must have either 'data' or the parameter 'binary_data_size'")
    size = _natural(parameters, "binary_data_size", 0, 2**63 - 1)
    if size > len(binary):
        raise RequestError(
            f"unexpected size for input '{INPUT}', expecting {size - len(binary)} additional bytes for model '{model}'"
        )
    if size < len(binary):
        raise RequestError(f"unexpected additional input data for model '{model}': {len(binary) - size} bytes")
    if "data" in entry:
        return bytes_tensor.from_json(entry["data"], count, INPUT, model)
    return bytes_tensor.unpack(binary, count, INPUT, model)


def _batch(entry: dict[str, Any], model: str, max_images: int) -> int:
    shape = _optional(entry, "shape", list, None)
    if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise RequestError(f"the shape of input '{INPUT}' must be an array of whole numbers from 0")
    if len(shape) != 2 or shape[1] != 1 or shape[0] == 0:
        found = ",".join(str(size) for size in shape[:8])
        raise RequestError(f"unexpected shape for input '{INPUT}' for model '{model}'. Expected [-1,1], got [{found}]")
    if shape[0] > max_images:
        raise RequestError(f"inference request batch-size must be <= {max_images} for '{model}', got {shape[0]}")
    count: int = shape[0]
    return count


def _parse_outputs(document: dict[str, Any], model: str, default: bool) -> tuple[bool, int]:
    """Return (binary, classification) for the model's one output."""
    binary, classification = default, 0
    for place, entry in enumerate(document.get("outputs", [])):
        if entry["name"] != OUTPUT:
            raise RequestError(f"unexpected inference output '{entry['name'][:60]}' for model '{model}'")
        if place:
            raise RequestError(f"output '{OUTPUT}' already exists in request")
        parameters = _parameters(entry, f"output '{OUTPUT}'")
        if "shared_memory_region" in parameters:
            raise RequestError(f"output '{OUTPUT}' names a shared memory region, which this server does not offer")
        binary = _optional(parameters, "binary_data", bool, default)
        classification = _natural(parameters, "classification", 0, 2**31 - 1)
    return binary, classification
