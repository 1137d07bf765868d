"""The calls of one connection, as the heads of both sides' frames tell of them."""

from __future__ import annotations

from adaptertune_deploy.serve.grpc.guard.frames import DATA, END_STREAM, HEADERS, RESET


class Streams:
    """Which calls are open, and whether their answers move.

    Attributes:
        last: the highest stream that a client opened.
        refused: calls that the server reset before it began to answer.
    """

    def __init__(self) -> None:
        self.last = self.refused = 0
        self._moved: dict[int, float | None] = {}  # stream -> when a part of its answer came last

    def __len__(self) -> int:
        return len(self._moved)

    def opened(self, stream: int) -> None:
        """Note that a client began a call."""
        self.last = stream
        self._moved[stream] = None

    def reset(self, stream: int) -> None:
        """Note that a client gave a call up."""
        self._moved.pop(stream, None)

    def answered(self, kind: int, flags: int, stream: int, now: float) -> None:
        """Note a frame of the server's; see frames.Frames, and time.monotonic() for `now`."""
        if stream not in self._moved:
            return
        if kind == RESET:
            self.refused += self._moved.pop(stream) is None
        elif kind in (DATA, HEADERS):
            self._moved[stream] = now
            if flags & END_STREAM:
                del self._moved[stream]

    def stand_since(self, then: float) -> bool:
        """Return whether an answer has begun, not ended, and not moved since a time.monotonic() value."""
        return any(moved is not None and moved < then for moved in self._moved.values())
