"""engines.tensorrt.slab: slots in the GPU's memory, each written by three copies and at an address that stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.packed import PackedBank
from adaptertune_deploy.engines.tensorrt.slab import TensorrtSlab
from tests.engines.cuda_double import CudaDouble, cudaError_t

SLOTS, WIDTH, RANK = (0, 2), 8, 3
SHAPES = bank.slot_shapes(SLOTS, WIDTH, RANK)


def values(seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def make(dtype: type = np.float32) -> TensorrtSlab:
    return TensorrtSlab(PackedBank(SLOTS, WIDTH, np.dtype(dtype)), RANK, 4, 0)


def test_a_slot_holds_what_was_written_last_and_the_others_what_they_held(gpu: CudaDouble) -> None:
    slab = make()
    before = slab.addresses
    for slot, seed in ((2, 1), (3, 2), (2, 3)):
        slab.write(slot, values(seed))
    assert slab.addresses == before
    zeros = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for slot, wanted in enumerate((zeros, zeros, values(3), values(2))):
        for name, value in slab.read(slot).items():
            np.testing.assert_array_equal(value, wanted[name])


def test_a_write_is_three_copies(gpu: CudaDouble) -> None:
    slab = make()
    gpu.calls.clear()
    slab.write(1, values(1))
    assert [name for name in gpu.calls if name != "cudaSetDevice"] == ["cudaMemcpyAsync"] * 3 + [
        "cudaStreamSynchronize"
    ]


def test_values_take_the_graphs_type(gpu: CudaDouble) -> None:
    slab = make(np.float16)
    slab.write(0, values(1))
    for name, value in slab.read(0).items():
        assert value.dtype == np.float16
        np.testing.assert_array_equal(value, values(1)[name].astype(np.float16))


def test_what_does_not_fit_is_refused_and_nothing_written(gpu: CudaDouble) -> None:
    slab = make()
    slab.write(1, values(1))
    bias = "blocks.0.adapter.up.bias"
    for slot, tensors, message in (
        (4, values(2), "no slot 4, only 0 to 3"),
        (1, {**values(2), "head": np.zeros(1)}, "a slot has no tensor 'head'"),
        (1, {**values(2), bias: np.zeros(3)}, rf"tensor '{bias}' has shape \[3\], a slot \[8\]"),
    ):
        with pytest.raises(EngineError, match=message):
            slab.write(slot, tensors)
    np.testing.assert_array_equal(slab.read(1)[bias], values(1)[bias])
    with pytest.raises(EngineError, match="no slot -1"):
        slab.read(-1)


def test_no_memory_is_an_error_that_leaves_none_taken(gpu: CudaDouble) -> None:
    gpu.failing["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="the GPU is out of memory"):
        make()
    assert not [held for held in gpu.live.values() if not held.pinned]
