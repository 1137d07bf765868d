"""Calls on their way to the methods that answer them: let in, read within limits, answered, ended with a status.

Every method takes its one message itself, so that one that never comes, or is none, has an end and a status of its own;
only what is larger than a message may be, and what is compressed, is gRPC's to refuse.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc import bounds
from adaptertune_deploy.serve.grpc.exchange import Exchange
from adaptertune_deploy.serve.grpc.places import LEFT, Place, Places
from adaptertune_deploy.serve.grpc.status import log_if_internal, status_of
from adaptertune_deploy.serve.listening.admin_access import NEEDED, lets_in
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.timing.deadline import Deadline

SHORT_PLACES = 4  # for the messages of methods other than inference: nobody who sends images slowly is in their way


@dataclass(frozen=True)
class Call:
    """One request of a call.

    request: its message.
    size: bytes of that.
    arrived: when it came, a time.monotonic() value.
    deadline: the sooner of the server's and the client's.
    """

    request: Any
    size: int
    arrived: float
    deadline: Deadline


@dataclass(frozen=True)
class Method:
    """What answers one method.

    request: the class of its messages.
    answer: returns a message.
    large: whether its messages hold images.
    check: refuses bytes that had better not be parsed; see grpc.bounds.
    """

    request: Any
    answer: Callable[[Service, Call], Awaitable[Any]]
    large: bool = False
    check: Callable[[bytes], None] = bounds.check_short


@dataclass(frozen=True)
class Stream:
    """What answers one method that takes one request after another.

    request: the class of its messages.
    answer: returns the message that answers a request.
    failed: returns the message that says an error's text, after which the stream goes on; given the request too, None
        for one that can't be read.
    check: refuses bytes that had better not be parsed; see grpc.bounds.
    """

    request: Any
    answer: Callable[[Service, Call], Awaitable[Any]]
    failed: Callable[[str, Any], Any]
    check: Callable[[bytes], None]


@dataclass(frozen=True)
class Watch:
    """What answers one method that takes one request and goes on answering it.

    request: the class of its message.
    answers: yields messages until an event is set.
    check: refuses bytes that had better not be parsed; see grpc.bounds.
    """

    request: Any
    answers: Callable[[Service, Any, asyncio.Event], AsyncIterator[Any]]
    check: Callable[[bytes], None] = bounds.check_short


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """Takes every call of one listener; belongs to the event loop.

    Attributes:
        pending: requests whose message was read and that are not answered.

    Args:
        service: answers.
        methods: by their paths.
        streams: by their paths.
        watches: by their paths.
        token: which each call must have; None for none.
    """

    def __init__(
        self,
        service: Service,
        methods: Mapping[str, Method],
        streams: Mapping[str, Stream] | None = None,
        watches: Mapping[str, Watch] | None = None,
        token: str | None = None,
    ) -> None:
        self.pending = 0
        self._service, self._methods, self._streams, self._token = service, methods, dict(streams or {}), token
        settings, self._open = service.settings, 0
        most = max(1, settings.bytes_limit // settings.body_limit)
        self._large, self._short = (Places(count, settings.body_grace) for count in (most, min(most, SHORT_PLACES)))
        self._streaming = Places(most, settings.body_grace)
        self._watches, self._ended = dict(watches or {}), asyncio.Event()
        # Each holds a call and a connection that nobody else gets.
        self._watching = Places(max(1, settings.max_connections // 2), math.inf)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return what answers a call; see grpc.GenericRpcHandler."""
        path: str = details.method
        answers = self._stream if path in self._streams else self._watch if path in self._watches else None
        if answers is not None:

            async def streamed(_: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
                async for data in answers(path, context):
                    yield data

            return grpc.stream_stream_rpc_method_handler(streamed)

        async def once(_: Any, context: grpc.aio.ServicerContext) -> bytes:
            return await self._once(path, context)

        return grpc.stream_unary_rpc_method_handler(once)

    def end_streams(self) -> None:
        """Have every stream end when what its client has sent is answered, since the server ends."""
        self._streaming.close()
        self._ended.set()

    async def _once(self, path: str, context: grpc.aio.ServicerContext) -> bytes:
        method = self._methods.get(path)
        exchange, status = Exchange(context, path, method is not None), (grpc.StatusCode.OK, "")
        with self._ending(exchange):
            try:
                self._let_in(context)
                if method is None:
                    raise RequestError("Method not found!", 501)
                data: bytes = (await self._answer(method, context, exchange.arrived)).SerializeToString()
                exchange.size = len(data)
                return data
            except Exception as error:  # noqa: BLE001  every one ends in a status
                log_if_internal(error)
                status = status_of(error)
                exchange.code = status[0]
        await context.abort(*status)
        raise AssertionError  # abort raises

    async def _answer(self, method: Method, context: grpc.aio.ServicerContext, arrived: float) -> Any:
        deadline = self._deadline(context, arrived)
        places = self._large if method.large else self._short
        data = await deadline.within(_read_one(places, context), "the request was read")
        with self._pending(data):
            request = await self._parsed(method, data)
            return await method.answer(self._service, Call(request, len(data), arrived, deadline))

    async def _stream(self, path: str, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        stream, exchange = self._streams[path], Exchange(context, path, known=True)
        status = (grpc.StatusCode.OK, "")
        with self._ending(exchange):
            try:
                self._let_in(context)
                async with self._streaming.take(patient=False) as place:
                    async for data in self._messages(place, context):
                        answer = (await self._streamed(stream, data, context)).SerializeToString()
                        exchange.size += len(answer)
                        yield answer
                return
            except RequestError as error:
                status = status_of(error)
                exchange.code = status[0]
        await context.abort(*status)

    async def _watch(self, path: str, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        watch, exchange = self._watches[path], Exchange(context, path, known=True)
        with self._ending(exchange):
            try:
                self._let_in(context)
                deadline = self._deadline(context, exchange.arrived)
                data = await deadline.within(_read_one(self._short, context), "the request was read")
                request = await self._parsed(watch, data)
                async with self._watching.take(patient=False):
                    async for answer in watch.answers(self._service, request, self._ended):
                        exchange.size += answer.ByteSize()
                        yield answer.SerializeToString()
                raise RequestError(LEFT, 503)
            except RequestError as error:
                status = status_of(error)
                exchange.code = status[0]
        await context.abort(*status)

    async def _messages(self, place: Place, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        """Yield messages until the client ends the stream, or sends none for as long as a connection may idle."""
        while True:
            try:
                data = await place.read(context, self._service.settings.keep_alive)
            except asyncio.TimeoutError:
                return
            if data is grpc.aio.EOF:
                return
            yield data

    async def _streamed(self, stream: Stream, data: bytes, context: grpc.aio.ServicerContext) -> Any:
        arrived, request = monotonic(), None
        try:
            with self._pending(data):
                request = await self._parsed(stream, data)
                call = Call(request, len(data), arrived, self._deadline(context, arrived))
                return await stream.answer(self._service, call)
        except Exception as error:  # noqa: BLE001  of this request; the stream goes on
            log_if_internal(error)
            return stream.failed(status_of(error)[1], request)

    @contextmanager
    def _pending(self, data: bytes) -> Iterator[None]:
        """Count a request, and its bytes, until it is answered."""
        self.pending += 1
        try:
            with self._service.bytes.share() as share:
                share.grow(len(data))
                yield
        finally:
            self.pending -= 1

    async def _parsed(self, method: Method | Stream | Watch, data: bytes) -> Any:
        return await self._service.parsing.call(len(data), decode, method.request, data, method.check)

    def _let_in(self, context: grpc.aio.ServicerContext) -> None:
        """Raise RequestError for a call without the token, and for one too many."""
        most = self._service.settings.max_connections
        if self._open > most:
            raise RequestError(f"{most} calls are open, the most at a time; try again later", 503)
        if self._token is not None:
            metadata = context.invocation_metadata() or ()
            given = [value.encode() for key, value in metadata if key == "authorization" and isinstance(value, str)]
            if not lets_in(self._token, given):
                raise RequestError(NEEDED, 401)

    @contextmanager
    def _ending(self, exchange: Exchange) -> Iterator[None]:
        """Count a call as open, and see that its end is known."""
        self._open += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            exchange.code = grpc.StatusCode.CANCELLED
            raise
        finally:
            self._open -= 1
            exchange.end(self._service.metrics)

    def _deadline(self, context: grpc.aio.ServicerContext, arrived: float) -> Deadline:
        """Return the sooner of the server's deadline and the client's."""
        return Deadline(arrived + self._service.settings.request_timeout).sooner(arrived, context.time_remaining())


async def _read_one(places: Places, context: grpc.aio.ServicerContext) -> bytes:
    """Return a call's message once there is a place for it."""
    async with places.take() as place:
        data = await place.read(context)
    if data is grpc.aio.EOF:
        raise RequestError("the call has no message; send one")
    return bytes(data)


def decode(kind: Any, data: bytes, check: Callable[[bytes], None]) -> Any:
    """Return a message of a class, whose bytes `check` takes; see grpc.bounds.

    Raises:
        RequestError: 400; what `check` raises.
    """
    try:
        check(data)
        return kind.FromString(data)
    except DecodeError:
        raise RequestError(f"the message is no {kind.DESCRIPTOR.name} of the Open Inference Protocol") from None
