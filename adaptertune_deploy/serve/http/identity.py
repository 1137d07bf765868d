"""What a request is called: X-Request-ID, and traceparent of W3C Trace Context (w3.org/TR/trace-context, section 3.2).

Both are words of strangers that get into logs and back into answers, so what does not look as it should counts as
absent: a request without a sensible id gets a new one, and a trace that can't be read is none.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence

from adaptertune_deploy.serve.logs.context import RequestContext

Headers = Sequence[tuple[bytes, bytes]]
REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
SENSIBLE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
TRACE = re.compile(rb"([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")


def identify(headers: Headers) -> RequestContext:
    """Return what a request with these headers is called; their names must be in lower case."""
    asked = _only(headers, REQUEST_ID)
    sensible = asked is not None and SENSIBLE_ID.fullmatch(asked)
    name = asked.decode() if asked is not None and sensible else uuid.uuid4().hex
    return RequestContext(name, _trace(_only(headers, TRACEPARENT)))


def answer_headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    """Return the headers by which an answer says whose it is."""
    trace = [(TRACEPARENT, context.traceparent.encode())] if context.traceparent else []
    return [(REQUEST_ID, context.request_id.encode()), *trace]


def _only(headers: Headers, name: bytes) -> bytes | None:
    """Return a header's value, None where it is absent or given more than once."""
    values = [value for key, value in headers if key == name]
    return values[0] if len(values) == 1 else None


def _trace(value: bytes | None) -> str:
    """Return a traceparent as version 00 spells it; a later version may say more, which is left out."""
    found = TRACE.fullmatch(value or b"")
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[3]):
        return ""
    return f"00-{found[2].decode()}"
