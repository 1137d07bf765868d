from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.grpc.guard.frames import ENHANCE_YOUR_CALM, GOAWAY, NO_SETTINGS, PREFACE, Frames, farewell
from benchmarks.clients import http2

Found = tuple[int, int, int, int]
octet = st.integers(0, 255)
frames = st.lists(st.tuples(octet, octet, st.integers(0, 2**31 - 1), st.binary(max_size=40)))


@given(frames, st.lists(st.integers(1, 50)))
def test_frames_are_found_however_they_are_cut(sent: list[tuple[int, int, int, bytes]], cuts: list[int]) -> None:
    whole = data = b"".join(http2.frame(*entry) for entry in sent)
    found: list[Found] = []
    reader, passed = Frames(lambda *head: bool(found.append(head))), b""
    for size in (*cuts, len(data)):
        passed += reader.feed(data[:size])
        data = data[size:]
    assert found == [(kind, flags, stream, len(payload)) for kind, flags, stream, payload in sent]
    assert (passed, reader.whole) == (whole, True)


@given(frames, st.lists(st.integers(1, 50)))
def test_empty_frames_can_be_left_out(sent: list[tuple[int, int, int, bytes]], cuts: list[int]) -> None:
    data = b"".join(http2.frame(*entry) for entry in sent)
    reader, passed = Frames(lambda kind, flags, stream, length: not length and kind % 2 == 0), b""
    for size in (*cuts, len(data)):
        passed += reader.feed(data[:size])
        data = data[size:]
    assert passed == b"".join(http2.frame(*entry) for entry in sent if entry[3] or entry[0] % 2)


@given(st.integers(1, 308))
def test_a_head_goes_on_in_one_piece(size: int) -> None:
    reader = Frames(lambda *head: False)
    data = http2.frame(0, 0, 1, bytes(300))
    passed = reader.feed(data[:size])
    assert passed == (data[:size] if size >= 9 else b"")
    assert reader.whole is (size < 9)


def test_the_first_bit_of_a_stream_means_nothing() -> None:
    found: list[Found] = []
    Frames(lambda *head: bool(found.append(head))).feed(http2.frame(0, 1, 0x80000005, b"ab"))
    assert found == [(0, 1, 5, 2)]


def test_what_the_guard_says_is_http2() -> None:
    assert PREFACE == http2.PREFACE
    assert http2.frame(http2.SETTINGS) == NO_SETTINGS
    payload = (7).to_bytes(4, "big") + (0xB).to_bytes(4, "big") + b"why"
    assert farewell(7, ENHANCE_YOUR_CALM, "why") == http2.frame(GOAWAY, 0, 0, payload)
