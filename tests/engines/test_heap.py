"""engines.heap: what was freed in pieces goes back to the system."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

import pytest

from adaptertune_deploy.engines import heap

PIECES, SIZE = 20_000, 4096


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="a C library that has no malloc_trim")
def test_memory_between_pieces_that_live_on_goes_back() -> None:
    pieces = [bytearray(b"x") * SIZE for _ in range(PIECES)]
    del pieces[::2], pieces[: PIECES // 4 : 2]
    gc.collect()
    before = resident()
    heap.give_back()
    assert before - resident() > PIECES * SIZE // 8


def test_a_c_library_without_the_call_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.give_back()
