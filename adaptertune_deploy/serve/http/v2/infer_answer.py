"""Answers to infer requests as HTTP carries them: in JSON, or JSON and the tensor behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.http.responses import encode
from adaptertune_deploy.serve.http.v2.infer_request import HEADER_LENGTH
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import Model
from adaptertune_deploy.serve.protocol.outputs import output_of


def answer(request: InferRequest, model: Model, logits: Sequence[Array]) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of the answer to `request`.

    Args:
        request: what was asked.
        model: which was asked.
        logits: float32 [C] per image.
    """
    head: dict[str, Any] = {"id": request.id} if request.id else {}
    head |= {"model_name": model.name, "model_version": model.version}
    found = output_of(logits, model.labels, request.classification)
    output: dict[str, Any] = {"name": model.output, "datatype": found.datatype, "shape": found.shape}
    if not request.binary:
        return encode(head | {"outputs": [output | {"data": found.data()}]}), {"Content-Type": "application/json"}
    raw = found.raw()
    text = encode(head | {"outputs": [output | {"parameters": {"binary_data_size": len(raw)}}]})
    return text + raw, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
