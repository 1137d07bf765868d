"""The tasks of a shared graph as slots: written in place, one by one, and run in any mixture.

A task's tensors are put into a slab of its own rank, so none is padded to the rank of another one. Slot 0 of every slab
stays zero: that is a task of rank 0, a head only, and rides with any rank. A batch of several ranks reads its tasks
from a slab in which they lie padded with zeros (engines.bank.mixtures). All of it is exact (core.adapter.bank). What an
engine takes at once (engines.limits) bounds the slots and ranks; a run with more rows is split.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import outputs
from adaptertune_deploy.engines.bank.handle import HEAD_ONLY, Handle
from adaptertune_deploy.engines.bank.mixtures import Mixtures
from adaptertune_deploy.engines.engine import AnyArray, Engine, Slab

FIRST = 8  # slots of a rank's first slab


@dataclass(frozen=True)
class _Bank:
    """What one run reads: its tasks' places in a slab, or one slot of it alone, where the places count from 0."""

    slab: Slab
    places: Mapping[Handle, int]
    slot: int | None = None


class SlotBank:
    """Holds tasks for an engine with the shared graph, and runs rows of them.

    Threads: any number may call `features`, one at a time writes; others wait. A slab that grows is replaced and never
    changed, so no run is disturbed by another task's arrival. Only replacing or removing a task that a run still reads
    is the caller's to avoid.

    Args:
        engine: holds the graph; closing it stays with the caller.
        slots: the graph's slots.
        width: D, channels of the backbone's tokens.
        features: F, size of what the graph gives for a row.
    """

    def __init__(self, engine: Engine, slots: Sequence[int], width: int, features: int) -> None:
        self._engine = engine
        self._slots, self._width, self._width_out = tuple(slots), width, features
        self._lock = threading.Lock()
        self._slabs: dict[int, Slab] = {}  # replaced as a whole, never changed
        self._free: dict[int, list[int]] = {}
        self._live = {HEAD_ONLY}
        self._mixtures = Mixtures(engine, self._slots, width)
        # No engine takes a matrix product over an empty dimension for granted: rank 0 is one hidden unit of zeros.
        self._zeros = engine.allocate(bank.slot_shapes(self._slots, width, 1), 1)

    def reserve(self, ranks: Iterable[int]) -> None:
        """Make room for new tasks of these ranks, so that writing them has nothing to move.

        Raises:
            EngineError: no memory for them, or more than the engine takes.
        """
        with self._lock:
            for rank, count in Counter(ranks).items():
                lacking = count - len(self._free.get(rank, ()))
                if rank and lacking > 0:
                    held = self._slabs[rank].capacity if rank in self._slabs else 1
                    self._grow(rank, held + lacking)

    def write(self, adapter: Adapter, handle: Handle | None = None) -> Handle:
        """Put a task into the bank, and return where.

        Args:
            adapter: the task; of any rank.
            handle: the task that it replaces: in place where the rank is the same, else elsewhere.

        Raises:
            FormatError: a block without a slot, or a tensor that overflows float32.
            EngineError: no such task to replace, no memory, or a larger rank or more tasks than the engine takes.
                Whatever is raised, the bank is as it was.
        """
        spec = adapter.task.adapter
        bank.check_slots(adapter.task.name, spec.blocks, self._slots)
        tensors = bank.folded_blocks(adapter)
        with self._lock:
            if handle is not None:
                self._check(handle)
            place = handle if handle is not None and handle.rank == spec.rank else self._room(spec.rank)
            if place.rank:
                self._slabs[place.rank].write(place.slot, tensors)
                self._mixtures.forget(place)
            if place not in self._live:
                self._free[place.rank].remove(place.slot)
                self._live.add(place)
            if handle is not None and handle != place:
                self._release(handle)
        return place

    def remove(self, handle: Handle) -> None:
        """Let a later task have this one's slot.

        Raises:
            EngineError: no such task.
        """
        with self._lock:
            self._check(handle)
            self._release(handle)

    def features(self, images: Array, image: npt.NDArray[np.int64], handles: Sequence[Handle]) -> Array:
        """Return each row's features, float32 [B, F]; rows that are alike run once.

        Args:
            images: float32 [N, 3, H, W], preprocessed.
            image: int64 [B], which image each row asks about.
            handles: B of them, each row's task.

        Raises:
            EngineError: a row names no image or task of these, or the engine failed or gave another shape.
        """
        bank.check_rows(len(images), image, np.zeros(len(handles), dtype=np.int64), 1)
        pairs = list(zip(image.tolist(), handles, strict=True))
        rows = {pair: row for row, pair in enumerate(dict.fromkeys(pairs))}
        own = np.array([place for place, _ in rows], dtype=np.int64)
        asked = [handle for _, handle in rows]
        limits = self._engine.limits
        if limits.takes(max(len(images), len(own))):
            result = self._run(images, own, asked)
        else:
            parts = [self._run_part(images, own[part], asked[part]) for part in limits.parts(len(own))]
            result = np.concatenate(parts)
        return result if len(rows) == len(pairs) else result[[rows[pair] for pair in pairs]]

    def _run_part(self, images: Array, image: npt.NDArray[np.int64], handles: Sequence[Handle]) -> Array:
        """Run rows with the images that they ask about alone."""
        different, place = np.unique(image, return_inverse=True)
        return self._run(images[different], place.reshape(-1).astype(np.int64), handles)

    def _run(self, images: Array, image: npt.NDArray[np.int64], handles: Sequence[Handle]) -> Array:
        with self._bank(dict.fromkeys(handles)) as held:
            task = np.array([held.places[handle] for handle in handles], dtype=np.int64)
            bank.check_rows(len(images), image, task, held.slab.capacity if held.slot is None else 1)
            feeds: dict[str, AnyArray] = {bank.IMAGES: images, bank.IMAGE: image, bank.TASK: task}
            found = self._engine.run(feeds, held.slab, held.slot)
        return outputs.take(found, bank.FEATURES, len(handles), self._width_out)

    @contextlib.contextmanager
    def _bank(self, different: Collection[Handle]) -> Iterator[_Bank]:
        """Give what a run of these tasks reads: one task's slot, a rank's slab, or several ranks' tasks together."""
        slabs = self._slabs
        for handle in different:
            self._check(handle)
        ranks = {handle.rank for handle in different if handle.rank}
        if len(different) == 1:
            (handle,) = different
            yield _Bank(slabs[handle.rank] if handle.rank else self._zeros, {handle: 0}, handle.slot)
        elif len(ranks) == 1:
            yield _Bank(slabs[ranks.pop()], {handle: handle.slot for handle in different})
        else:

            def read(handle: Handle) -> Mapping[str, AnyArray]:
                return slabs[handle.rank].read(handle.slot) if handle.rank else {}

            with self._mixtures.lend(different, read, slabs[max(ranks)].capacity) as (slab, places):
                yield _Bank(slab, places)

    def _check(self, handle: Handle) -> None:
        if handle not in self._live:
            raise EngineError(f"the bank holds no task of rank {handle.rank} in slot {handle.slot}")

    def _room(self, rank: int) -> Handle:
        """Return a place that no task has."""
        if not rank:
            return HEAD_ONLY
        if not self._free.get(rank):
            held = self._slabs[rank].capacity if rank in self._slabs else 1
            most = self._engine.limits.max_slots or sys.maxsize
            self._grow(rank, max(held + 1, min(most, max(FIRST, 2 * held))))
        return Handle(rank, self._free[rank][-1])

    def _release(self, handle: Handle) -> None:
        if handle.rank:
            self._live.remove(handle)
            self._mixtures.forget(handle)
            self._free[handle.rank].append(handle.slot)

    def _grow(self, rank: int, capacity: int) -> None:
        """Give a rank a slab of at least this capacity, with its tasks in the same slots."""
        self._check_limits(rank, capacity)
        grown = self._engine.allocate(bank.slot_shapes(self._slots, self._width, rank), capacity)
        held = self._slabs.get(rank)
        for handle in self._live:
            if held is not None and handle.rank == rank:
                grown.write(handle.slot, held.read(handle.slot))
        start = 1 if held is None else held.capacity
        # The lowest slots are given out first: what is never reached is never memory.
        self._free[rank] = [*reversed(range(start, grown.capacity)), *self._free.get(rank, ())]
        self._slabs = {**self._slabs, rank: grown}

    def _check_limits(self, rank: int, capacity: int) -> None:
        """Refuse a slab that the engine does not take; slot 0 of each is the empty task."""
        limits, name = self._engine.limits, self._engine.name
        if limits.max_rank is not None and rank > limits.max_rank:
            raise EngineError(f"{name} was opened for ranks up to {limits.max_rank}, a task has rank {rank}")
        if limits.max_slots is not None and capacity > limits.max_slots:
            raise EngineError(
                f"{name} was opened for {limits.max_slots - 1} tasks of one rank, and of rank {rank} there are more; "
                "serve fewer tasks"
            )
