"""Tasks that are a head only share one row of the bank, their heads side by side.

Their features are the backbone's own, so an image that is asked about by several of them runs once. A row of an adapter
takes the bank's widest head with it, which bounds how many are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.spec import HEAD_ONLY, TaskSpec

# Columns of a joined head: at 1,024 features its copy costs a row 4 MB, little beside a pass through the backbone.
WIDEST = 1024


@dataclass(frozen=True)
class Places:
    """Where a session's tasks lie in its bank.

    row: int64 [tasks], the bank's row of each task.
    columns: each task's part of that row's logits.
    """

    row: npt.NDArray[np.int64]
    columns: tuple[slice, ...]

    @property
    def joined(self) -> bool:
        """Whether two tasks lie in one row."""
        return len(np.unique(self.row)) < len(self.row)


def join(adapters: Sequence[Adapter], widest: int = WIDEST) -> tuple[list[Adapter], Places]:
    """Return the rows of a bank for these tasks, and where each task lies in it.

    Args:
        adapters: the tasks.
        widest: most classes of heads that are joined; a head that is wider stands alone.
    """
    groups: list[list[int]] = []
    filling: list[int] = []
    for place, adapter in enumerate(adapters):
        if adapter.task.adapter.rank:
            groups.append([place])
            continue
        if not filling or sum(len(adapters[held].task.labels) for held in (*filling, place)) > widest:
            filling = []
            groups.append(filling)
        filling.append(place)
    rows, columns = np.zeros(len(adapters), dtype=np.int64), [slice(0)] * len(adapters)
    for row, group in enumerate(groups):
        start = 0
        for place in group:
            rows[place], end = row, start + len(adapters[place].task.labels)
            columns[place], start = slice(start, end), end
    return [_joined([adapters[place] for place in group]) for group in groups], Places(rows, tuple(columns))


def _joined(adapters: Sequence[Adapter]) -> Adapter:
    """Return one task whose logits are those of all of them; each head is divided by its own temperature."""
    if len(adapters) == 1:
        return adapters[0]
    parts = [bank.folded(adapter) for adapter in adapters]
    tensors = {name: np.concatenate([part[name].T for part in parts]) for name in (bank.HEAD_WEIGHT, bank.HEAD_BIAS)}
    labels = tuple(map(str, range(len(tensors[bank.HEAD_BIAS]))))
    return Adapter(TaskSpec("heads-only", labels, HEAD_ONLY), tensors)
