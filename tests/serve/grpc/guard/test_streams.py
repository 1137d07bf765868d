from __future__ import annotations

from adaptertune_deploy.serve.grpc.guard.streams import Streams
from benchmarks.clients.http2 import DATA, END_STREAM, HEADERS, RESET, WINDOW


def opened(*streams: int) -> Streams:
    found = Streams()
    for stream in streams:
        found.opened(stream)
    return found


def test_a_call_is_open_until_its_answer_ends() -> None:
    streams = opened(1, 3, 5)
    streams.answered(HEADERS, 0, 1, 1.0)
    streams.answered(DATA, 0, 1, 1.0)
    assert (len(streams), streams.last) == (3, 5)
    streams.answered(HEADERS, END_STREAM, 1, 1.0)
    streams.answered(RESET, 0, 1, 1.0)  # says that the rest of the request is not wanted
    streams.answered(HEADERS, END_STREAM, 3, 1.0)
    streams.reset(5)
    streams.reset(7)
    assert (len(streams), streams.last, streams.refused) == (0, 5, 0)


def test_a_call_that_is_reset_before_its_answer_was_refused() -> None:
    streams = opened(1, 3)
    streams.answered(RESET, 0, 1, 1.0)
    streams.answered(HEADERS, 0, 3, 1.0)
    streams.answered(RESET, 0, 3, 1.0)
    assert (len(streams), streams.refused) == (0, 1)


def test_an_answer_stands_still_once_it_has_begun() -> None:
    streams = opened(1, 3)
    assert not streams.stand_since(1000.0)
    streams.answered(HEADERS, 0, 3, 10.0)
    assert streams.stand_since(10.5)
    assert not streams.stand_since(10.0)
    streams.answered(WINDOW, 0, 3, 20.0)
    assert streams.stand_since(15.0)
    streams.answered(DATA, 0, 3, 20.0)
    assert not streams.stand_since(15.0)
