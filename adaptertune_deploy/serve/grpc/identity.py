"""What a call is called: the metadata x-request-id and traceparent, as HTTP's headers (serve/http/identity.py)."""

from __future__ import annotations

import grpc.aio

from adaptertune_deploy.serve.http.identity import answer_headers, identify
from adaptertune_deploy.serve.logs.context import current


def name_call(context: grpc.aio.ServicerContext) -> None:
    """Let all that this call starts know what it is called, and its client too, by trailing metadata."""
    given = [(key, value) for key, value in context.invocation_metadata() or () if isinstance(value, str)]
    found = identify([(key.encode(), value.encode()) for key, value in given])
    current.set(found)
    context.set_trailing_metadata(tuple((key.decode(), value.decode()) for key, value in answer_headers(found)))
