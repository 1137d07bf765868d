"""train.device.kept_memory: what is freed and taken again costs no page faults, and is given back at the end."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from adaptertune_deploy.train.device import kept_memory as module
from adaptertune_deploy.train.device.kept_memory import kept_memory

# In a process of its own: the settings hold for a whole process, and so does what others freed in it.
SCRIPT = """
import resource
import torch
from adaptertune_deploy.train.device.kept_memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(5_000_000) for _ in range(10)]  # 20 MB each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with kept_memory() as kept:
    with kept_memory():  # the one around it is still open
        pass
    first, *again = (faults() for _ in range(6))  # the second round still finds gaps that are too narrow
print(int(kept), first, again[-1], faults())
"""


def test_memory_is_kept_between_steps_and_given_back_after_them() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    kept, first, again, after = map(int, done.stdout.split())
    assert kept
    assert first > 200  # 200 MB in pages, however large they are
    assert again < first / 10
    assert after > first / 2


def test_a_library_without_such_settings_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: SimpleNamespace())
    with kept_memory() as kept:
        assert not kept


def test_an_older_library_gets_what_it_takes_and_a_failure_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, ...]] = []

    def mallopt(name: int, value: int) -> int:
        told.append((name, value))
        return int(name != module.MMAP_THRESHOLD or value <= module.OWN_MMAP)

    library = SimpleNamespace(mallopt=mallopt, malloc_trim=lambda pad: told.append((pad,)))
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _: library)
    with pytest.raises(RuntimeError, match="stop"), kept_memory():
        raise RuntimeError("stop")
    assert told == [(-3, 1 << 30), (-3, 1 << 25), (-1, 1 << 30), (-3, 1 << 25), (-1, 1 << 26), (0,)]
