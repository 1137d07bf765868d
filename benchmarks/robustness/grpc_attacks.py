"""Whether health answers over HTTP while a server's gRPC port is attacked, one way after another.

    atd serve --grpc-port 8001
    python -m benchmarks.robustness.grpc_attacks 8000 8001 [SECONDS]

Prints a line for each way: how often it was tried, how often health was asked, and the median and longest answer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import monotonic

from adaptertune_deploy.serve.grpc.methods import SERVICE
from benchmarks.clients.health_probe import probing
from benchmarks.clients.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RESET,
    SETTINGS,
    WINDOW,
    Connection,
    call,
    frame,
    head,
)

INFER, STREAM, LIVE = (f"/{SERVICE}/{name}" for name in ("ModelInfer", "ModelStreamInfer", "ServerLive"))
SECONDS, LONGEST_STREAM = 5.0, 1 << 30


def _endless(stream: int) -> bytes:
    """Return the begin of a head or, later on, a mebibyte more of it."""
    begun = frame(HEADERS, 0, 1, head(LIVE)) if stream == 1 else b""
    return begun + frame(CONTINUATION, 0, 1, bytes(16_384)) * 64


# name -> the frames that are sent again and again, of a stream of their own
ATTACKS: dict[str, Callable[[int], bytes]] = {
    "calls that are reset at once": lambda stream: call(stream, INFER, None) + frame(RESET, 0, stream, bytes(4)),
    "calls without a message": lambda stream: call(stream, INFER, None),
    "streams without a message": lambda stream: call(stream, STREAM, None),
    "calls as fast as they can be sent": lambda stream: call(stream, LIVE, b""),
    "messages that are none": lambda stream: call(stream, INFER, b"\xff" * 1000),
    "methods that there are not": lambda stream: call(stream, "/a/b", b"x"),
    "settings": lambda _: frame(SETTINGS) * 100,
    "pings": lambda _: frame(PING, 0, 0, bytes(8)) * 100,
    "windows": lambda _: frame(WINDOW, 0, 0, (1).to_bytes(4, "big")) * 100,
    "farewells": lambda _: frame(GOAWAY, 0, 0, bytes(8)) * 100,
    "empty data": lambda stream: call(stream, INFER, None) + frame(DATA, 0, stream) * 100,
    "heads without an end": _endless,
    "noise": lambda _: b"\x00\xff" * 500,
}


def attack(port: int, make: Callable[[int], bytes], seconds: float) -> int:
    """Attack for so long, on a new connection whenever the server closes one; return how often."""
    until, count = monotonic() + seconds, 0
    while monotonic() < until:
        with Connection(port) as connection:
            connection.socket.settimeout(0.5)
            if make is not _endless:  # which harms most before anything was agreed on
                connection.send(frame(SETTINGS, ACK))
            stream = 1
            while monotonic() < until and stream < LONGEST_STREAM and connection.send(make(stream)):
                stream, count = stream + 2, count + 1
    return count


def main(http: int, grpc: int, seconds: float = SECONDS) -> None:
    """Attack in every way and print what health did meanwhile."""
    for name, make in ATTACKS.items():
        with probing(http) as found:
            count = attack(grpc, make, seconds)
        answered = [1000 * took for took in found if took is not None]
        lost = len(found) - len(answered)
        print(
            f"{name}: {count:,} times; health asked {len(found)} times, {lost} unanswered, "
            f"median {median(answered):.1f} ms, longest {max(answered):.1f} ms"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *[float(value) for value in sys.argv[3:]])
