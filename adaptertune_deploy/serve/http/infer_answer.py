"""Answers to infer requests: logits or classes, in JSON or in binary form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.serve.answers import best
from adaptertune_deploy.serve.http import bytes_tensor
from adaptertune_deploy.serve.http.protocol import HEADER_LENGTH, OUTPUT, VERSION, InferRequest
from adaptertune_deploy.serve.http.responses import encode


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
