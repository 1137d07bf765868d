"""The bank: adapters of many tasks, stacked so that one frozen graph serves all of them.

The shared graph takes, besides `images` float32 [N, 3, H, W],

    image  int64 [B]   which image each row asks about
    task   int64 [B]   each row's place in the bank

and one stacked tensor per adapter tensor and block, named as in the adapter file, laid out [in, out] so that a
row multiplies without a transpose:

    blocks.{l}.adapter.down.weight [T, D, r]    blocks.{l}.adapter.down.bias [T, r]
    blocks.{l}.adapter.up.weight   [T, r, D]    blocks.{l}.adapter.up.bias   [T, D]

and gives `features` float32 [B, F], each row's pooled features; its task's head is applied outside
(core.adapter.heads), so that no head makes another one larger. T tasks, r the largest rank, at least 1. Padding with
zeros is exact: a padded hidden unit is GELU(0) = 0 times a zero row of `up`, and a block that a task leaves alone adds
zero, as every block does for a task that is a head only. `alpha` is folded into `up`, the temperature into the head.

One tensor per block, not one with a block axis: the gather then copies only what a block needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.errors import EngineError, FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import TaskSpec
from adaptertune_deploy.core.storage.tensors import Array

IMAGES = "images"
IMAGE = "image"
TASK = "task"
FEATURES = "features"
LOGITS = "logits"
HEAD_WEIGHT = "head.weight"
HEAD_BIAS = "head.bias"

Size = TypeVar("Size", int, str)


def bank_names(slots: Sequence[int]) -> tuple[str, ...]:
    """Return the bank inputs of a shared graph with adapter slots after these blocks, in the graph's order."""
    return tuple(
        tensor_name(block, side, kind) for block in slots for side in ("down", "up") for kind in ("weight", "bias")
    )


def folded(adapter: Adapter) -> dict[str, Array]:
    """Return one task's tensors in graph layout, float32.

    Weights are [in, out]; alpha is folded into `up`, and the head is divided by the temperature.

    Raises:
        FormatError: a tensor overflows float32 so.
    """
    return {name: folded_tensor(adapter, name) for name in adapter.tensors}


def folded_tensor(adapter: Adapter, name: str) -> Array:
    """Return one of a task's tensors as `folded` does.

    Raises:
        FormatError: it overflows float32 so.
    """
    with np.errstate(over="ignore"):
        value, cause = _fold(name, adapter.tensors[name], adapter.task)
    if value is not adapter.tensors[name] and not np.isfinite(value).all():
        raise FormatError(f"task '{adapter.task.name}': {cause} overflows float32; train it again")
    return np.ascontiguousarray(value.T) if value.ndim == 2 else value


def _fold(name: str, tensor: Array, task: TaskSpec) -> tuple[Array, str]:
    """Return a tensor with alpha or the temperature in it, and what was done in words."""
    if name in (HEAD_WEIGHT, HEAD_BIAS):
        return tensor / np.float32(task.temperature), f"'{name}' divided by temperature {task.temperature:g}"
    if ".up." in name:
        return tensor * np.float32(task.adapter.alpha), f"alpha {task.adapter.alpha:g} times '{name}'"
    return tensor, f"'{name}'"


def folded_blocks(adapter: Adapter) -> dict[str, Array]:
    """Return what one task puts into a bank: `folded` without the head; nothing for rank 0."""
    return {name: folded_tensor(adapter, name) for name in adapter.tensors if name not in (HEAD_WEIGHT, HEAD_BIAS)}


def stack(parts: Sequence[Mapping[str, Array]], slots: Sequence[int], width: int, least: int = 1) -> dict[str, Array]:
    """Return a bank of several tasks, padded with zeros to the largest rank among them.

    Args:
        parts: `folded_blocks` of each task, or the same in another float type.
        slots: blocks after which the graph has slots.
        width: D, channels of the backbone's tokens.
        least: rank of the bank at least; no engine takes a matrix product over an empty dimension for granted.
    """
    rank = max([least, *(len(value) for part in parts for name, value in part.items() if name.endswith("down.bias"))])
    dtype = next((value.dtype for part in parts for value in part.values()), np.dtype(np.float32))
    shapes = slot_shapes(slots, width, rank)
    result = {name: np.zeros((len(parts), *shape), dtype) for name, shape in shapes.items()}
    for row, part in enumerate(parts):
        for name, value in part.items():
            result[name][row][tuple(slice(size) for size in value.shape)] = value
    return result


def dtype_in(precision: Precision) -> np.dtype[Any]:
    """Return what the bank's inputs hold in a graph of this precision.

    float16 halves what tasks take on a device and spares a cast behind every gather. numpy has no bfloat16, and in int8
    graphs the adapters stay float32.
    """
    return np.dtype(np.float16 if precision is Precision.FP16 else np.float32)


def check_slots(task: str, blocks: Sequence[int], slots: Sequence[int]) -> None:
    """Raise FormatError when a task adapts a block that the graph has no slot for."""
    homeless = [block for block in blocks if block not in slots]
    if homeless:
        raise FormatError(
            f"task '{task}' adapts block {homeless[0]}, but the shared graph has slots after blocks "
            f"{', '.join(map(str, slots))} only; run atd export again with this task"
        )


def check_rows(images: int, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64], tasks: int) -> None:
    """Raise EngineError unless every row asks about an image and for a task that are there.

    Engines differ in what they do with an index out of range, and some answer with a plausible wrong row.

    Args:
        images: N, number of images of the run.
        image: int64 [B].
        task: int64 [B].
        tasks: T, number of tasks in the bank.
    """
    for name, index, count in ((IMAGE, image, images), (TASK, task, tasks)):
        if index.dtype != np.int64 or index.ndim != 1 or index.shape != image.shape or not index.size:
            raise EngineError(
                f"'{name}' is {index.dtype} {list(index.shape)}, expected int64 [{max(1, image.size)}], one a row"
            )
        if index.min() < 0 or index.max() >= count:
            raise EngineError(f"'{name}' names {index.min()} to {index.max()}, but there are {count} only")


def input_shapes(slots: Sequence[int], width: int) -> dict[str, tuple[int | str, ...]]:
    """Return the bank inputs' shapes for a backbone, in the graph's order; "T" and "r" are dynamic."""
    return {name: ("T", *_slot_shape(name, width, "r")) for name in bank_names(slots)}


def slot_shapes(slots: Sequence[int], width: int, rank: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one task's place in a bank of this rank, in the graph's order."""
    return {name: _slot_shape(name, width, rank) for name in bank_names(slots)}


def _slot_shape(name: str, width: int, rank: Size) -> tuple[int | Size, ...]:
    if name.endswith("down.weight"):
        return (width, rank)
    if name.endswith("down.bias"):
        return (rank,)
    if name.endswith("up.weight"):
        return (rank, width)
    return (width,)
