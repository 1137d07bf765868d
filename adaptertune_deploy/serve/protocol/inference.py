"""Inference requests, checked against the model that they ask: the same for every wire.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md, with the
binary tensor data and classification extensions of github.com/triton-inference-server/server, docs/protocol.
Parameters of the client's own are accepted and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY, PRIORITIES
from adaptertune_deploy.serve.protocol import bytes_tensor, fields, float_tensor
from adaptertune_deploy.serve.protocol.models import BYTES, FP32, Model
from adaptertune_deploy.serve.protocol.shared_memory import NOT_OFFERED

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
DATATYPES = (*NUMBERS, BYTES)
MAX_TIMEOUT_US = 10**15
# Encoded images, one per batch element, or pixels float32 [batch, 3, H, W].
Images: TypeAlias = "tuple[bytes, ...] | Array"
UNPACK: dict[str, Callable[[bytes, int, Model], Images]] = {BYTES: bytes_tensor.unpack, FP32: float_tensor.unpack}


@dataclass(frozen=True)
class InferRequest:
    """One parsed inference request.

    images: what the input holds.
    id: echoed in the answer; "" for none.
    binary: whether the output goes out in binary form.
    classification: number of "value:index:label" strings per image, 0 for plain logits.
    timeout_s: seconds from its first byte after which the request is given up; None for the server's limit.
    priority: 1 to PRIORITIES, the lowest first among the requests of one task.
    """

    images: Images
    id: str = ""
    binary: bool = False
    classification: int = 0
    timeout_s: float | None = None
    priority: int = DEFAULT_PRIORITY


def check(
    document: dict[str, Any], model: Model, largest: int, images_of: Callable[[dict[str, Any], int], Images]
) -> InferRequest:
    """Return a request, after checking it against its model.

    Args:
        document: the request as the protocol writes it in JSON; its inputs and outputs have texts as names.
        model: which is asked.
        largest: batch that is taken.
        images_of: returns what an input holds, given the input and its number of elements.

    Raises:
        RequestError: 400; names the input or field, what was found and what was expected.
    """
    parameters = fields.parameters(document, "the request")
    name = fields.optional(document, "id", str, "")
    entry = _only_input(document["inputs"], model)
    count = _batch(entry, model, largest)
    if "shared_memory_region" in fields.parameters(entry, f"input '{model.input}'"):
        raise RequestError(f"input '{model.input}' {NOT_OFFERED}")
    images = images_of(entry, count)
    default = fields.optional(parameters, "binary_data_output", bool, False)
    binary, classification = _parse_outputs(document, model, default)
    return InferRequest(images, name, binary, classification, _timeout(parameters), _priority(parameters))


def _priority(parameters: dict[str, Any]) -> int:
    """Return the level that a request asks for; 0 is the default one, as in Triton."""
    return min(fields.natural(parameters, "priority", 0, 2**64 - 1) or DEFAULT_PRIORITY, PRIORITIES)


def _timeout(parameters: dict[str, Any]) -> float | None:
    microseconds = fields.natural(parameters, "timeout", 0, MAX_TIMEOUT_US)
    return microseconds / 1e6 if microseconds else None


def _only_input(inputs: list[dict[str, Any]], model: Model) -> dict[str, Any]:
    """Return the one input, after checking that it is the one that the model has."""
    name = model.input
    for place, entry in enumerate(inputs):
        if entry["name"] != name:
            raise RequestError(f"unexpected inference input '{entry['name'][:60]}' for model '{model.name}'")
        if place:
            raise RequestError(f"input '{name}' already exists in request")
    if not inputs:
        raise RequestError(
            f"expected 1 inputs but got 0 inputs for model '{model.name}'; missing required input(s) ['{name}']"
        )
    entry = inputs[0]
    datatype = entry.get("datatype")
    if datatype not in DATATYPES:
        raise RequestError(f"invalid datatype for input {name}")
    if datatype != model.datatype:
        raise RequestError(
            f"inference input '{name}' data-type is '{datatype}', but model '{model.name}' expects '{model.datatype}'"
        )
    return entry


def _batch(entry: dict[str, Any], model: Model, largest: int) -> int:
    shape = fields.optional(entry, "shape", list, None)
    if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise RequestError(f"the shape of input '{model.input}' must be an array of whole numbers from 0")
    if len(shape) != 1 + len(model.dims) or tuple(shape[1:]) != model.dims or shape[0] == 0:
        found = ",".join(str(size) for size in shape[:8])
        expected = ",".join(str(size) for size in (-1, *model.dims))
        raise RequestError(
            f"unexpected shape for input '{model.input}' for model '{model.name}'. Expected [{expected}], got [{found}]"
        )
    if shape[0] > largest:
        raise RequestError(f"inference request batch-size must be <= {largest} for '{model.name}', got {shape[0]}")
    count: int = shape[0]
    return count


def _parse_outputs(document: dict[str, Any], model: Model, default: bool) -> tuple[bool, int]:
    """Return (binary, classification) for the model's one output."""
    binary, classification, name = default, 0, model.output
    for place, entry in enumerate(document.get("outputs", [])):
        if entry["name"] != name:
            raise RequestError(f"unexpected inference output '{entry['name'][:60]}' for model '{model.name}'")
        if place:
            raise RequestError(f"output '{name}' already exists in request")
        parameters = fields.parameters(entry, f"output '{name}'")
        if "shared_memory_region" in parameters:
            raise RequestError(f"output '{name}' {NOT_OFFERED}")
        binary = fields.optional(parameters, "binary_data", bool, default)
        classification = fields.natural(parameters, "classification", 0, 2**31 - 1)
    return binary, classification
