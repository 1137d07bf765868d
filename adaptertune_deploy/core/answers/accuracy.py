"""How well a task was found to answer when it was trained: travels with it, and no answer depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adaptertune_deploy.core.adapter.nested import width_name

if TYPE_CHECKING:
    from adaptertune_deploy.core.adapter.folder import AdapterConfig
    from adaptertune_deploy.core.spec import TaskSpec


@dataclass(frozen=True)
class AccuracyRecord:
    """Right answers of what ships of a task about its test images, in torch.

    dataset: its name as training recorded it.
    images: number of test images, at least 1.
    right: those whose first class was the true one.
    """

    dataset: str
    images: int
    right: int

    def __post_init__(self) -> None:
        if not 0 <= self.right <= self.images or self.images < 1:
            raise ValueError(f"accuracy on {self.dataset!r:.80}: {self.right} right of {self.images} images can't be")


def recorded(config: AdapterConfig, shipped: TaskSpec) -> AccuracyRecord | None:
    """Return what training measured of the candidate that ships, None where its config doesn't say.

    Args:
        config: of the adapter folder, as core.adapter.folder.read_adapter returns it.
        shipped: the task as it leaves the folder.
    """
    rank = shipped.adapter.rank
    tuned = config.tuned_sha256 and config.backbone.sha256 == config.tuned_sha256
    whole = "full" if tuned else "adapter" if rank else "head"
    candidate = whole if tuned or rank in (0, config.task.adapter.rank) else width_name(rank)
    top1, images = config.metrics.get(f"test_top1_{candidate}"), config.dataset.test
    if top1 is None or not 0 <= top1 <= 1 or images < 1:
        return None
    return AccuracyRecord(config.dataset.name, images, round(top1 * images))
