"""One request and its answer, as those see it who run a server: named, counted, and logged where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaptertune_deploy.serve.http.identity import answer_headers, identify
from adaptertune_deploy.serve.logs.context import current
from adaptertune_deploy.serve.logs.setup import ACCESS
from adaptertune_deploy.serve.service import Service

UNKNOWN = "unknown"  # the route of a path that there is not, or of a request that no handler sees
LAST = "last"  # in a scope's state: a function that tells whether the connection had better close after the answer
REFUSED = "refused"  # in a scope's state: the status with which the connection answered in place of the application
PROBES = ("/v2/health/live", "/v2/health/ready", "/metrics")
logger = logging.getLogger(ACCESS)


def paths_of(routes: list[Any]) -> Callable[[Scope], str]:
    """Return a function that tells the path of the route that answered, as it is declared: /v2/models/{model}."""
    known: Mapping[tuple[object, frozenset[str]], str] = {
        (route.endpoint, frozenset(route.param_convertors)): route.path for route in routes if isinstance(route, Route)
    }
    return lambda scope: known.get((scope.get("endpoint"), frozenset(scope.get("path_params", {}))), UNKNOWN)


def _never() -> bool:
    return False


@dataclass
class _Seen:
    """What went out so far. status: 0 before the answer began. size: bytes of its body."""

    status: int = 0
    size: int = 0


class Exchange:
    """The outermost application: whatever answers inside, also to a fault of our own, its answer passes here.

    While the server drains every answer says `Connection: close`, so that clients reconnect elsewhere; so it does while
    connections are scarce, so that nobody has to be cut off.
    """

    def __init__(self, app: ASGIApp, service: Service, path_of: Callable[[Scope], str]) -> None:
        """Wrap an application; `path_of` tells which of its routes answered."""
        self._app = app
        self._service = service
        self._path_of = path_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.get("state", {})
        began, is_last, seen = state.get("arrived", monotonic()), state.get(LAST, _never), _Seen()
        context = identify(scope["headers"])
        current.set(context)  # for the rest of this request's task, a fault of which is logged at its very end

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = state.get(REFUSED, message["status"])
                self._service.metrics.responded(self._path_of(scope), seen.status)
                closing = [(b"connection", b"close")] if self._service.draining or is_last() else []
                message["headers"] = [*message.get("headers", []), *answer_headers(context), *closing]
            else:
                seen.size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            self._log(scope, seen, monotonic() - began)

    def _log(self, scope: Scope, seen: _Seen, seconds: float) -> None:
        path = self._path_of(scope)
        level = logging.DEBUG if path in PROBES and seen.status == 200 else logging.INFO
        if not logger.isEnabledFor(level):
            return
        client = (scope.get("client") or ("-",))[0]
        asked = scope.get("raw_path", scope["path"].encode()).decode("latin-1")[:200]
        facts = {
            "client": client,
            "method": scope["method"],
            "path": asked,
            "route": path,
            "status": seen.status,
            "bytes": seen.size,
            "seconds": round(seconds, 6),
        }
        words = (client, scope["method"], asked, seen.status, seen.size, 1000 * seconds)
        logger.log(level, "%s %s %s %d %d bytes %.1f ms", *words, extra={"facts": facts})
