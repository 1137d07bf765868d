"""Steps as TensorBoard's event files, a folder a training; written by tensorboardX, which needs no TensorFlow."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptertune_deploy.train.logs.log import Line

FILES = "events.out.tfevents.*"
# A record: its length, the length's checksum, the event, the event's checksum.
LENGTH, CHECKSUM = struct.Struct("<Q"), 4


class TensorboardLog:
    """Loss and learning rate as scalars "loss" and "lr".

    Args:
        folder: holds a folder of every training; one that is there is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def begin(self, training: str, step: int) -> None:
        """Open a file that holds the steps of this training so far, and remove those before it."""
        from tensorboardX.event_file_writer import EventsWriter

        self.close()
        place = self._folder / training.replace(", ", "/").replace(" ", "-")
        place.mkdir(parents=True, exist_ok=True)
        older = sorted(place.glob(FILES))
        kept = [event for path in older for event in _events(path) if event.step <= step and event.summary.value]
        self._writer = EventsWriter(str(place / "events"), f".{time.time_ns()}")
        for event in kept:
            self._writer.write_event(event)
        self._writer.flush()
        for path in older:
            path.unlink()

    def write(self, training: str, line: Line) -> None:
        """Add both scalars; they are handed to the system afterwards."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in (("loss", line.loss), ("lr", line.lr))]
        self._writer.write_event(Event(step=line.step, wall_time=line.time, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _events(path: Path) -> Iterator[Any]:
    """Yield the whole events of a file; a killed run may leave a part of one."""
    from tensorboardX.proto.event_pb2 import Event

    data, place = path.read_bytes(), 0
    while place + LENGTH.size <= len(data):
        start = place + LENGTH.size + CHECKSUM
        place = start + LENGTH.unpack_from(data, place)[0] + CHECKSUM
        if place <= len(data):
            yield Event.FromString(data[start : place - CHECKSUM])
