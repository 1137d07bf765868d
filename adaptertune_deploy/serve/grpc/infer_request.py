"""Inference requests of the Open Inference Protocol v2 as gRPC brings them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.float_tensor import checked
from adaptertune_deploy.serve.protocol.inference import UNPACK, Images, InferRequest, check
from adaptertune_deploy.serve.protocol.models import BYTES, Model

ENOUGH = 2  # inputs and outputs that are read: one is too many already


def read(request: Any, model: Model, largest: int) -> InferRequest:
    """Check a ModelInferRequest against its model.

    Args:
        request: the message.
        model: which is asked.
        largest: batch that is taken.

    Raises:
        RequestError: 400; names the input or field, what was found and what was expected.
    """
    document = {
        "id": request.id,
        "parameters": _parameters(request.parameters),
        "inputs": [_input(entry) for entry in islice(request.inputs, ENOUGH)],
        "outputs": list(_outputs(request.outputs)),
    }
    return check(document, model, largest, lambda entry, count: _images(entry["message"], request, count, model))


def _input(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.name,
        "datatype": entry.datatype,
        "shape": list(entry.shape),
        "parameters": _parameters(entry.parameters),
        "message": entry,
    }


def _outputs(outputs: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for entry in islice(outputs, ENOUGH):
        yield {"name": entry.name, "parameters": _parameters(entry.parameters)}


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as values; one without a value is None."""
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in given.items()}
    return {name: getattr(given[name], kind) if kind else None for name, kind in chosen.items()}


def _images(entry: Any, request: Any, count: int, model: Model) -> Images:
    raw = request.raw_input_contents
    if bool(raw) == entry.HasField("contents"):
        raise RequestError(f"input '{model.input}' must have either 'contents' or an entry of 'raw_input_contents'")
    if len(raw) > 1:
        raise RequestError(f"'raw_input_contents' has {len(raw)} entries, expected one for input '{model.input}'")
    if raw:
        return UNPACK[model.datatype](raw[0], count, model)
    return _contents(entry.contents, count, model)


def _contents(contents: Any, count: int, model: Model) -> Images:
    """Return a tensor that is written value by value, row by row."""
    name, expected = ("bytes_contents", count) if model.datatype == BYTES else ("fp32_contents", count * model.values)
    values = getattr(contents, name)
    others = [field.name for field, _ in contents.ListFields() if field.name != name]
    if others or len(values) != expected:
        found = f"'{others[0]}'" if others else f"{len(values)}"
        raise RequestError(
            f"'contents' of input '{model.input}' for model '{model.name}' must hold {expected} values in '{name}', "
            f"got {found}"
        )
    if model.datatype == BYTES:
        return tuple(values)
    return checked(np.array(values, dtype=np.float32).reshape(count, *model.dims), model)
