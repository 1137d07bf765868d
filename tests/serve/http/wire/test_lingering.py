from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from adaptertune_deploy.serve.http.wire.lingering import MAX_DISCARDED, Lingering


class FakeTransport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self, can_half_close: bool = True) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.done: list[str] = []
        self._can_half_close = can_half_close

    def can_write_eof(self) -> bool:
        return self._can_half_close

    def is_closing(self) -> bool:
        return "close" in self.done

    def get_write_buffer_size(self) -> int:
        return 7

    def __getattribute__(self, name: str) -> Any:
        if name in ("write_eof", "close", "abort", "pause_reading", "resume_reading"):
            return lambda: self.done.append(name)
        return super().__getattribute__(name)

    def write(self, data: Any) -> None:
        self.done.append(f"write {data!r}")


def make(unread: bool, **options: bool) -> tuple[Lingering, FakeTransport]:
    transport = FakeTransport(**options)
    return Lingering(transport, lambda: unread, lambda call: None), transport


def test_an_answers_head_goes_out_with_its_body() -> None:
    transport, soon = FakeTransport(), list[Callable[[], None]]()
    lingering = Lingering(transport, lambda: False, soon.append)
    lingering.write(b"head")
    assert (transport.done, lingering.unsent()) == ([], 7 + 4)
    lingering.write(b"body")
    assert (transport.done, lingering.unsent()) == (["write b'headbody'"], 7)
    lingering.write(b"")
    lingering.write(b"lonely head")
    soon[0]()
    assert transport.done == ["write b'headbody'", "write b''", "write b'lonely head'"]
    soon[1]()
    assert len(transport.done) == 3


def test_what_is_held_goes_out_before_the_end_and_not_when_all_is_given_up() -> None:
    for unread, end in ((False, ["close"]), (True, ["write_eof", "resume_reading"])):
        lingering, transport = make(unread=unread)
        lingering.write(b"head")
        lingering.close()
        assert transport.done == ["write b'head'", *end]
    lingering, transport = make(unread=False)
    lingering.write(b"head")
    lingering.linger()
    assert transport.done[0] == "write b'head'"
    lingering, transport = make(unread=False)
    lingering.write(b"head")
    lingering.abort()
    assert transport.done == ["abort"]


def test_a_client_that_sends_nothing_more_is_closed_at_once() -> None:
    lingering, transport = make(unread=False)
    lingering.write(b"x")
    lingering.close()
    assert transport.done == ["write b'x'", "close"]
    assert lingering.is_closing()
    lingering.linger()
    assert not lingering.ending


def test_a_client_that_still_sends_is_listened_to_for_a_while() -> None:
    lingering, transport = make(unread=True)
    lingering.close()
    lingering.close()
    assert transport.done == ["write_eof", "resume_reading"]
    assert lingering.ending
    assert lingering.is_closing()
    lingering.resume_reading()
    lingering.discard(MAX_DISCARDED)
    assert "pause_reading" not in transport.done
    lingering.discard(1)
    assert transport.done[-1] == "pause_reading"
    lingering.abort()
    assert transport.done[-1] == "abort"


def test_a_transport_that_has_no_half_close_is_listened_to_as_well() -> None:
    lingering, transport = make(unread=True, can_half_close=False)
    lingering.close()
    assert transport.done == ["resume_reading"]


def test_a_held_transport_reads_nothing_until_it_is_let_go() -> None:
    lingering, transport = make(unread=False)
    lingering.hold(False)
    lingering.hold(True)
    lingering.resume_reading()
    assert transport.done == ["pause_reading"]
    lingering.hold(False)
    assert transport.done == ["pause_reading", "resume_reading"]
    lingering.hold(True)
    lingering.pause_reading()
    lingering.hold(False)
    assert transport.done[-1] == "pause_reading"


def test_the_rest_is_the_transports() -> None:
    lingering, transport = make(unread=False)
    lingering.pause_reading()
    lingering.resume_reading()
    assert transport.done == ["pause_reading", "resume_reading"]
    assert lingering.unsent() == 7
    assert lingering.get_extra_info("peername") == ("127.0.0.1", 1)


def test_what_a_client_sent_is_seen_before_it_is_read_and_its_end_is_no_request() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = FakeTransport()
        lingering = Lingering(transport, lambda: False, lambda call: None)
        assert not lingering.arrived()
        transport._extra["socket"] = ours  # type: ignore[attr-defined]
        assert not lingering.arrived()
        theirs.send(b"x")
        assert lingering.arrived()
        assert lingering.arrived()
        theirs.shutdown(socket.SHUT_WR)
        assert not lingering.arrived()
        ours.recv(1)
        assert not lingering.arrived()
        transport.done.append("close")
        theirs.close()
        assert not lingering.arrived()
