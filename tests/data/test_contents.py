from __future__ import annotations

import hashlib
import threading

import pytest

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.contents import CHUNK, WHAT, hash_all

NAMES = [f"image {number}" for number in range(2 * CHUNK + 3)]


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_every_name_gets_its_own_hash() -> None:
    assert hash_all(sha256, NAMES) == ({name: sha256(name) for name in NAMES}, {})
    assert hash_all(sha256, []) == ({}, {})


def test_progress_is_told_from_this_thread_and_ends_at_the_whole() -> None:
    reports: list[tuple[str, int, int]] = []
    threads = set()

    def progress(what: str, done: int, total: int) -> None:
        threads.add(threading.current_thread())
        reports.append((what, done, total))

    hash_all(sha256, NAMES, progress)
    total = len(NAMES)
    assert reports == [(WHAT, done, total) for done in (0, CHUNK, 2 * CHUNK, total)]
    assert threads == {threading.current_thread()}


def test_images_are_hashed_side_by_side() -> None:
    meeting = threading.Barrier(2)

    def waiting(name: str) -> str:
        meeting.wait(10)  # a second thread has to come
        return name

    assert len(hash_all(waiting, NAMES[:4])[0]) == 4


def test_what_is_absent_is_named_and_the_others_are_hashed() -> None:
    def failing(name: str) -> str:
        if name in NAMES[3:5]:
            raise DatasetError(f"{name}: no such file")
        return name

    hashes, absent = hash_all(failing, NAMES)
    assert absent == {name: f"{name}: no such file" for name in NAMES[3:5]}
    assert list(hashes) == [*NAMES[:3], *NAMES[5:]]


def test_any_other_error_ends_the_work() -> None:
    def failing(name: str) -> str:
        raise MemoryError(name)

    with pytest.raises(MemoryError):
        hash_all(failing, NAMES)
