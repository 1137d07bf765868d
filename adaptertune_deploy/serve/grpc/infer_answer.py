"""Answers to infer requests as gRPC carries them: the tensor is always in binary form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.inference import InferRequest
from adaptertune_deploy.serve.protocol.models import Model
from adaptertune_deploy.serve.protocol.outputs import output_of


def answer(request: InferRequest, model: Model, logits: Sequence[Array]) -> Any:
    """Return the ModelInferResponse to `request`.

    Args:
        request: what was asked.
        model: which was asked.
        logits: float32 [C] per image.
    """
    found = output_of(logits, model.labels, request.classification)
    response = message("ModelInferResponse")(model_name=model.name, model_version=model.version, id=request.id)
    response.outputs.add(name=model.output, datatype=found.datatype, shape=found.shape)
    response.raw_output_contents.append(found.raw())
    return response
