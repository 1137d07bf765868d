from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from adaptertune_deploy.serve.tasks import memory
from adaptertune_deploy.serve.tasks.memory import give_back

PAGE = 4096


def resident() -> int:
    """Return this process's resident bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory, and can be told")
def test_freed_memory_goes_back_to_the_system() -> None:
    """Pieces small enough for the heap, with one behind them that keeps its end where it is."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    pieces = [libc.malloc(64_000) for _ in range(1000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 64_000)
    last = libc.malloc(64_000)
    for piece in pieces:
        libc.free(piece)
    before = resident()
    give_back()
    assert resident() < before - 32_000_000
    libc.free(last)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    memory._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back()
    assert memory._trim() is None
    memory._trim.cache_clear()
