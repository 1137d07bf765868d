"""What decides a task's answers besides its tensors, and which tensors those are.

core.adapter.folder says where they lie.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.spec import HEAD_ONLY, BackboneSpec, PreprocessSpec, TaskSpec, check_temperature
from adaptertune_deploy.core.storage import records


@dataclass(frozen=True)
class ProbeRecord:
    """The tuned linear probe, candidate "head".

    penalty: scikit-learn's C, the inverse of the penalty's strength.
    temperature: its logits are divided by it.
    """

    penalty: float
    temperature: float

    def __post_init__(self) -> None:
        check_temperature(self.temperature)


@dataclass(frozen=True)
class Identity:
    """What decides a task's answer besides its tensors: labels and their order, alpha, blocks, temperature, ..."""

    task: TaskSpec
    backbone: BackboneSpec
    preprocess: PreprocessSpec

    @property
    def sha256(self) -> str:
        """See core.storage.records.digest."""
        return records.digest(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that the task's file holds."""
        return tensor_shapes(self.task, self.backbone)


@dataclass(frozen=True)
class FolderIdentity:
    """What decides the answers of an adapter folder besides its tensors: its candidates, and which of them ships."""

    task: TaskSpec
    probe: ProbeRecord
    ships: str
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    widths: tuple[WidthRecord, ...] = field(default=(), metadata=records.LATER)
    tuned_sha256: str = field(default="", metadata=records.LATER)

    @property
    def sha256(self) -> str:
        """See core.storage.records.digest."""
        return records.digest(self)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor that the folder's file holds."""
        probe = tensor_shapes(dataclasses.replace(self.task, adapter=HEAD_ONLY), self.backbone)
        own = tensor_shapes(self.task, self.backbone) if self.task.adapter.rank or self.tuned_sha256 else {}
        return own | {probe_name(name): shape for name, shape in probe.items()}


def tensor_name(block: int, side: str, kind: str) -> str:
    """Return the name of one adapter tensor: side "down" or "up", kind "weight" or "bias"."""
    return f"blocks.{block}.adapter.{side}.{kind}"


def tensor_shapes(task: TaskSpec, backbone: BackboneSpec) -> dict[str, tuple[int, ...]]:
    """Return every tensor's name and shape for a task on a backbone, [out, in] layout."""
    rank, width, classes = task.adapter.rank, backbone.width, len(task.labels)
    shapes: dict[str, tuple[int, ...]] = {}
    for block in task.adapter.blocks:
        shapes[tensor_name(block, "down", "weight")] = (rank, width)
        shapes[tensor_name(block, "down", "bias")] = (rank,)
        shapes[tensor_name(block, "up", "weight")] = (width, rank)
        shapes[tensor_name(block, "up", "bias")] = (width,)
    shapes["head.weight"] = (classes, backbone.features)
    shapes["head.bias"] = (classes,)
    return shapes


def probe_name(name: str) -> str:
    """Return the name in an adapter folder of a tensor of the probe's, which is called head.* elsewhere."""
    return f"probe.{name.removeprefix('head.')}"
