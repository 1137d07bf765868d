"""Which request a line of the log is about: known to all that a request starts, without being handed on."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class RequestContext:
    """What tells one request from the others.

    request_id: the client's own, or one that was made here; "" outside of requests.
    traceparent: the header of W3C Trace Context as it came; "" for none.
    """

    request_id: str = ""
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        """The trace that the request is part of, 32 hexadecimal digits; "" for none."""
        return self.traceparent[3:35]


NOWHERE = RequestContext()
current: ContextVar[RequestContext] = ContextVar("request", default=NOWHERE)


def request_id() -> str:
    """Return the id of the request that is being answered, "" outside of requests."""
    return current.get().request_id
