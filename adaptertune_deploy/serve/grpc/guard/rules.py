"""What a client may send over one connection, whatever it sends it for.

A frame costs the server work whether or not it brings anything. So calls and what they carry pay for the frames around
them, a little is free, and whoever sends nothing but overhead soon has to stop. Others were brought down so:
CVE-2019-9511 to -9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671. Settings and parts of a head are as many as
nghttp2 takes, and so is what may come at once; a second brings three times as much as there, since one connection may
be that of a proxy with many clients.
"""

from __future__ import annotations

from adaptertune_deploy.serve.grpc.guard.allowance import Allowance
from adaptertune_deploy.serve.grpc.guard.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    HEADERS,
    PROTOCOL_ERROR,
    RESET,
    SETTINGS,
    Frames,
)
from adaptertune_deploy.serve.grpc.guard.streams import Streams
from adaptertune_deploy.serve.settings import Settings

HEADS = 2  # times --max-header-bytes: up to that gRPC's library refuses the call alone
MAX_CONTINUATIONS = 8
MAX_SETTINGS = 32 * 6  # octets; a setting has six
MAX_LENGTH = 16_384  # octets of a frame that every receiver takes; of data the library itself says how many
# Frames that bring nothing: at once, a second, and for each call and each so many octets of data.
OVERHEAD, OVERHEAD_RATE, A_CALL, OCTETS = 1000.0, 100.0, 8.0, 256.0
# Calls that end before they are answered. An honest client gives up many at once where the server is late.
RESETS, RESET_RATE = 1000.0, 100.0
MORE_CALLS = 1000  # than a connection may have open, before the library has refused them


class Violation(Exception):  # noqa: N818  it is no error of this program's
    """Something that ends a connection.

    Attributes:
        reason: under which it is counted.
        code: of RFC 9113, section 7; None to close without a word.
    """

    def __init__(self, reason: str, text: str, code: int | None = ENHANCE_YOUR_CALM) -> None:
        super().__init__(text)
        self.reason, self.code = reason, code


class Rules:
    """What one client has sent, and what it may still send.

    The guard has acknowledged the library's first settings in the client's name; the client's own word is left out.

    Attributes:
        head_since: when a head began that has not ended, a time.monotonic() value; None for none.

    Args:
        settings: the server's limits.
        streams: is told of calls.
        calls: that the connection may have open.
        now: a time.monotonic() value.
    """

    def __init__(self, settings: Settings, streams: Streams, calls: int, now: float) -> None:
        self.head_since: float | None = None
        self._streams, self._most_calls = streams, calls + MORE_CALLS
        self._most_octets = HEADS * settings.max_header_bytes
        self._overhead, self._resets = Allowance(OVERHEAD, OVERHEAD_RATE, now), Allowance(RESETS, RESET_RATE, now)
        self._frames, self._now = Frames(self._on_frame), now
        self._acknowledged = False
        self._stream = self._octets = self._parts = 0  # of the head that is coming or came last

    def feed(self, data: bytes, now: float) -> bytes:
        """Take the next bytes after the preface and the first settings; return what may go on.

        Raises:
            Violation: they must not go on.
        """
        self._now = now
        self._overhead.refill(now)
        return self._frames.feed(data)

    def reset(self, count: int, now: float) -> None:
        """Take so many calls that ended unanswered.

        Raises:
            Violation: they are too many.
        """
        self._resets.refill(now)
        if not self._resets.spend(count):
            raise Violation("resets", "calls are given up or refused too fast")

    def _on_frame(self, kind: int, flags: int, stream: int, length: int) -> bool:
        if kind in (HEADERS, CONTINUATION) or self.head_since is not None:
            self._on_head(kind, flags, stream, length)
        elif kind == DATA:
            self._pay(1.0 - length / OCTETS)
        elif length > (MAX_SETTINGS if kind == SETTINGS else MAX_LENGTH):
            raise Violation("frame", f"a frame of kind {kind} has {length} octets", FRAME_SIZE_ERROR)
        else:
            self._pay(1.0)
            if kind == RESET:
                self._streams.reset(stream)
                self.reset(1, self._now)
            if kind == SETTINGS and flags & ACK and not self._acknowledged:
                self._acknowledged = True
                return length == 0
        return False

    def _on_head(self, kind: int, flags: int, stream: int, length: int) -> None:
        if kind == HEADERS and self.head_since is None:
            self._begin(stream)
        elif kind == CONTINUATION and self.head_since is not None and stream == self._stream:
            self._parts += 1
        else:
            raise Violation("frame", "a head is broken off, or goes on that never began", PROTOCOL_ERROR)
        self._octets += length
        if self._octets > self._most_octets or self._parts > MAX_CONTINUATIONS:
            raise Violation("head", f"a head has more than {self._most_octets} octets, or too many frames")
        if flags & END_HEADERS:
            self.head_since = None

    def _begin(self, stream: int) -> None:
        self._stream, self._octets, self._parts, self.head_since = stream, 0, 0, self._now
        if stream % 2 == 0:
            raise Violation("frame", f"a client's call can't have the number {stream}", PROTOCOL_ERROR)
        if stream <= self._streams.last:  # a call's trailers
            self._pay(1.0)
            return
        self._streams.opened(stream)
        self._pay(-A_CALL)
        if len(self._streams) > self._most_calls:
            raise Violation("calls", f"more than {self._most_calls} calls are open")

    def _pay(self, amount: float) -> None:
        if amount <= 0.0:
            self._overhead.earn(-amount)
        elif not self._overhead.spend(amount):
            raise Violation("overhead", "too many frames that bring nothing")
