"""One client's connection, and the one behind it to gRPC's library: bytes go both ways, and heads of frames are read.

What is read is passed on as it is. Who takes nothing more keeps the other side from being read.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from time import monotonic
from typing import Protocol

from adaptertune_deploy.serve.grpc.guard.frames import (
    ACK,
    ACKNOWLEDGED,
    HEAD,
    NO_ERROR,
    NO_SETTINGS,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    Frames,
    farewell,
)
from adaptertune_deploy.serve.grpc.guard.rules import MAX_SETTINGS, Rules, Violation
from adaptertune_deploy.serve.grpc.guard.streams import Streams
from adaptertune_deploy.serve.settings import Settings

LINGER_S = 2.0
MAX_DISCARDED = 1 << 20
GREETING = len(PREFACE) + HEAD.size
IDLED = Violation("room", "the connection idled, and others waited for its place", NO_ERROR)


class Stage(Enum):
    """How far a connection is.

    OPENED: the client has not greeted.
    JOINED: bytes go both ways.
    ENDING: the client is to read a last word.
    """

    OPENED = "opened"
    JOINED = "joined"
    ENDING = "ending"


class Host(Protocol):
    """What holds connections; see guard.Guard."""

    settings: Settings
    calls: int

    def enter(self, connection: Connection) -> None:
        """Count a connection."""

    def join(self, connection: Connection) -> None:
        """Connect it to gRPC's library, and call `joined`."""

    def cut_off(self, connection: Connection, violation: Violation) -> None:
        """Count the end of a connection."""

    def leave(self, connection: Connection) -> None:
        """Forget it."""


