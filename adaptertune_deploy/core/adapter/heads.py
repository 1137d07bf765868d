"""Heads: what makes logits of features, outside the graph, each of its own size.

    logits = features @ weight + bias

In numpy this takes microseconds beside the milliseconds of a backbone, whose graph then knows no class count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.storage.tensors import Array


@dataclass(frozen=True, eq=False)
class Head:
    """One task's head, divided by its temperature.

    weight: float32 [F, C].
    bias: float32 [C].
    """

    weight: Array
    bias: Array


def head_of(adapter: Adapter) -> Head:
    """Return a task's head as it is served.

    Raises:
        FormatError: the temperature makes it overflow float32.
    """
    return Head(bank.folded_tensor(adapter, bank.HEAD_WEIGHT), bank.folded_tensor(adapter, bank.HEAD_BIAS))


def apply(heads: Mapping[int, Head] | Sequence[Head], features: Array, task: npt.NDArray[np.int64]) -> list[Array]:
    """Return each row's logits, float32 [C of its task]; rows of one task are one product.

    Args:
        heads: of the tasks that rows ask for, or of more.
        features: float32 [B, F].
        task: int64 [B], each row's key or place in `heads`.
    """
    keys = task.tolist()
    different = dict.fromkeys(keys)
    if len(different) == 1:
        return list(_logits(heads[keys[0]], features))
    rows: dict[int, Array] = {}
    for key in different:
        places = np.flatnonzero(task == key)
        rows.update(zip(places.tolist(), _logits(heads[key], features[places]), strict=True))
    return [rows[place] for place in range(len(keys))]


def _logits(head: Head, features: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # whoever gives answers out looks whether they are finite
        logits: Array = features @ head.weight + head.bias
    return logits
