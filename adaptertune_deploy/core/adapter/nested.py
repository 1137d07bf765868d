"""Nested adapters: the first r hidden units of each are an adapter of rank r, for every width r they were trained at.

A bottleneck's hidden units don't know of each other, so that cutting is exact: what is left computes what the whole
adapter computes with the other units at zero. `up`'s bias and the head are the same at every width; the temperature is
not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adaptertune_deploy.core.spec import check_temperature
from adaptertune_deploy.core.storage.records import NOTED

if TYPE_CHECKING:
    from adaptertune_deploy.core.storage.tensors import Array


@dataclass(frozen=True)
class WidthMeasure:
    """What a width is worth on images that its training did not see.

    images: that were answered.
    loss: mean cross-entropy in nats at the width's own temperature, classes weighed as in training.
    top1: accuracy, 0..1.
    above, error: mean difference of the loss to that of the full width, image by image, and its standard error.
    """

    images: int
    loss: float
    top1: float
    above: float
    error: float


@dataclass(frozen=True)
class WidthRecord:
    """One width of nested adapters.

    rank: the width.
    temperature: the logits at this width are divided by it.
    measure: None where there were too few images.
    """

    rank: int
    temperature: float
    measure: WidthMeasure | None = field(default=None, metadata=NOTED)

    def __post_init__(self) -> None:
        check_temperature(self.temperature)


def check_widths(widths: Sequence[WidthRecord], rank: int) -> None:
    """Raise ValueError unless nested widths ascend to the rank of the task; none is right for any."""
    ranks = [width.rank for width in widths]
    if ranks and (ranks != sorted(set(ranks)) or ranks[0] < 1 or ranks[-1] != rank):
        raise ValueError(f"widths {ranks} must ascend from 1 or more to rank {rank}")


def width_name(rank: int) -> str:
    """Return the name of the candidate that nested adapters give at a width: "adapter-4"."""
    return f"adapter-{rank}"


def rank_of(candidate: str) -> int | None:
    """Return the width that a candidate's name says, None for the adapter as it was trained and the head."""
    found = re.fullmatch(r"adapter-([1-9][0-9]{0,4})", candidate)
    return int(found[1]) if found else None


def cut(tensors: Mapping[str, Array], rank: int) -> dict[str, Array]:
    """Return a task's tensors with the first `rank` hidden units of every adapter; core.adapter.identity names them."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith((".down.weight", ".down.bias")):
            found[name] = tensor[:rank].copy()
        elif name.endswith(".up.weight"):
            found[name] = tensor[:, :rank].copy()
    return found
