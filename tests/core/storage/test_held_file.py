"""core.storage.held_file: content that outlives its name."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage.held_file import HeldFile


def descriptors(path: Path) -> int:
    """Return how many of this process's are of a file; others come and go with what earlier tests left to collect."""
    return sum(os.path.samestat(os.stat(path), found) for found in _open_files())


def _open_files() -> Iterator[os.stat_result]:
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # that of the folder itself is closed again
            yield os.fstat(int(name))


def test_a_file_that_is_replaced_or_removed_reads_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    held = HeldFile(path)
    (tmp_path / "other").write_bytes(b"second")
    (tmp_path / "other").replace(path)
    assert [held.read(), path.read_bytes()] == [b"first", b"second"]
    path.unlink()
    assert [held.read(5), held.read()] == [b"first", b"first"]


def test_it_is_closed_with_the_last_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    held = HeldFile(path)
    held.read()
    assert descriptors(path) == 1
    del held
    gc.collect()
    assert descriptors(path) == 0


def test_what_can_t_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FormatError, match="file: no such file"):
        HeldFile(path)
    os.mkfifo(path)
    with pytest.raises(FormatError, match="file: is a pipe, expected a regular file"):
        HeldFile(path)
    path.unlink()
    path.write_bytes(b"12345")
    with pytest.raises(FormatError, match="file: holds 5 bytes, expected at most 4"):
        HeldFile(path).read(4)
