"""train.logs.tensorboard_log: event files, read by their format's description, with every step once."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("tensorboardX") is None:
    pytest.skip("tensorboardX is an extra of its own", allow_module_level=True)

from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event

from adaptertune_deploy.train.logs.log import Line
from adaptertune_deploy.train.logs.tensorboard_log import TensorboardLog


def masked(data: bytes) -> int:
    """Return a record's checksum, as TensorFlow's tfrecord format defines it."""
    found = crc32c(data)
    return (((found >> 15) | (found << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder: Path) -> list[Any]:
    """Return the events of a folder's files, with their checksums checked; a part of a record at the end is left."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while len(data) >= 12:
            length, check = struct.unpack("<QI", data[:12])
            assert check == masked(data[:8])
            if len(data) < 16 + length:
                break
            body = data[12 : 12 + length]
            assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked(body)
            found.append(Event.FromString(body))
            data = data[16 + length :]
    return found


def scalars(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [
        (event.step, {value.tag: round(value.simple_value, 4) for value in event.summary.value})
        for event in events(folder)
        if event.summary.value
    ]


def fill(log: TensorboardLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        log.write("seed 0, fold 1", Line(step, 0.1 * step, 1.0 / step, 100.0 + step))


def test_a_step_is_on_the_disk_when_it_was_written(tmp_path: Path) -> None:
    log = TensorboardLog(tmp_path)
    log.begin("seed 0, fold 1", 0)
    fill(log, 1, 2)
    folder = tmp_path / "seed-0" / "fold-1"
    found, read = events(folder), scalars(folder)  # while it is open
    log.close()
    assert read == [(1, {"loss": 1.0, "lr": 0.1}), (2, {"loss": 0.5, "lr": 0.2})]
    assert (found[0].file_version, found[-1].wall_time) == ("brain.Event:2", 102.0)


def test_a_run_that_goes_on_has_every_step_once(tmp_path: Path) -> None:
    killed = TensorboardLog(tmp_path)
    killed.begin("seed 0, fold 1", 0)
    fill(killed, 1, 5)
    folder = tmp_path / "seed-0" / "fold-1"
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-7])  # as a process may leave it that is killed while it writes
    for _ in range(2):
        log = TensorboardLog(tmp_path)
        log.begin("seed 0, fold 1", 3)
        fill(log, 4, 6)
        log.close()
    killed.close()
    assert [step for step, _ in scalars(folder)] == [1, 2, 3, 4, 5, 6]
    assert len(list(folder.iterdir())) == 1
