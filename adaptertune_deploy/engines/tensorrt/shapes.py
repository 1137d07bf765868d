"""The shapes that a plan is built for: how many rows, images, slots and ranks it takes, and in which steps.

A plan takes any number of rows up to its largest. Runs come in steps of it, powers of two: what a step lacks is padded
with rows that nobody reads, so that each step has fixed shapes, one execution context and one CUDA graph. One row has a
profile of its own, since kernels for one are not those for many; the rest share one that is tuned for `usual_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.limits import steps_up_to

Sizes = tuple[int, ...]
Span = tuple[Sizes, Sizes, Sizes]  # least, usual, largest: what a profile takes


@dataclass(frozen=True)
class Capacity:
    """What a plan takes at most.

    rows: of one run; images too.
    usual_rows: what kernels are tuned for.
    slots, rank: of the bank.
    blocks: L, adapted blocks; 0 for a merged graph.
    """

    rows: int
    usual_rows: int
    slots: int
    rank: int
    blocks: int

    @property
    def steps(self) -> tuple[int, ...]:
        """Row counts that run without padding, ascending."""
        return steps_up_to(self.rows)


def profiles(inputs: Mapping[str, TensorInfo], capacity: Capacity) -> tuple[dict[str, Span], ...]:
    """Return for each optimisation profile what it takes of every input that has a dynamic size.

    The first is for one row, the second, where there is one, for more. An image may be asked about several times, so a
    profile of many rows takes from one image on.
    """
    found = [_profile(inputs, capacity, (1, 1, 1))]
    if capacity.rows > 1:
        usual = min(max(2, capacity.usual_rows), capacity.rows)
        found.append(_profile(inputs, capacity, (2, usual, capacity.rows)))
    return tuple(found)


def profile_for(rows: int) -> int:
    """Return the index of the profile that takes so many rows."""
    return 0 if rows == 1 else 1


def _profile(inputs: Mapping[str, TensorInfo], capacity: Capacity, rows: tuple[int, int, int]) -> dict[str, Span]:
    usual_slots, usual_rank = min(8, capacity.slots), min(8, capacity.rank)
    images = (1, *rows[1:]) if capacity.blocks else rows
    spans: dict[str, tuple[int, int, int]] = {
        "r": (1, usual_rank, capacity.rank),
        "TL": (capacity.blocks, usual_slots * capacity.blocks, capacity.slots * capacity.blocks),
        "2TL": (2 * capacity.blocks, 2 * usual_slots * capacity.blocks, 2 * capacity.slots * capacity.blocks),
    }
    found: dict[str, Span] = {}
    for name, info in inputs.items():
        spans["B"] = spans["N"] = images if name == bank.IMAGES else rows
        if any(isinstance(size, str) for size in info.shape):
            sizes = [spans[size] if isinstance(size, str) else (size,) * 3 for size in info.shape]
            least, usual, largest = (tuple(size[kind] for size in sizes) for kind in range(3))
            found[name] = (least, usual, largest)
    return found
