"""Files that TensorRT made on this machine: plans (*.plan) and timing caches (*.timing).

They lie in the cache (core.storage.cache, "plans"), never in a bundle: a plan is code for one GPU, one TensorRT and one
driver, TensorRT itself checks little of that, and reading a plan runs what it holds. So each file begins with what it
was made of and for, and only one that says exactly what is wanted here is handed on; any other is made anew in its
place. A file that another user wrote, or may write, is none of ours.

    ATDPLAN1 | header's length, 8 bytes, little-endian | header, JSON of PlanHeader | TensorRT's bytes
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.storage import cache, files, records

MAGIC = b"ATDPLAN1"
HEADER_LIMIT = 1 << 20
PLAN, TIMING = "plan", "timing"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlanMachine:
    """What TensorRT's files are bound to.

    library, version: the Python module and its full version.
    device, sm: the GPU's name, and its compute capability, "8.7".
    driver, cuda: the driver's release and the newest CUDA that it runs.
    """

    library: str
    version: str
    device: str
    sm: str
    driver: str
    cuda: str


@dataclass(frozen=True)
class PlanFacts:
    """What a plan is made of and for.

    graph: SHA-256 of the ONNX bytes that TensorRT read.
    precision: of that graph.
    settings: shapes and limits of the build, as text.
    """

    machine: PlanMachine
    graph: str
    precision: str
    settings: dict[str, str]


@dataclass(frozen=True)
class PlanHeader:
    """The header of a file.

    facts: None for a timing cache, which serves all graphs of a machine.
    sha256, bytes: of what follows.
    """

    kind: str
    machine: PlanMachine
    facts: PlanFacts | None
    sha256: str
    bytes: int


def load_plan(facts: PlanFacts) -> bytes | None:
    """Return the plan of exactly these facts, None where there is none and one has to be built."""
    return _load(_plan_path(facts), PlanHeader(PLAN, facts.machine, facts, "", 0))


def store_plan(facts: PlanFacts, plan: bytes) -> None:
    """Keep a plan; one of the same graph for another driver or version of TensorRT goes.

    Raises:
        UsageError: the user has no folder for a cache.
    """
    _store(_plan_path(facts), PlanHeader(PLAN, facts.machine, facts, "", 0), plan)


def load_timing(machine: PlanMachine) -> bytes:
    """Return the timing cache of exactly this machine, b"" where there is none."""
    return _load(_timing_path(machine), PlanHeader(TIMING, machine, None, "", 0)) or b""


def store_timing(machine: PlanMachine, data: bytes) -> None:
    """Keep a timing cache; see store_plan."""
    _store(_timing_path(machine), PlanHeader(TIMING, machine, None, "", 0), data)


@contextlib.contextmanager
def building(facts: PlanFacts, room: int) -> Iterator[None]:
    """Hold a plan's lock: of several processes that want it, one builds and the others wait and load.

    Args:
        facts: of the plan.
        room: bytes that it may take on the disk.

    Raises:
        UsageError: the cache can't be written, or has less room.
    """
    path = _plan_path(facts)
    files.check_writable(path.parent, "ATD_CACHE", room)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with files.locked(path.parent / f".{path.name}.lock", lambda: logger.warning("waiting for a plan being built")):
        yield


def read_header(path: Path) -> tuple[PlanHeader, bytes]:
    """Return a file's header, and TensorRT's bytes behind it, which are not to be deserialised for its sake.

    Raises:
        FormatError: no such file, another format, or damaged.
    """
    data = files.read_regular(path)
    start = len(MAGIC) + 8
    size = int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or not 0 < size <= HEADER_LIMIT:
        raise FormatError(f"{path}: is no file of TensorRT's that atd wrote")
    try:
        found = json.loads(data[start : start + size], object_pairs_hook=records.unique_fields)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: its header is not JSON ({error})") from None
    header: PlanHeader = records.parse(found, PlanHeader, str(path))
    body = data[start + size :]
    if len(body) != header.bytes or files.sha256_bytes(body) != header.sha256:
        raise FormatError(f"{path}: is damaged: {len(body):,} bytes that don't have the hash of its header")
    return header, body


def _load(path: Path, wanted: PlanHeader) -> bytes | None:
    if not path.exists():
        return None
    try:
        _check_owner(path)
        header, body = read_header(path)
    except (FormatError, OSError) as error:
        logger.warning("%s; made anew", error)
        return None
    complaint = _difference(header, wanted)
    if complaint:
        logger.info("%s: %s; made anew", path.name, complaint)
        return None
    return body


def _difference(found: PlanHeader, wanted: PlanHeader) -> str | None:
    """Return in what two headers differ, but for the bytes behind them."""
    if dataclasses.replace(found, sha256="", bytes=0) == wanted:
        return None
    for field in dataclasses.fields(PlanMachine):
        here, there = getattr(wanted.machine, field.name), getattr(found.machine, field.name)
        if here != there:
            return f"was made with {field.name} {there}, here it is {here}"
    return "was made of another graph or with other settings"


def _store(path: Path, header: PlanHeader, data: bytes) -> None:
    full = dataclasses.replace(header, sha256=files.sha256_bytes(data), bytes=len(data))
    text = records.dump(full).encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_bytes(path, MAGIC + len(text).to_bytes(8, "little") + text + data)


def _check_owner(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise FormatError(f"{path}: another user wrote it, or may")


def _plan_path(facts: PlanFacts) -> Path:
    """Return a plan's place; driver and version are no part of it, so an update replaces what it makes useless."""
    settings = json.dumps(facts.settings, sort_keys=True)
    told = "\n".join([facts.machine.library, facts.machine.device, facts.graph, facts.precision, settings])
    return cache.cache_folder("plans") / f"{files.sha256_bytes(told.encode())[:32]}.{PLAN}"


def _timing_path(machine: PlanMachine) -> Path:
    told = f"{machine.library}\n{machine.device}"
    return cache.cache_folder("plans") / f"{files.sha256_bytes(told.encode())[:32]}.{TIMING}"
