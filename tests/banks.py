"""Which task each row of a run was given, told from its tensors: places in a bank say nothing to who looks on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import Slab

Feeds = Mapping[str, npt.NDArray[Any]]


def all_inputs(feeds: Feeds, resident: Slab | None, slot: int | None) -> dict[str, npt.NDArray[Any]]:
    """Return what a graph is given when an engine runs with these arguments; see Engine.run."""
    if resident is None:
        return dict(feeds)
    assert isinstance(resident, HostSlab)
    part = slice(None) if slot is None else slice(slot, slot + 1)
    return {**{name: array[part] for name, array in resident.arrays.items()}, **feeds}


def tasks_of(feeds: Feeds, adapters: Sequence[Adapter]) -> list[int]:
    """Return each row's place among `adapters`, of which one at most may be of rank 0.

    Args:
        feeds: see all_inputs.
        adapters: the tasks; their `up.bias` tensors differ.
    """
    names = [name for name in feeds if name.endswith("up.bias")]
    parts = [bank.folded_blocks(adapter) for adapter in adapters]
    found = []
    for row in feeds[bank.TASK].tolist():
        same = [
            place
            for place, part in enumerate(parts)
            if all(np.array_equal(feeds[name][row], part.get(name, np.zeros_like(feeds[name][row]))) for name in names)
        ]
        assert len(same) == 1, f"a row was given the tensors of tasks {same}"
        found += same
    return found
