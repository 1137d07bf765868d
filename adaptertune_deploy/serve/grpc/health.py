"""gRPC's own health checking.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md

A client that is told to (`healthCheckConfig`) watches, and sends nothing while the server says that it does not serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from time import monotonic
from typing import Any

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.timing.waiting import within

SERVICE = "inference.GRPCInferenceService"
LOOK_S = 0.5
REQUEST, _RESPONSE = (message(f"HealthCheck{name}", "grpc.health.v1") for name in ("Request", "Response"))


def check(service: Service, request: Any) -> Any:
    """Answer Check."""
    if not _knows(request):
        raise RequestError(f"unknown service '{request.service[:80]}', only {SERVICE}", 404)
    return _RESPONSE(status=_status(service, request))


async def watch(service: Service, request: Any, ended: asyncio.Event) -> AsyncIterator[Any]:
    """Yield the status and every other one that follows, until an event; an unknown service may come to be known.

    What is not said for as long as a connection may idle is said again: an answer that stands still is cut off.
    """
    said, when = None, monotonic()
    while True:
        last, found = ended.is_set(), _status(service, request)
        if found != said or monotonic() - when > service.settings.keep_alive:
            said, when = found, monotonic()
            yield _RESPONSE(status=found)
        if last:
            return
        with suppress(asyncio.TimeoutError):
            await within(ended.wait(), LOOK_S)


def _knows(request: Any) -> bool:
    return request.service in ("", SERVICE)


def _status(service: Service, request: Any) -> int:
    if not _knows(request):
        return int(_RESPONSE.SERVICE_UNKNOWN)
    return int(_RESPONSE.NOT_SERVING if service.not_ready else _RESPONSE.SERVING)
