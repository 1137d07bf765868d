"""Files and folders that are never half written, never written by two at once, and never wait for a pipe."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adaptertune_deploy.core.errors import FormatError, UsageError

# ".NAME.new.abcd1234" is being written, ".NAME.old.abcd1234" is being replaced; tempfile makes the last part.
STAGE = re.compile(r"\..+\.(new|old)\.[a-z0-9_]{8}")
KINDS = {stat.S_IFIFO: "pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


def sha256_bytes(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Return the bytes of a regular file, links followed; a pipe or a device is refused without waiting for it.

    Args:
        path: the file.
        limit: the largest size in bytes.

    Raises:
        FormatError: absent, no regular file, larger than `limit`, or unreadable.
    """
    with open_regular(path) as stream:
        return content(stream, path, limit)


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Yield a regular file that is open for reading.

    Raises:
        FormatError: absent, no regular file, or unreadable, also in the `with` block.
    """
    try:
        # Without O_NONBLOCK the mere opening of a pipe waits for somebody who writes into it.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                kind = KINDS.get(stat.S_IFMT(found.st_mode), "special file")
                raise FormatError(f"{path}: is a {kind}, expected a regular file")
            yield stream
    except FileNotFoundError:
        raise FormatError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"{path}: not readable ({reason})") from None


def content(stream: BinaryIO, path: Path, limit: int | None = None) -> bytes:
    """Return the bytes of an open regular file, from where it stands; see read_regular."""
    size = os.fstat(stream.fileno()).st_size
    if limit is not None and size > limit:
        raise FormatError(f"{path}: holds {size:,} bytes, expected at most {limit:,}")
    return stream.read(size)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part."""
    with staged_file(path) as stage:
        stage.write_bytes(data)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path` that takes its place when the block ends without an error.

    The temporary file is flushed to the disk before it is renamed; after an error it is removed. The system names no
    file where a write fails, on a full disk or at a limit of size: `path` is named there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.new.")
    os.close(descriptor)
    stage = Path(temporary)
    try:
        yield stage
        with stage.open("rb") as stream:
            os.fsync(stream.fileno())
        stage.chmod(0o644)
        stage.replace(path)
    except BaseException as error:
        stage.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    """Flush a folder's entries, so that files renamed one after the other survive a power cut in that order."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def staged_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends without an error.

    After an error the folder is removed and what stood at `path` is untouched. Meanwhile nobody else writes `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(_lock_of(path)):
        stage = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.new."))
        try:
            stage.chmod(0o755)
            yield stage
            _swap(stage, path)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise


def _swap(stage: Path, path: Path) -> None:
    if not path.exists():
        stage.rename(path)
        return
    retired = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    try:
        path.rename(retired / path.name)
        stage.rename(path)
    finally:
        # A signal may come between any two steps: what is removed at last is never the only copy.
        if not path.exists():
            (retired / path.name).rename(path)
        shutil.rmtree(retired, ignore_errors=True)


def sweep(path: Path) -> tuple[str, ...]:
    """Remove what a killed process left beside the folder `path` while it wrote it, and return what to tell a person.

    A folder that the process had moved aside and not yet replaced is put back. Nothing is touched while somebody
    writes `path`.
    """
    name = re.escape(path.name)
    pattern = re.compile(rf"\.{name}\.(new|old)\.[a-z0-9_]{{8}}")
    if not any(pattern.fullmatch(entry.name) for entry in _entries(path.parent)):
        return ()
    told = []
    with contextlib.suppress(BlockingIOError), locked(_lock_of(path), wait=False):
        for entry in _entries(path.parent):
            if pattern.fullmatch(entry.name) is None:
                continue
            if (entry / path.name).is_dir() and not path.exists():
                (entry / path.name).rename(path)
                told.append(f"put {path} back, which a killed run had moved aside")
            else:
                told.append(f"removed {entry}, which a killed run had left behind")
            shutil.rmtree(entry, ignore_errors=True)
    return tuple(told)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _lock_of(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"


@contextmanager
def locked(path: Path, waiting: Callable[[], None] = lambda: None, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock that the system frees when the process ends, however it ends; the file goes with it.

    Args:
        path: the lock's file, in a folder that exists.
        waiting: called once when somebody else holds the lock.
        wait: whether to wait for whoever holds it.

    Raises:
        BlockingIOError: somebody holds it and `wait` is not set.
        FormatError: a link or something else than a regular file lies there.
    """
    while True:
        with os.fdopen(_open_lock(path), "rb+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                waiting()
                fcntl.flock(stream, fcntl.LOCK_EX)
            if not _is_at(stream.fileno(), path):
                continue  # whoever held it before has removed this file: lock the one that is there now
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _open_lock(path: Path) -> int:
    """Open a lock's file; a link is not followed, since whoever made it could have any file changed or waited for."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise FormatError(f"{path}: is no lock file of atd's; remove it") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError(f"{path}: is no lock file of atd's; remove it")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def check_writable(folder: Path, option: str, room: int = 0) -> None:
    """Refuse a folder that can't be written, before work is done for it; leaves nothing behind.

    Args:
        folder: need not exist; then its nearest existing parent is tried.
        option: what the folder was given by, for the message.
        room: bytes that will be needed.

    Raises:
        UsageError: a file or a broken link is in the way, writing is refused, or the disk has less room.
    """
    place = folder
    while not place.exists():
        if place.is_symlink():
            raise UsageError(f"{option} {folder}: {place} is a link to nothing; choose another {option}")
        place = place.parent
    if not place.is_dir():
        raise UsageError(f"{option} {folder}: {place} is a file, expected a folder; choose another {option}")
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".atd.") as probe:
            probe.write(b"\0")
            probe.flush()
            os.fsync(probe.fileno())
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise UsageError(
            f"{option} {folder}: can't be written ({error.strerror}); choose another {option}, or free the place"
        ) from None
    if free < room:
        raise UsageError(
            f"{option} {folder}: its disk has {free / 1e6:.0f} MB left, expected at least {room / 1e6:.0f}; free some, "
            f"or choose another {option}"
        )
