"""Inference requests of the Open Inference Protocol v2, for models that take encoded images.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md, with the
binary tensor data and classification extensions of github.com/triton-inference-server/server, docs/protocol.

A model has one input, `image` BYTES [-1, 1], and one output, `logits` FP32 [-1, C]. Parameters of
the client's own are accepted and change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY, PRIORITIES
from adaptertune_deploy.serve.http import bytes_tensor, infer_document

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
MAX_TIMEOUT_US = 10**15
MAX_DIGITS = 20  # of a header that is a number


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
    document = infer_document.read(body[:length])
    parameters = infer_document.parameters(document, "the request")
    name = infer_document.optional(document, "id", str, "")
    entry = _only_input(document["inputs"], model)
    images = _images(entry, body[length:], model, max_images)
    default = infer_document.optional(parameters, "binary_data_output", bool, False)
    binary, classification = _parse_outputs(document, model, default)
    return InferRequest(images, name, binary, classification, _timeout(parameters), _priority(parameters))


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


def _priority(parameters: dict[str, Any]) -> int:
    """Return the level that a request asks for; 0 is the default one, as in Triton."""
    return min(infer_document.natural(parameters, "priority", 0, 2**64 - 1) or DEFAULT_PRIORITY, PRIORITIES)


def _timeout(parameters: dict[str, Any]) -> float | None:
    microseconds = infer_document.natural(parameters, "timeout", 0, MAX_TIMEOUT_US)
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
    parameters = infer_document.parameters(entry, f"input '{INPUT}'")
    if "shared_memory_region" in parameters:
        raise RequestError(f"input '{INPUT}' names a shared memory region, which this server does not offer")
    if ("data" in entry) == ("binary_data_size" in parameters):
        raise RequestError(f"input '{INPUT}' must have either 'data' or the parameter 'binary_data_size'")
    size = infer_document.natural(parameters, "binary_data_size", 0, 2**63 - 1)
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
    shape = infer_document.optional(entry, "shape", list, None)
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
        parameters = infer_document.parameters(entry, f"output '{OUTPUT}'")
        if "shared_memory_region" in parameters:
            raise RequestError(f"output '{OUTPUT}' names a shared memory region, which this server does not offer")
        binary = infer_document.optional(parameters, "binary_data", bool, default)
        classification = infer_document.natural(parameters, "classification", 0, 2**31 - 1)
    return binary, classification
