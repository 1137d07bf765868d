"""The folder adapters/<task>/: adapter_config.json and adapter_model.safetensors.

The layout follows Hugging Face PEFT's file names. Tensors keep torch's [out, in] layout:

    blocks.{l}.adapter.down.weight [r, D]    blocks.{l}.adapter.down.bias [r]
    blocks.{l}.adapter.up.weight   [D, r]    blocks.{l}.adapter.up.bias   [D]
    head.weight [C, features]                head.bias [C]

`alpha` is never folded into these tensors; core.bank does that when it makes a bank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from adaptertune_deploy.core import files, tensors
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.spec import BackboneSpec, PreprocessSpec, TaskSpec
from adaptertune_deploy.core.tensors import Array

FORMAT_VERSION = 1
CONFIG_NAME = "adapter_config.json"
MODEL_NAME = "adapter_model.safetensors"
SAMPLES_NAME = "samples"


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
class AdapterConfig:
    """Everything about a trained task but its tensors (adapter_config.json).

    metrics: name -> value; accuracies in 0..1.
    versions: library -> version that trained it.
    tensors_sha256: of adapter_model.safetensors.
    """

    format_version: int
    task: TaskSpec
    backbone: BackboneSpec
    preprocess: PreprocessSpec
    dataset: DatasetRecord
    tensors_sha256: str
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


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


def write_tensors(folder: Path, values: Mapping[str, Array]) -> str:
    """Write adapter_model.safetensors into `folder` and return its SHA-256."""
    data = tensors.pack(values)
    files.write_bytes(folder / MODEL_NAME, data)
    return files.sha256_bytes(data)


def write_config(folder: Path, config: AdapterConfig) -> None:
    """Write adapter_config.json into `folder`; it comes last, after the tensors it vouches for."""
    files.write_json(folder / CONFIG_NAME, config)


def read_config(folder: Path) -> AdapterConfig:
    """Read adapter_config.json.

    Raises:
        FormatError: no such folder or file, unknown version or field, values that contradict each other.
    """
    if not folder.is_dir():
        raise FormatError(f"{folder}: no such adapter folder; train one with: atd train --dataset {folder.name}")
    config = files.read_json(folder / CONFIG_NAME, AdapterConfig, FORMAT_VERSION)
    last = config.task.adapter.blocks[-1]
    if last >= config.backbone.depth:
        raise FormatError(
            f"{folder}: adapts block {last}, but {config.backbone.name} has {config.backbone.depth} blocks"
        )
    return config


def read_adapter(folder: Path) -> tuple[AdapterConfig, Adapter]:
    """Read an adapter folder and check its tensors against its config.

    Raises:
        FormatError: see read_config; also tensors that differ from their hash, shapes, names or are not finite.
    """
    config = read_config(folder)
    data = read_tensor_file(folder / MODEL_NAME, config.task, config.backbone, config.tensors_sha256)
    return config, Adapter(config.task, unpack(data, config.task, config.backbone, str(folder / MODEL_NAME)))


def read_tensor_file(path: Path, task: TaskSpec, backbone: BackboneSpec, sha256: str) -> bytes:
    """Return the bytes of a task's tensor file after comparing them with `sha256`.

    The bytes that were hashed are the ones returned, so a file replaced afterwards can't slip in.

    Raises:
        FormatError: absent, too large for the task, or of another hash.
    """
    data = tensors.read_bytes(path, tensors.size_limit(tensor_shapes(task, backbone)))
    found = files.sha256_bytes(data)
    if found != sha256:
        raise FormatError(
            f"{path}: sha256 is {found[:12]}..., expected {sha256[:12]}...; the file was changed or damaged"
        )
    return data


def unpack(data: bytes, task: TaskSpec, backbone: BackboneSpec, where: str) -> dict[str, Array]:
    """Return the tensors of a task from the bytes of its file, checked against its shapes."""
    return tensors.unpack(data, tensor_shapes(task, backbone), where)


def list_adapters(root: Path) -> tuple[Path, ...]:
    """Return the adapter folders below `root`, sorted by name; empty when there is none."""
    if not root.is_dir():
        return ()
    return tuple(sorted(path for path in root.iterdir() if (path / CONFIG_NAME).is_file() and path.name[0] != "."))
