"""Tasks of several ranks side by side on the engine's device, kept from run to run.

A run reads tensors of one rank, so tasks of several are brought into a slab of the widest of them, padded with zeros,
which is exact (core.adapter.bank). There they stay: what is asked for again is copied no more, a task that is new in a
mixture is copied once, and addresses never change, which captured graphs on a GPU need. Of more tasks than there are
slots, the one that was asked for longest ago makes room.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.engines.bank.handle import Handle
from adaptertune_deploy.engines.engine import AnyArray, Engine, Slab

FIRST = 8  # slots at first, and at least


@dataclass
class _Mixture:
    """One slab. places: task -> slot, in the order in which they were asked for last. readers: slot -> its runs."""

    slab: Slab
    size: int
    places: dict[Handle, int] = field(default_factory=dict)
    readers: Counter[int] = field(default_factory=Counter)

    def touch(self, tasks: Collection[Handle]) -> list[Handle]:
        """Note that tasks are asked for; return those that are not here."""
        for task in tasks:
            if task in self.places:
                self.places[task] = self.places.pop(task)
        return [task for task in tasks if task not in self.places]

    def idle(self, tasks: Collection[Handle] = ()) -> list[int]:
        """Return the slots that no run reads and none of these tasks has: empty ones, then by when they were asked."""
        held = [slot for task, slot in self.places.items() if task not in tasks]
        taken = {*self.places.values()}
        return [slot for slot in (*(set(range(self.size)) - taken), *held) if not self.readers[slot]]

    def put(self, task: Handle, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """Write a task's tensors, in the place of whichever lies there."""
        for other in [other for other, place in self.places.items() if place == slot]:
            del self.places[other]
        self.slab.write(slot, tensors)
        self.places[task] = slot


class Mixtures:
    """Lends tasks of several ranks as a bank of one; any number of threads may ask.

    Args:
        engine: holds the graph.
        slots: the graph's slots.
        width: D, channels of the backbone's tokens.
    """

    def __init__(self, engine: Engine, slots: Sequence[int], width: int) -> None:
        self._engine, self._slots, self._width = engine, slots, width
        self._lock = threading.Lock()
        self._held: dict[int, _Mixture] = {}  # rank -> what runs read; one that is replaced lives as long as they do

    @contextlib.contextmanager
    def lend(
        self, tasks: Collection[Handle], read: Callable[[Handle], Mapping[str, AnyArray]], most: int
    ) -> Iterator[tuple[Slab, Mapping[Handle, int]]]:
        """Give a slab with these tasks in it, and each one's slot, for one run.

        Args:
            tasks: all different.
            read: returns a task's tensors, core.adapter.bank.slot_shapes of its own rank; nothing for a head only.
            most: slots that are kept at most, unless a run needs more.

        Raises:
            EngineError: no memory.
        """
        with self._lock:
            mixture = self._fitting(tasks, most)
            rank = max(task.rank for task in tasks)
            missing = mixture.touch(tasks)
            for task, slot in zip(missing, mixture.idle(tasks), strict=False):
                padded = bank.stack([read(task)], self._slots, self._width, rank)
                mixture.put(task, slot, {name: value[0] for name, value in padded.items()})
            places = {task: mixture.places[task] for task in tasks}
            mixture.readers.update(places.values())
        try:
            yield mixture.slab, places
        finally:
            with self._lock:
                mixture.readers.subtract(places.values())

    def forget(self, task: Handle) -> None:
        """Drop what is held of a task, which has other tensors now or none; no run may be reading it."""
        with self._lock:
            for rank, mixture in list(self._held.items()):
                mixture.places.pop(task, None)
                if not mixture.places:
                    del self._held[rank]

    def _fitting(self, tasks: Collection[Handle], most: int) -> _Mixture:
        """Return the widest rank's slab with room for the tasks; a new one where there is none, or it may grow."""
        rank = max(task.rank for task in tasks)
        mixture = self._held.get(rank)
        held = mixture.size if mixture is not None else 0
        limit = min(max(FIRST, most), self._engine.limits.max_slots or sys.maxsize)
        size = max(len(tasks), min(max(FIRST, 2 * held), limit))
        if mixture is not None:
            missing = sum(task not in mixture.places for task in tasks)
            spare = mixture.size - len(mixture.places)
            if missing <= len(mixture.idle(tasks)) and (missing <= spare or size <= held):
                return mixture
        shapes = bank.slot_shapes(self._slots, self._width, rank)
        self._held[rank] = _Mixture(self._engine.allocate(shapes, size), size)
        return self._held[rank]
