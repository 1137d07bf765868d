"""Inference requests of the Open Inference Protocol v2 as HTTP brings them: JSON, and tensors behind it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from typing import Any

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http import typed_json
from adaptertune_deploy.serve.http.v2 import infer_document, json_tensor
from adaptertune_deploy.serve.protocol import fields
from adaptertune_deploy.serve.protocol.inference import UNPACK, Images, InferRequest, check
from adaptertune_deploy.serve.protocol.models import BYTES, Model

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_DIGITS = 20  # of a header that is a number
COPIED = 16  # bytes of a tensor in binary form are copied or looked at in the time that one of JSON takes, and less
MAX_NUMBERS = 1_000_000  # of a tensor in JSON: each is 32 bytes while it is read


def parse(body: bytes, header_length: str | None, model: Model, largest: int) -> InferRequest:
    """Parse the (decompressed) body of an infer request.

    Args:
        body: JSON, JSON followed by binary tensors, or one element of the input alone.
        header_length: the Inference-Header-Content-Length header; "0" means one element, None means all JSON.
        model: which is asked.
        largest: batch that is taken.

    Raises:
        RequestError: 400; names the input or field, what was found and what was expected.
    """
    length = _parse_header_length(header_length, len(body))
    if length == 0:
        return InferRequest((body,) if model.datatype == BYTES else UNPACK[model.datatype](body, 1, model), binary=True)
    document = infer_document.read(body[:length], _most_values(model, largest))
    return check(document, model, largest, lambda entry, count: _images(entry, count, body[length:], model))


def effort(header_length: str | None, body: bytes) -> int:
    """Return how many bytes of JSON take as long as this body to parse; see parse."""
    text, size = header_length or "", len(body)
    json = min(int(text), size) if _is_number(text) else size
    return json + (size - json) // COPIED


def _most_values(model: Model, largest: int) -> int:
    numbers = 0 if model.datatype == BYTES else min(MAX_NUMBERS, largest * model.values)
    return typed_json.MAX_VALUES + numbers


def _parse_header_length(text: str | None, size: int) -> int:
    if text is None:
        return size or _refuse_empty()
    if not _is_number(text) or int(text) > size:
        raise RequestError(f"inference header size should be in range (0, {size}), got: {text[:60]}")
    if size == 0:
        _refuse_empty()
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def _refuse_empty() -> int:
    raise RequestError("the body is empty; send an inference request")


def _images(entry: dict[str, Any], count: int, binary: bytes, model: Model) -> Images:
    parameters = fields.parameters(entry, f"input '{model.input}'")
    if ("data" in entry) == ("binary_data_size" in parameters):
        raise RequestError(f"input '{model.input}' must have either 'data' or the parameter 'binary_data_size'")
    size = fields.natural(parameters, "binary_data_size", 0, 2**63 - 1)
    if size > len(binary):
        raise RequestError(
            f"unexpected size for input '{model.input}', expecting {size - len(binary)} additional bytes for model "
            f"'{model.name}'"
        )
    if size < len(binary):
        raise RequestError(f"unexpected additional input data for model '{model.name}': {len(binary) - size} bytes")
    if "data" in entry:
        return json_tensor.READ[model.datatype](entry["data"], count, model)
    return UNPACK[model.datatype](binary, count, model)
