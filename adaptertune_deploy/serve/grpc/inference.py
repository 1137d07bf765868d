"""ModelInfer and ModelStreamInfer: requests on their way to the service that HTTP's go to.

gRPC reads a message as a whole. So calls begin before their messages are read, and only as many messages are read at a
time as the budget of bytes holds of the largest; the bytes of the others wait at their clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import grpc

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.deadline import Deadline
from adaptertune_deploy.serve.grpc import infer_answer, infer_request
from adaptertune_deploy.serve.grpc.identity import name_call
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import answered, serialize
from adaptertune_deploy.serve.grpc.status import log_if_internal, status_of
from adaptertune_deploy.serve.protocol import lookup
from adaptertune_deploy.serve.service import Service

FINAL = "triton_final_response"  # by which clients of streams know that no other answer to a request follows


class Inference:
    """Answers inference requests; belongs to the event loop.

    Attributes:
        pending: requests whose message was read and that are not answered.
    """

    def __init__(self, service: Service) -> None:
        """Answer from a service."""
        self.pending = 0
        self._service = service
        self._most = max(1, service.settings.bytes_limit // service.settings.body_limit)
        self._reading = asyncio.Semaphore(self._most)
        self._streams = 0

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handlers of both methods; messages come as bytes."""
        return {
            "ModelInfer": grpc.stream_unary_rpc_method_handler(self._infer, None, serialize),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream, None, serialize),
        }

    async def _infer(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> Any:
        """Answer ModelInfer, which has one message."""
        return await answered(context, self._one(context))

    async def _one(self, context: grpc.aio.ServicerContext) -> Any:
        arrived = monotonic()
        deadline = self._deadline(context, arrived)
        data = await deadline.within(self._read(context), "the request was read")
        if data is grpc.aio.EOF:
            raise RequestError("the call has no message; send a ModelInferRequest")
        return await self._answer(data, arrived, deadline)

    async def _read(self, context: grpc.aio.ServicerContext) -> Any:
        """Return the call's message once there is room for it."""
        async with self._reading:
            return await context.read()

    async def _stream(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """Answer ModelStreamInfer: one request after another, each with an answer or an error of its own."""
        name_call(context)
        if self._streams == self._most:
            await context.abort(*status_of(RequestError(f"{self._most} streams are open, the most at a time", 503)))
        self._streams += 1
        try:
            while True:
                try:
                    data = await asyncio.wait_for(context.read(), self._service.settings.keep_alive)
                except asyncio.TimeoutError:
                    return
                if data is grpc.aio.EOF:
                    return
                yield await self._streamed(data, context)
        finally:
            self._streams -= 1

    async def _streamed(self, data: bytes, context: grpc.aio.ServicerContext) -> Any:
        arrived = monotonic()
        response = message("ModelStreamInferResponse")
        try:
            found = await self._answer(data, arrived, self._deadline(context, arrived))
            found.parameters[FINAL].bool_param = True
            return response(infer_response=found)
        except Exception as error:  # noqa: BLE001  of this request; the stream goes on
            log_if_internal(error)
            return response(error_message=status_of(error)[1])

    async def _answer(self, data: bytes, arrived: float, deadline: Deadline) -> Any:
        service = self._service
        self.pending += 1
        try:
            with ExitStack() as held, service.bytes.share() as share:
                share.grow(len(data))
                request = await service.parsing.call(len(data), infer_request.decode, data)
                model = lookup.find(service, request.model_name, request.model_version)
                held.enter_context(service.tasks.hold([model.task]))
                try:
                    service.batcher.check_room({model.task.name: 1})
                    largest = model.largest_batch(service.settings)
                    reading = service.parsing.call(len(data), infer_request.read, request, model, largest)
                    parsed = await deadline.within(reading, "the request was parsed")
                except (RequestError, asyncio.CancelledError) as error:
                    service.failed_early([model.task], error, arrived, gone=isinstance(error, asyncio.CancelledError))
                    raise
                deadline = deadline.sooner(arrived, parsed.timeout_s)
                served = await service.answer(parsed.images, [model.task], arrived, deadline, parsed.priority)
                with service.making([model.task]):
                    return infer_answer.answer(parsed, model, served.logits)
        finally:
            self.pending -= 1

    def _deadline(self, context: grpc.aio.ServicerContext, arrived: float) -> Deadline:
        """Return the sooner of the server's deadline and the client's."""
        return Deadline(arrived + self._service.settings.request_timeout).sooner(arrived, context.time_remaining())
