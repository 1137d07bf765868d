"""How many of a bundle's tasks a session holds at a time, and which of them in any case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Room:
    """How many tasks a session holds at a time.

    slots: 0 for all.
    pinned: names of those that come first.
    """

    slots: int = 0
    pinned: frozenset[str] = frozenset()

    def sorted(self, records: Sequence[TaskRecord]) -> list[TaskRecord]:
        """Return records with the pinned ones first.

        Raises:
            UsageError: a pinned name that there is not, or so many that none of the other tasks could come.
        """
        names = {record.task.name for record in records}
        for name in sorted(self.pinned - names):
            raise UsageError(f"--pin names no served task '{name:.80}'.{did_you_mean(name, names)}")
        if self.slots and len(records) > self.slots and len(self.pinned) >= self.slots:
            raise UsageError(
                f"--pin names {len(self.pinned)} tasks, so none of {self.slots} slots is left for the others; "
                "raise --slots or pin fewer"
            )
        return sorted(records, key=lambda record: record.task.name not in self.pinned)


ROOM_FOR_ALL = Room()
