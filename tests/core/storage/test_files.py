"""core.storage.files: writes that are whole or absent, and one writer at a time."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import re
import resource
import signal
import stat
import threading
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage import files


class StopError(Exception):
    pass


def write_half(path: Path) -> None:
    path.write_bytes(b"half")
    raise StopError


def test_hashes_are_sha256() -> None:
    data = bytes(range(256)) * 9000
    assert files.sha256_bytes(data) == hashlib.sha256(data).hexdigest()


# Whole or absent


def test_write_bytes_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write_bytes(path, b"old")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["file"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        files.write_bytes(path, b"new")
    assert failed.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def limited(path: Path) -> None:
    """Write more than this process may, and leave what the error says."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    try:
        files.write_bytes(path, b"x" * 4096)
    except OSError as error:
        path.with_suffix(".said").write_text(f"{error.filename}: {error.strerror}")


def test_a_write_at_the_limit_of_size_names_its_file(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=limited, args=(tmp_path / "graph",))
    process.start()
    process.join(60)
    assert (tmp_path / "graph.said").read_text() == f"{tmp_path / 'graph'}: File too large"
    assert os.listdir(tmp_path) == ["graph.said"]


def test_a_staged_file_appears_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    with files.staged_file(path) as stage:
        stage.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    with pytest.raises(StopError), files.staged_file(path) as stage:
        write_half(stage)
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["graph.onnx"]


def test_a_staged_directory_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "pets"
    for content in ("old", "new"):
        with files.staged_directory(path) as stage:
            (stage / content).write_text(content)
        assert os.listdir(path) == [content]
    assert os.listdir(path.parent) == ["pets"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


@pytest.mark.parametrize("exists", [False, True])
def test_a_failed_directory_leaves_the_old_one_alone(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "pets"
    if exists:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(StopError), files.staged_directory(path) as stage:
        write_half(stage / "new")
    assert os.listdir(tmp_path) == (["pets"] if exists else [])
    assert not exists or os.listdir(path) == ["old"]


def test_a_directory_that_cannot_be_swapped_in_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pets"
    path.mkdir()
    (path / "old").touch()
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"), files.staged_directory(path) as stage:
        (stage / "new").touch()
    assert os.listdir(tmp_path) == ["pets"]
    assert os.listdir(path) == ["old"]


def test_a_signal_right_after_the_swap_keeps_the_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pets"
    path.mkdir()
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if (target / "new").exists():
            raise StopError
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(StopError), files.staged_directory(path) as stage:
        (stage / "new").touch()
    assert os.listdir(tmp_path) == ["pets"]
    assert os.listdir(path) == ["new"]


# Regular files only


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert files.read_regular(tmp_path / "file", 3) == files.read_regular(tmp_path / "link") == b"abc"


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"1234")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in {
        "absent": "absent: no such file",
        "pipe": "pipe: is a pipe, expected a regular file",
        ".": r"not readable \(Is a directory\)",
        "large": "large: holds 4 bytes, expected at most 3",
        "loop": "loop: not readable",
        "a\0b": "not readable",
    }.items():
        with pytest.raises(FormatError, match=message):
            files.read_regular(tmp_path / name, 3)
    with pytest.raises(FormatError, match="is a device"):
        files.read_regular(Path("/dev/zero"))


# One writer at a time


def test_a_lock_leaves_no_file_and_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with files.locked(tmp_path / "lock", lambda: pytest.fail("nobody holds it")):
            assert os.listdir(tmp_path) == ["lock"]
        assert os.listdir(tmp_path) == []


def test_a_lock_that_is_held_is_waited_for_or_refused(tmp_path: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with files.locked(tmp_path / "lock", lambda: (order.append("waits"), waits.set())[0]):
            order.append("second")

    with files.locked(tmp_path / "lock"):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        with pytest.raises(BlockingIOError), files.locked(tmp_path / "lock", wait=False):
            pytest.fail("it is held")
        order.append("first ends")
    thread.join(30)
    assert order == ["waits", "first ends", "second"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_a_lock_that_is_no_plain_file_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "precious").write_text("mine")
    lock = tmp_path / "lock"
    {"link": lambda: lock.symlink_to("precious"), "pipe": lambda: os.mkfifo(lock), "folder": lock.mkdir}[kind]()
    with pytest.raises(FormatError, match=r"lock: is no lock file of atd's; remove it"), files.locked(lock):
        pytest.fail("it was taken")
    assert (tmp_path / "precious").read_text() == "mine"


def write_forever(path: Path, begun: Event) -> None:
    with files.staged_directory(path) as stage:
        (stage / "half").touch()
        begun.set()
        signal.pause()


def test_what_a_killed_writer_left_is_found_removed_and_named(tmp_path: Path) -> None:
    path = tmp_path / "pets"
    path.mkdir()
    (path / "old").touch()
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=write_forever, args=(path, begun))
    process.start()
    assert begun.wait(60)
    assert files.sweep(path) == ()  # it is still at work
    process.kill()
    process.join(60)
    (left,) = (entry for entry in tmp_path.iterdir() if files.STAGE.fullmatch(entry.name))
    assert files.sweep(path) == (f"removed {left}, which a killed run had left behind",)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pets"]
    assert os.listdir(path) == ["old"]
    assert files.sweep(path) == ()


def test_a_folder_that_was_moved_aside_is_put_back(tmp_path: Path) -> None:
    aside = tmp_path / ".pets.old.abcd1234" / "pets"
    aside.mkdir(parents=True)
    (aside / "old").touch()
    neighbour = tmp_path / ".pets2.old.abcd1234"
    neighbour.mkdir()
    assert files.sweep(tmp_path / "pets") == (f"put {tmp_path / 'pets'} back, which a killed run had moved aside",)
    assert os.listdir(tmp_path / "pets") == ["old"]
    assert neighbour.is_dir()


# A place that can't be written


def test_a_good_place_is_left_as_it_was(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "a" / "b", "--out", 1)
    assert os.listdir(tmp_path) == []


def test_a_bad_place_is_refused_with_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for place, message in (
        (tmp_path / "file" / "x", "is a file, expected a folder"),
        (tmp_path / "link" / "x", "is a link to nothing"),
        (Path("/proc/x"), r"--out /proc/x: can't be written \("),
    ):
        with pytest.raises(UsageError, match=message):
            files.check_writable(place, "--out")
    with pytest.raises(UsageError, match=re.escape("MB left, expected at least 1000000000000")):
        files.check_writable(tmp_path, "--out", 10**18)
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]
