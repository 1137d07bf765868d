"""ModelInfer and ModelStreamInfer: requests on their way to the service that HTTP's go to."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc import infer_answer, infer_request
from adaptertune_deploy.serve.grpc.bounds import check_infer
from adaptertune_deploy.serve.grpc.calls import Call, Method, Stream
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol import lookup
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings

FINAL = "triton_final_response"  # by which clients of streams know that no other answer to a request follows


def method(settings: Settings) -> Method:
    """Return ModelInfer."""
    return Method(message("ModelInferRequest"), answer, large=True, check=_check(settings))


def stream(settings: Settings) -> Stream:
    """Return ModelStreamInfer: one request after another, each with an answer or an error of its own."""
    return Stream(message("ModelInferRequest"), _answer_in_stream, _failed_in_stream, _check(settings))


async def answer(service: Service, call: Call) -> Any:
    """Return the ModelInferResponse to a ModelInferRequest.

    Raises:
        RequestError: see protocol.lookup, grpc.infer_request and service.Service.answer.
        EngineError: see service.Service.answer.
    """
    request, arrived, deadline = call.request, call.arrived, call.deadline
    model = lookup.find(service, request.model_name, request.model_version)
    with ExitStack() as held:
        held.enter_context(service.tasks.hold([model.task]))
        try:
            service.batcher.check_room({model.task.name: 1})
            largest = model.largest_batch(service.settings)
            reading = service.parsing.call(call.size, infer_request.read, request, model, largest)
            parsed = await deadline.within(reading, "the request was parsed")
        except (RequestError, asyncio.CancelledError) as error:
            service.failed_early([model.task], error, arrived, gone=isinstance(error, asyncio.CancelledError))
            raise
        deadline = deadline.sooner(arrived, parsed.timeout_s)
        served = await service.answer(parsed.images, [model.task], arrived, deadline, parsed.priority)
        with service.making([model.task], served):
            return infer_answer.answer(parsed, model, served.logits)


def _check(settings: Settings) -> Callable[[bytes], None]:
    return functools.partial(check_infer, rows=settings.max_request_rows)


async def _answer_in_stream(service: Service, call: Call) -> Any:
    found = await answer(service, call)
    found.parameters[FINAL].bool_param = True
    return message("ModelStreamInferResponse")(infer_response=found)


def _failed_in_stream(text: str, request: Any) -> Any:
    found = message("ModelStreamInferResponse")(error_message=text)
    if request is not None:  # by its id clients know which of their requests failed, as with Triton
        found.infer_response.id = request.id
        found.infer_response.model_name = request.model_name
        found.infer_response.model_version = request.model_version
    return found
