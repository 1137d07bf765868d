"""The folder adapters/<task>/: adapter_config.json and adapter_model.safetensors.

The layout follows Hugging Face PEFT's file names. Tensors keep torch's [out, in] layout:

    blocks.{l}.adapter.down.weight [r, D]    blocks.{l}.adapter.down.bias [r]
    blocks.{l}.adapter.up.weight   [D, r]    blocks.{l}.adapter.up.bias   [D]
    head.weight [C, features]                head.bias [C]

`alpha` is never folded into these tensors; core.bank does that when it makes a bank.

What decides an answer besides the tensors stands in adapter_config.json, and its hash (identity_sha256) in the tensor
file's own metadata, while the config holds the tensor file's hash: whoever edits one of the two files is found out.
Both hashes find damage and mix-ups; they are no signature.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core import files, records, tensors
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.samples import SampleRecord
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec, check_sha256
from adaptertune_deploy.core.tensors import Array

FORMAT_VERSION = 2
CONFIG_NAME = "adapter_config.json"
MODEL_NAME = "adapter_model.safetensors"
IDENTITY_KEY = "adaptertune_identity_sha256"


@dataclass(frozen=True)
class DatasetRecord:
    """What an adapter was trained on.

    name: dataset name as given to `atd train`.
    val_split: the rule that made the validation split: "official", "stratified:0.1" or "none".
    train, val, test: number of images in each split.
    split_sha256: hash of the sample names of every split, in order.
    licence: the dataset's terms as its publisher states them, or a sentence saying that they are unknown.
    """

    name: str
    val_split: str
    train: int
    val: int
    test: int
    split_sha256: str
    licence: str


@dataclass(frozen=True)
class Identity:
    """What decides an answer besides the tensors: labels and their order, alpha, blocks, backbone, preprocessing."""

    task: TaskSpec
    backbone: BackboneSpec
    preprocess: PreprocessSpec

    @property
    def sha256(self) -> str:
        """Hash of the values as JSON, keys sorted; numbers as a reader of the file would find them."""
        read: Identity = records.parse(json.loads(records.dump(self)), Identity, "identity")
        text = json.dumps(dataclasses.asdict(read), sort_keys=True, separators=(",", ":"))
        return files.sha256_bytes(text.encode())


@dataclass(frozen=True)
class AdapterConfig:
    """Everything about a trained task but its tensors (adapter_config.json).

    metrics: name -> value; accuracies in 0..1.
    versions: library -> version that trained it.
    tensors_sha256: of adapter_model.safetensors.
    samples: held-back images on which graphs of this task are verified.
    """

    format_version: int
    task: TaskSpec
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    dataset: DatasetRecord
    tensors_sha256: str
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    samples: tuple[SampleRecord, ...] = ()

    def __post_init__(self) -> None:
        check_sha256(self.tensors_sha256)
        last = self.task.adapter.blocks[-1]
        if last >= self.backbone.depth:
            raise ValueError(f"adapts block {last}, but {self.backbone.name} has {self.backbone.depth} blocks")

    @property
    def identity(self) -> Identity:
        """What decides the answers besides the tensors."""
        return Identity(self.task, self.backbone, self.preprocess)


@dataclass(frozen=True)
class Adapter:
    """A task's adapters and head in memory: name -> float32 array, named and laid out as in the file."""

    task: TaskSpec
    tensors: dict[str, Array]


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


def write_tensors(folder: Path, values: Mapping[str, Array], identity: Identity) -> str:
    """Write adapter_model.safetensors into `folder` and return its SHA-256."""
    data = tensors.pack(values, (IDENTITY_KEY, identity.sha256))
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
    return records.read(folder / CONFIG_NAME, AdapterConfig, FORMAT_VERSION)


def read_adapter(folder: Path) -> tuple[AdapterConfig, Adapter]:
    """Read an adapter folder and check its tensors and its config against each other.

    Raises:
        FormatError: see read_config and read_tensor_file; also tensors of other names or shapes, or not finite.
    """
    config = read_config(folder)
    return config, unpack(read_folder_tensors(folder, config), config.identity, str(folder / MODEL_NAME))


def read_folder_tensors(folder: Path, config: AdapterConfig) -> bytes:
    """Return the bytes of an adapter folder's tensor file; see read_tensor_file."""
    return read_tensor_file(folder / MODEL_NAME, config.tensors_sha256, config.identity, folder / CONFIG_NAME)


def read_tensor_file(path: Path, sha256: str, identity: Identity, said_by: Path) -> bytes:
    """Return the bytes of a task's tensor file after comparing them with what another file says about it.

    The bytes that were hashed are the ones returned, so a file replaced afterwards can't slip in.

    Args:
        path: the tensor file.
        sha256: the hash that the other file holds.
        identity: what the other file says about the task.
        said_by: the other file, for messages.

    Raises:
        FormatError: absent, too large for the task, of another hash, or trained with other labels, alpha, blocks,
            backbone or preprocessing.
    """
    data = files.read_regular(path, tensors.size_limit(tensor_shapes(identity.task, identity.backbone)))
    found = files.sha256_bytes(data)
    if found != sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., expected {sha256[:12]}...; the file was changed or damaged, get it "
            "again or train the task again"
        )
    if tensors.read_note(data, IDENTITY_KEY, str(path)) != identity.sha256:
        raise FormatError(
            f"{said_by}: labels, alpha, blocks, backbone or preprocessing of task '{identity.task.name}' are not those "
            f"that {path.name} was trained with; one of the two was changed, get both again or train the task again"
        )
    return data


def unpack(data: bytes, identity: Identity, where: str) -> Adapter:
    """Return a task from the bytes of its tensor file, checked against its shapes."""
    shapes = tensor_shapes(identity.task, identity.backbone)
    return Adapter(identity.task, tensors.unpack(data, shapes, where))


def list_adapters(root: Path) -> tuple[Path, ...]:
    """Return the adapter folders below `root`, sorted by name; empty when there is none."""
    if not root.is_dir():
        return ()
    return tuple(sorted(path for path in root.iterdir() if (path / CONFIG_NAME).is_file() and path.name[0] != "."))
