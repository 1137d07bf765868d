"""One call and what came of it, as those see it who run a server: named, counted, logged where that is asked."""

from __future__ import annotations

import logging
from time import monotonic

import grpc
import grpc.aio

from adaptertune_deploy.serve.grpc.guard.inner import client_of
from adaptertune_deploy.serve.grpc.identity import name_call
from adaptertune_deploy.serve.logs.setup import ACCESS
from adaptertune_deploy.serve.metrics import Metrics

UNKNOWN = "unknown"  # in the place of a method that there is not
PROBES = ("ServerLive", "ServerReady", "Check")
logger = logging.getLogger(ACCESS)


class Exchange:
    """A call from its begin to its end.

    Attributes:
        code: what it ends with.
        size: bytes of its answers so far.
        arrived: when it began, a time.monotonic() value.
    """

    def __init__(self, context: grpc.aio.ServicerContext, path: str, known: bool) -> None:
        """Begin, and name the call; `known` says whether its path is that of a method."""
        self.arrived = monotonic()
        self.code, self.size = grpc.StatusCode.OK, 0
        self._client, self._path = client_of(context.peer()), path
        self._route = path if known else UNKNOWN
        name_call(context)

    def end(self, metrics: Metrics) -> None:
        """Count the call under its method and code, and log it."""
        method, code = self._route.rpartition("/")[2], self.code.name
        metrics.called(method, code)
        level = logging.DEBUG if method in PROBES and code == "OK" else logging.INFO
        if not logger.isEnabledFor(level):
            return
        seconds, asked = monotonic() - self.arrived, self._path[:200]
        facts = {
            "client": self._client,
            "method": "gRPC",
            "path": asked,
            "route": self._route,
            "grpc_status": code,
            "bytes": self.size,
            "seconds": round(seconds, 6),
        }
        words = (self._client, asked, code, self.size, 1000 * seconds)
        logger.log(level, "%s gRPC %s %s %d bytes %.1f ms", *words, extra={"facts": facts})
