"""The folder adapters/<task>/: adapter_config.json and adapter_model.safetensors.

core.adapter.reference owns what lies beside. The folder holds two candidates, the tuned linear probe ("head") and
adapters with a head of their own ("adapter"); the config says which of them ships. The layout follows Hugging Face
PEFT's file names. Tensors keep torch's [out, in] layout:

    blocks.{l}.adapter.down.weight [r, D]    blocks.{l}.adapter.down.bias [r]
    blocks.{l}.adapter.up.weight   [D, r]    blocks.{l}.adapter.up.bias   [D]
    head.weight [C, features]                head.bias [C]
    probe.weight [C, features]               probe.bias [C]

A task that was trained with rank 0 has the last two only. The first r hidden units of nested adapters are adapters of
rank r, a candidate of its own, "adapter-4" (core.adapter.nested). A task that was trained by full fine-tuning holds in
the adapter's place the candidate "full": head.*, on a backbone of its own, whose weights lie beside in
backbone.safetensors, in timm's names. Whoever ships, its head is called head.* outside the folder. `alpha` and the
temperatures are never folded into these tensors; core.adapter.bank does that when it makes a bank.

What decides an answer besides the tensors stands in adapter_config.json, and its hash (an identity's sha256) in the
tensor file's own metadata, while the config holds the tensor file's hash: whoever edits one of the two files is found
out. Both hashes find damage and mix-ups; they are no signature.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from adaptertune_deploy.core.adapter.identity import FolderIdentity, Identity, ProbeRecord, probe_name, tensor_shapes
from adaptertune_deploy.core.adapter.nested import WidthRecord, check_widths, cut, rank_of, width_name
from adaptertune_deploy.core.adapter.samples import SampleRecord
from adaptertune_deploy.core.adapter.training_record import DatasetRecord, RecipeRecord
from adaptertune_deploy.core.errors import FormatError, UsageError, did_you_mean
from adaptertune_deploy.core.spec import (
    HEAD_ONLY,
    BackboneSpec,
    PreprocessSpec,
    TaskSpec,
    check_sha256,
)
from adaptertune_deploy.core.storage import files, records

if TYPE_CHECKING:
    from adaptertune_deploy.core.storage.tensors import Array

FORMAT_VERSION = 3
CONFIG_NAME = "adapter_config.json"
MODEL_NAME = "adapter_model.safetensors"
WEIGHTS_NAME = "backbone.safetensors"
ADAPTER, HEAD, FULL = "adapter", "head", "full"
SHIPS = (ADAPTER, HEAD)
OLDER = "a folder of an older version can't be read, train the task again with: atd train"


@dataclass(frozen=True)
class AdapterConfig:
    """Everything about a trained task but its tensors (adapter_config.json).

    task: as trained: its adapters of rank 0 and above, and the temperature of the candidate "adapter" or "full".
    probe: the candidate "head".
    ships: one of `candidates`.
    tensors_sha256: of adapter_model.safetensors.
    recipe: None only when rank 0 was trained.
    metrics: name -> value; accuracies in 0..1.
    versions: library -> version that trained it.
    samples: test images on which graphs of this task are verified.
    reference_sha256: of reference.safetensors, torch's logits for the samples; "" where there is none. See
        core.adapter.reference.
    calibration: images that were trained on, which tell an export how far a graph's values reach.
    tuned_sha256: of the backbone that full fine-tuning made of this one (see BackboneSpec.sha256); "" for adapters.
    widths: ranks that nested adapters can be cut to, ascending to the task's own; none where they are not nested.
    """

    format_version: int
    task: TaskSpec
    probe: ProbeRecord
    ships: str
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    dataset: DatasetRecord
    tensors_sha256: str
    recipe: RecipeRecord | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    samples: tuple[SampleRecord, ...] = ()
    reference_sha256: str = field(default="", metadata=records.LATER)
    calibration: tuple[SampleRecord, ...] = field(default=(), metadata=records.LATER)
    widths: tuple[WidthRecord, ...] = field(default=(), metadata=records.LATER)
    tuned_sha256: str = field(default="", metadata=records.LATER)

    def __post_init__(self) -> None:
        check_sha256(self.tensors_sha256)
        if self.reference_sha256:
            check_sha256(self.reference_sha256)
        if self.tuned_sha256:
            check_sha256(self.tuned_sha256)
        adapter = self.task.adapter
        if adapter.rank and self.tuned_sha256:
            raise ValueError(f"rank {adapter.rank} and a fine-tuned backbone exclude each other")
        if self.ships not in (*SHIPS, *self.candidates):
            raise ValueError(f"ships '{self.ships:.20}' must be one of {', '.join(self.candidates)}")
        if self.ships == ADAPTER and not adapter.rank:
            raise ValueError("ships 'adapter', but rank 0 was trained, which has none")
        if adapter.rank and self.recipe is None:
            raise ValueError(f"recipe is missing, though rank {adapter.rank} was trained")
        if adapter.blocks and adapter.blocks[-1] >= self.backbone.depth:
            raise ValueError(
                f"adapts block {adapter.blocks[-1]}, but {self.backbone.name} has {self.backbone.depth} blocks"
            )
        check_widths(self.widths, adapter.rank)

    @property
    def identity(self) -> FolderIdentity:
        """What decides the answers besides the tensors."""
        own = self.task, self.probe, self.ships, self.backbone, self.preprocess
        return FolderIdentity(*own, self.widths, self.tuned_sha256)

    @property
    def candidates(self) -> tuple[str, ...]:
        """What the folder holds: the adapter where there is one, the head, and nested adapters cut to each width."""
        if self.tuned_sha256:
            return (FULL, HEAD)
        narrow = (width_name(width.rank) for width in self.widths[:-1])
        return (ADAPTER, HEAD, *narrow) if self.task.adapter.rank else (HEAD,)

    def shipped(self, ship: str | None = None) -> TaskSpec:
        """Return the task as it leaves the folder: rank 0 and the probe's temperature for the candidate "head".

        Args:
            ship: one of `candidates`; None takes what the config says.

        Raises:
            UsageError: no such candidate, or the adapter of a task that was trained with rank 0.
        """
        chosen = self.ships if ship is None else ship
        if chosen == ADAPTER and not self.task.adapter.rank:
            raise UsageError(
                f"task '{self.task.name}' was trained with rank 0 and has no adapter to ship; leave out --ship "
                "adapter, or train it again with --rank 8"
            )
        if chosen not in self.candidates:
            known = self.candidates
            raise UsageError(f"no candidate '{chosen:.60}', only {', '.join(known)}.{did_you_mean(chosen, known)}")
        if chosen == HEAD:
            return dataclasses.replace(self.task, adapter=HEAD_ONLY, temperature=self.probe.temperature)
        if (rank := rank_of(chosen)) is None:  # as it was trained
            return self.task
        width = next(width for width in self.widths if width.rank == rank)
        shape = dataclasses.replace(self.task.adapter, rank=rank)
        return dataclasses.replace(self.task, adapter=shape, temperature=width.temperature)

    def leaving(self, ship: str | None = None) -> AdapterConfig:
        """Return the config with the backbone of what ships: that of full fine-tuning is another one.

        Args:
            ship: see `shipped`.
        """
        if (ship or self.ships) != FULL:
            return self
        return dataclasses.replace(self, backbone=dataclasses.replace(self.backbone, sha256=self.tuned_sha256))


@dataclass(frozen=True)
class Adapter:
    """What ships of a task, in memory: blocks.* and head.* -> float32 array, laid out as in the file."""

    task: TaskSpec
    tensors: dict[str, Array]


def pack(values: Mapping[str, Array], identity: Identity | FolderIdentity) -> bytes:
    """Return a task's tensor file, which says whose it is."""
    from adaptertune_deploy.core.adapter import tensor_file

    return tensor_file.pack(values, identity)


