"""How a request comes in: its time, its place among the others, its bytes; the same for every way of asking."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.decoding.parsing import AT_ONCE
from adaptertune_deploy.serve.http.body import coding_of, decompress, read_body, unless_gone
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline

TIMEOUT = "X-Request-Timeout"  # seconds
SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
# A body that is to be unpacked takes as long as a large one.
PACKED = 1 << 30
NO_SUCH_TASK = 404  # what a form that names none of the tasks gets: no task's failure
Parsed = TypeVar("Parsed")
Answer = TypeVar("Answer")


def arrival(request: Request) -> float:
    """Return time.monotonic() at a request's first byte, or now where the server in front does not say it."""
    arrived: float = request.scope.get("state", {}).get("arrived", monotonic())
    return arrived


def deadline_of(request: Request, arrived: float, longest: float) -> Deadline:
    """Return the deadline that the server sets, or the one of the X-Request-Timeout header where that comes first.

    Raises:
        RequestError: 400, the header is no number of seconds.
    """
    deadline = Deadline(arrived + longest)
    text = request.headers.get(TIMEOUT)
    if text is None:
        return deadline
    if not SECONDS.fullmatch(text) or float(text) == 0:
        raise RequestError(f"{TIMEOUT} is '{text[:60]}', expected seconds, such as 0.25")
    return deadline.sooner(arrived, float(text))


async def take_in(
    request: Request,
    tasks: Sequence[ServedTask],
    parse: Callable[[bytes], Parsed],
    work: Callable[[Parsed, float, Deadline], Coroutine[Any, Any, Answer]],
    certain: bool = True,
    effort: Callable[[bytes], int] = len,
) -> Answer:
    """Read, parse and answer one request about some tasks, which it holds until then.

    Args:
        request: whose body is not read yet.
        tasks: of the current generation.
        parse: takes the decompressed body apart; may run in another thread.
        work: answers; given what `parse` returned, time.monotonic() at the first byte, and the deadline.
        certain: whether the request asks all of these tasks; else its body says which of them.
        effort: how many bytes of a body `parse` looks at; few are not worth a thread.

    Raises:
        RequestError: 4xx; 503 where the server has no room for it; 504 when the deadline passes.
        ClientDisconnect: the client is gone.
    """
    service: Service = request.app.state.service
    arrived = arrival(request)
    with service.tasks.hold(tasks), service.bytes.share() as share:
        try:
            deadline = deadline_of(request, arrived, service.settings.request_timeout)
            coding = coding_of(request.headers.getlist("content-encoding"))
            service.batcher.check_room({task.name: 1 for task in tasks} if certain else {})
            limit = service.settings.body_limit
            body = await deadline.within(read_body(request, limit, share), "the request was read")

            async def unpack() -> Parsed:
                plain = body
                if coding:
                    plain = await service.parsing.call(PACKED, decompress, body, coding, limit)
                    share.grow(len(plain))
                return await service.parsing.call(effort(plain), parse, plain)

            if not coding and effort(body) <= AT_ONCE:
                parsed = parse(body)
            else:
                parsed = await unless_gone(request, deadline.within(unpack(), "the request was parsed"))
        except Exception as error:
            if getattr(error, "status", None) != NO_SUCH_TASK:
                service.failed_early(tasks, error, arrived, gone=isinstance(error, ClientDisconnect))
            raise
        return await unless_gone(request, work(parsed, arrived, deadline))
