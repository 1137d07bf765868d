"""One client's connection: uvicorn's protocol on httptools, with bounds on all that a client may send or withhold.

uvicorn takes heads of any size, waits for ever for what a client began and reads for ever after the final answer. Here
a head, the chunks and what surrounds them are bounded in bytes, every wait ends (serve/http/watch.py), an upload is cut
off once it was answered, and a refusal is {"error": ...} like any other.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.exchange import LAST, REFUSED
from adaptertune_deploy.serve.http.responses import raw_error
from adaptertune_deploy.serve.http.wire import framing
from adaptertune_deploy.serve.http.wire.lingering import Lingering
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.http.wire.watch import UNASKED, Watch

# A client that sends requests ahead of their answers has so many of them taken apart at a time.
MAX_AHEAD = 16
SLICE = 4096
CHUNKS_AT_ONCE = 1000
CHUNK_FRAME = 16  # bytes around a chunk that are no attempt to smuggle in something large
logger = logging.getLogger(__name__)


class Connection(HttpToolsProtocol):
    """A connection that knows what it waits for, and since when.

    Attributes:
        phase: what it waits for.
        since: time.monotonic() when that began.
        received: bytes of the body that is being read.
        lingering: its transport.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        watch: Watch,
    ) -> None:
        """See uvicorn; `watch` holds the limits and is told of every phase."""
        super().__init__(config, server_state, app_state, loop)
        self.logger = logger
        self.phase = Phase.OPENED
        self.since = monotonic()
        self.received = 0
        self.lingering: Lingering
        self._watch = watch
        self._held = bytearray()
        self._part = Phase.IDLE  # of a request: what the parser is in, which may be ahead of the phase
        self._head = self._around = self._chunks = 0
        self._body_bytes = 0  # of the slice that is being parsed
        self._arrived = self.since
        self._reusable = True
        self._upgrading = False  # a head was read that asks for another protocol
        self._refusal: RequestError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the transport must be one of a socket."""
        assert isinstance(transport, asyncio.Transport)
        self.lingering = Lingering(transport, self._unread, self.loop.call_soon)
        super().connection_made(self.lingering)
        self._enter(Phase.OPENED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._watch.leave(self)
        self._held.clear()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what a client sent, but no more requests ahead than a few."""
        if self.lingering.ending:
            self.lingering.discard(len(data))
            return
        self._unset_keepalive_if_required()
        if self._refusal is not None:
            self.flow.pause_reading()
            return
        self._held += data
        self._feed()

    def eof_received(self) -> None:
        """Close: who ends its side is gone, which is how a client that gives up looks too."""

    def _feed(self) -> None:
        """Parse what is held; of many chunks some, so that others are served in between."""
        begun = self._chunks
        while self._held and self._refusal is None:
            if len(self.pipeline) >= MAX_AHEAD:
                self.flow.pause_reading()
                return
            if self._chunks - begun > CHUNKS_AT_ONCE:
                self.lingering.hold(True)
                self.loop.call_soon(self._feed)
                return
            size = len(self._held) if self._part is Phase.BODY and not self._chunks else SLICE
            data = bytes(self._held[:size])
            del self._held[:size]
            self._feed_slice(data)
        self.lingering.hold(False)

    def _feed_slice(self, data: bytes) -> None:
        before, self._body_bytes = self._part, 0
        try:
            taken = self._parse(data)
            if self._part is before:
                self._count(taken - self._body_bytes)
        except RequestError as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, RequestError) else RequestError("malformed HTTP request"))

    def _parse(self, data: bytes) -> int:
        """Parse a slice, and return how many bytes of it were: httptools ends a request with Upgrade behind its head.

        That head is parsed again without it, and what lies behind is held for then.
        """
        try:
            self.parser.feed_data(data)
            return len(data)
        except httptools.HttpParserUpgrade as upgrade:
            end: int = upgrade.args[0]
        if not self._upgrading:
            self.cycle.keep_alive = False  # CONNECT: what follows is of another protocol
            self._held.clear()
            return end
        self._held[:0] = data[end:]
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self.parser.feed_data(framing.without_upgrade(method, self.url, version, self.headers))
        return end

    def _count(self, framing_bytes: int) -> None:
        """Count what is no body; a header that has not ended is seen nowhere else."""
        if self._part is not Phase.BODY:
            self._count_head(framing_bytes)
            return
        self._around += framing_bytes
        if self._around > self._watch.settings.max_header_bytes + CHUNK_FRAME * self._chunks:
            raise RequestError("the body has too much around its chunks; send it without extensions and trailers")

    def _count_head(self, more: int) -> None:
        self._head += more
        limit = self._watch.settings.max_header_bytes
        if self._head > limit:
            raise RequestError(f"the request's head is larger than {limit:,} bytes, the most this server takes", 431)

    # What the parser calls out.

    def on_message_begin(self) -> None:
        """Begin a request; its deadline counts from here."""
        super().on_message_begin()
        self._head = self._around = self._chunks = self.received = 0
        if not self._upgrading:  # else it is read for the second time
            self._arrived = monotonic()
        self._reusable = self._upgrading = False
        self._part = Phase.HEAD
        if not self._owes():
            self._enter(Phase.HEAD)

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows the last chunk of a body is dropped."""
        if self._part is Phase.HEAD:
            self._count_head(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, which may answer before its body is read."""
        version = self.parser.get_http_version()
        framing.check_head(version, self.headers)
        self._upgrading = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._upgrading:
            return
        self.expect_100_continue &= version != "1.0"  # whose clients know no 1xx (RFC 9110, section 15.2)
        self.scope["state"].update({"arrived": self._arrived, LAST: self._gives_way})
        self._part = Phase.BODY
        super().on_headers_complete()
        self._reusable = self.cycle.keep_alive
        self.cycle.keep_alive = False  # until the whole request is read, an answer is the last one here
        if not self.pipeline:
            self._enter(Phase.BODY if framing.has_body(self.headers) else Phase.ANSWER)

    def on_chunk_header(self) -> None:
        """Count a chunk."""
        self._chunks += 1
        limit = self._watch.settings.max_chunks
        if self._chunks > limit:
            raise RequestError(f"the body has more than {limit:,} chunks; send larger ones")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.received += len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request has been read to its end."""
        if self._upgrading:
            return
        super().on_message_complete()
        self._part = Phase.IDLE
        self.cycle.keep_alive = self._reusable and not self._watch.draining
        if not self.pipeline and not self.cycle.response_complete:
            self._enter(Phase.ANSWER)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if not self._owes():
            self._enter(self._part)
        elif self.pipeline or self.cycle.more_body is False:
            self._enter(Phase.ANSWER)
        else:
            self._enter(Phase.BODY)
        self._feed()
        if self._refusal is not None and not self._owes():
            self._end_with(self._refusal)

    # How it ends.

    def timeout_keep_alive_handler(self) -> None:
        """Leave it to the watch, which looks whether a request has come."""

    def shutdown(self) -> None:
        """Close, or answer what is asked and close then; so too what has come and is not read yet."""
        if not (self.phase in UNASKED and self.lingering.arrived()):
            super().shutdown()

    def refuse(self, error: RequestError) -> None:
        """Answer with an error in place of the request that is being read, and close; Watch calls it."""
        self._refuse(error)

    def abort(self) -> None:
        """Close at once; what the client did not read is lost."""
        self.lingering.abort()

    def _refuse(self, error: RequestError) -> None:
        self._refusal = error
        self._held.clear()
        if not self._owes():
            self._end_with(error)
        elif self.phase is Phase.BODY and not self.cycle.response_started:
            self.cycle.scope["state"][REFUSED] = error.status  # the application counts and logs it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._send_last(error)
        # Else the answers that are owed go first; see on_response_complete.

    def _end_with(self, error: RequestError) -> None:
        self._watch.refused(error.status)
        self._send_last(error)

    def _send_last(self, error: RequestError) -> None:
        self.lingering.write(raw_error(str(error), error.status))
        self.lingering.linger()
        self._enter(Phase.ENDING)

    def _gives_way(self) -> bool:
        """Whether the next answer had better be the last one here; no request may be lost by that."""
        return self._watch.scarce and not (self.pipeline or self._held or self.lingering.arrived())

    def _owes(self) -> bool:
        """Whether an answer is owed to a request whose head was read."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _unread(self) -> bool:
        """Whether the client may still be sending what nobody will read."""
        unread = self.phase in (Phase.HEAD, Phase.BODY)
        if unread:
            self._enter(Phase.ENDING)
        return unread

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = monotonic()
        self._watch.enter(self)