class Connection(asyncio.Protocol):
    """A client's side.

    Attributes:
        client: its address; empty where it has none.
        stage: how far it is.
        opened: when it was, a time.monotonic() value.
        since: a time.monotonic() value: when it was opened, last heard of, or began to end.
    """

    def __init__(self, host: Host) -> None:
        """Begin; `host` holds the limits and is told what becomes of it."""
        self.client, self.stage, self.opened = "", Stage.OPENED, monotonic()
        self.since = self.opened
        self._host, self._streams = host, Streams()
        self._rules = Rules(host.settings, self._streams, host.calls, self.since)
        self._answers = Frames(self._on_answer)
        self._outside: asyncio.Transport
        self._inside: asyncio.Transport | None = None
        self._held = b""  # until the library has said its settings
        self._greeting = self._discarded = 0
        self._settings = False  # whether it has
        # Whether the client was sent anything, has ended its side, has left.
        self._told = self._ended = self._gone = False
        self._full_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether it has no call open."""
        return not self._streams

    @property
    def asked(self) -> bool:
        """Whether it ever had one."""
        return self._streams.last > 0

    @property
    def flushed(self) -> bool:
        """Whether everything of the library's was handed to the kernel."""
        return self._inside is None and not self._outside.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.BaseProtocol."""
        assert isinstance(transport, asyncio.Transport)
        self._outside = transport
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else ""
        self._host.enter(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what a client sent, unless it must not go on."""
        try:
            if self.stage is Stage.OPENED:
                self._greet(data)
            elif self._inside is not None:
                self.since = monotonic()
                self._inside.write(self._rules.feed(data, self.since))
            else:
                self._discard(len(data))
        except Violation as found:
            self.end(found)

    def _greet(self, data: bytes) -> None:
        """Wait for the preface and the client's settings; only who has sent both costs the library anything."""
        self._held += data
        if not PREFACE.startswith(self._held[: len(PREFACE)]):
            raise Violation("greeting", "this is not HTTP/2", None)
        if len(self._held) < GREETING:
            return
        high, low, kind, flags, _ = HEAD.unpack_from(self._held, len(PREFACE))
        length = high << 8 | low
        if kind != SETTINGS or flags & ACK or length > MAX_SETTINGS:
            raise Violation("greeting", "a client's first frame has its settings", PROTOCOL_ERROR)
        if len(self._held) >= GREETING + length:
            self._greeting = GREETING + length
            self._outside.pause_reading()
            self._host.join(self)

    def joined(self, inside: asyncio.Transport) -> None:
        """Take the connection to gRPC's library, and greet it."""
        if self.stage is not Stage.OPENED:
            inside.abort()
            return
        self._inside = inside
        inside.write(self._held[: self._greeting])

    def _settle(self) -> None:
        """Acknowledge the library's settings in the client's name, and let it begin.

        Before they are acknowledged the library bounds no head, and a client may never do it.
        """
        assert self._inside is not None
        self.stage, more, self._held = Stage.JOINED, self._held[self._greeting :], b""
        self._outside.resume_reading()
        self._inside.write(ACKNOWLEDGED)
        if more:
            self.data_received(more)

    def answered(self, data: bytes) -> None:
        """Pass on what the library sent."""
        if self.stage is Stage.ENDING:
            return
        refused, self._told = self._streams.refused, True
        self._outside.write(self._answers.feed(data))
        if self.stage is Stage.OPENED and self._settings:
            self._settle()
        if self._streams.refused > refused:
            try:
                self._rules.reset(self._streams.refused - refused, monotonic())
            except Violation as found:
                self.end(found)

    def _on_answer(self, kind: int, flags: int, stream: int, length: int) -> bool:
        if stream:
            self._streams.answered(kind, flags, stream, monotonic())
        elif kind == SETTINGS and not flags & ACK:
            self._settings = True
        return False

    def eof_received(self) -> bool:
        """Tell the library that the client sends no more; it may still answer."""
        self._ended = True
        if self._inside is None:
            return False
        self._inside.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the library's side: what is not answered is not wanted any more."""
        self.stage, self._gone = Stage.ENDING, True
        self._let_go()
        self._host.leave(self)

    def left(self) -> None:
        """Follow the library, which closed."""
        self._inside = None
        if self.stage is not Stage.ENDING:
            self._linger()

    def end(self, violation: Violation) -> None:
        """Say why, where the client may understand it, and close."""
        if self.stage is Stage.ENDING:
            return
        self._host.cut_off(self, violation)
        self._let_go()
        self._say(violation)
        self._linger()

    def abort(self) -> None:
        """Close at once."""
        if not self._gone:
            self._outside.abort()

    def make_room(self) -> None:
        """Let another one have this place: at once, so that there are never more connections than there may be."""
        if self.stage is not Stage.ENDING:
            self._host.cut_off(self, IDLED)
        if self.stage is not Stage.JOINED:
            self.abort()
            return
        self.stage = Stage.ENDING
        self._let_go()
        self._say(IDLED)
        self._outside.close()

    def hold_client(self, holding: bool) -> None:
        """Read nothing more of the client's while the library takes nothing, or read again."""
        if self.stage is not Stage.JOINED:
            return
        if holding:
            self._outside.pause_reading()
        else:
            self._outside.resume_reading()

    def pause_writing(self) -> None:
        """Read nothing more of the library's: the client does not take it."""
        self._full_since = monotonic()
        if self._inside is not None:
            self._inside.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        self._full_since = None
        if self._inside is not None:
            self._inside.resume_reading()

    def check(self, now: float) -> None:
        """End what takes too long, at a time.monotonic() value."""
        settings = self._host.settings
        if self.stage is Stage.ENDING:
            if now - self.since > LINGER_S:
                self.abort()
        elif self.stage is Stage.OPENED:
            if now - self.since > settings.header_timeout:
                self.end(Violation("greeting", "the greeting did not come in time", None))
        elif now - (self._rules.head_since or now) > settings.header_timeout:
            self.end(Violation("head", "a head did not come in time"))
        elif now - (self._full_since or now) > settings.answer_timeout:
            self.end(Violation("answer", "answers were not taken in time"))
        # The longest that an answer may stand still through no fault of the client's: a stream waits for a request,
        # and that for its answer.
        elif self._streams.stand_since(now - settings.keep_alive - settings.request_timeout - settings.answer_timeout):
            self.end(Violation("answer", "the rest of an answer was not taken in time"))

    def _say(self, violation: Violation) -> None:
        if violation.code is not None and self._answers.whole:
            first = b"" if self._told else NO_SETTINGS
            self._outside.write(first + farewell(self._streams.last, violation.code, str(violation)))

    def _let_go(self) -> None:
        inside, self._inside = self._inside, None
        if inside is not None:
            inside.abort()

    def _linger(self) -> None:
        """Close this side, and throw away what still comes: a socket closed with unread bytes loses the last word."""
        self.stage, self.since, self._held = Stage.ENDING, monotonic(), b""
        if self._ended:
            self._outside.close()
            return
        self._outside.write_eof()
        self._outside.resume_reading()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > MAX_DISCARDED:
            self.abort()