def write_tensors(folder: Path, values: Mapping[str, Array], identity: FolderIdentity) -> str:
    """Write both candidates' tensors as adapter_model.safetensors into `folder` and return its SHA-256."""
    data = pack(values, identity)
    files.write_bytes(folder / MODEL_NAME, data)
    return files.sha256_bytes(data)


def write_config(folder: Path, config: AdapterConfig) -> None:
    """Write adapter_config.json into `folder`; it comes last, after the tensors it vouches for."""
    records.write(folder / CONFIG_NAME, config)


def read_config(folder: Path) -> AdapterConfig:
    """Read adapter_config.json.

    Raises:
        FormatError: no such folder or file, unknown version or field, values that contradict each other.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such adapter folder; train one with: atd train --dataset {folder.name}")
    return records.read(folder / CONFIG_NAME, AdapterConfig, FORMAT_VERSION, OLDER)


def read_adapter(folder: Path, ship: str | None = None) -> tuple[AdapterConfig, Adapter]:
    """Read an adapter folder, check its tensors and its config against each other, and return what ships.

    The config is the one that leaves the folder: see AdapterConfig.leaving.

    Args:
        folder: adapters/<task>/.
        ship: one of the config's candidates; None takes the one that it names.

    Raises:
        FormatError: see read_config and core.adapter.tensor_file.read; also tensors of other names or shapes, or not
            finite.
        UsageError: see AdapterConfig.shipped.
    """
    from adaptertune_deploy.core.storage import tensors

    config = read_config(folder)
    config.shipped(ship)  # refused before the tensors are read
    data = read_folder_tensors(folder, config)
    held = tensors.unpack(data, config.identity.shapes, str(folder / MODEL_NAME))
    return config.leaving(ship), candidate(config, held, ship)


def weights_of(folder: Path, config: AdapterConfig) -> Path | None:
    """Return the file of the backbone that ships, None where it is not the folder's own.

    Args:
        folder: adapters/<task>/.
        config: as read_adapter returns it.
    """
    return folder / WEIGHTS_NAME if config.tuned_sha256 and config.backbone.sha256 == config.tuned_sha256 else None


def candidate(config: AdapterConfig, held: Mapping[str, Array], ship: str | None = None) -> Adapter:
    """Return what ships out of a folder's tensors, which hold every candidate; see AdapterConfig.shipped."""
    task = config.shipped(ship)
    named = {name: name for name in tensor_shapes(task, config.backbone)}
    if (ship or config.ships) == HEAD:
        named = {name: probe_name(name) for name in named}
    found = {name: held[place] for name, place in named.items()}
    narrower = 0 < task.adapter.rank < config.task.adapter.rank
    return Adapter(task, cut(found, task.adapter.rank) if narrower else found)


def read_folder_tensors(folder: Path, config: AdapterConfig) -> bytes:
    """Return the bytes of an adapter folder's tensor file; see core.adapter.tensor_file.read."""
    from adaptertune_deploy.core.adapter import tensor_file

    return tensor_file.read(folder / MODEL_NAME, config.tensors_sha256, config.identity, folder / CONFIG_NAME)


def unpack(data: bytes, identity: Identity, where: str) -> Adapter:
    """Return a task from the bytes of its tensor file, checked against its shapes."""
    from adaptertune_deploy.core.storage import tensors

    return Adapter(identity.task, tensors.unpack(data, identity.shapes, where))


def list_adapters(root: Path) -> tuple[Path, ...]:
    """Return the adapter folders below `root`, sorted by name; empty when there is none."""
    if not root.is_dir():
        return ()
    return tuple(sorted(path for path in root.iterdir() if (path / CONFIG_NAME).is_file() and path.name[0] != "."))
