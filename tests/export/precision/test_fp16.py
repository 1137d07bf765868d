"""export.precision.fp16: float16 where it holds what was measured, float32 elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export.onnx_file import OnnxFile, array
from adaptertune_deploy.export.precision import fp16
from adaptertune_deploy.export.precision.ranges import Ranges
from tests.export.conftest import SLOTS
from tests.export.precision.graphs import FLOAT, HALF, kinds, nodes_by_output


def test_nothing_but_sums_stays_float32_where_everything_is_small(file: OnnxFile, ranges: Ranges) -> None:
    made = fp16.make(file, ranges)
    types, makers = kinds(made), nodes_by_output(made)
    assert max(ranges.largest.values()) < fp16.LIMIT
    stayed = {makers[name].op_type for name, kind in types.items() if kind == FLOAT and name in makers}
    assert stayed == {"LayerNormalization", "Cast"}
    assert {types[name] for name in bank.bank_names(SLOTS)} == {HALF}
    assert (types[bank.IMAGES], types[bank.FEATURES]) == (FLOAT, FLOAT)
    # The bank's tensors are gathered and multiplied as they are.
    inputs = {entry.name for entry in made.model.graph.input}
    gathered = [
        node.output[0] for node in made.model.graph.node if node.op_type == "Gather" and node.input[0] in inputs
    ]
    cast = {node.input[0] for node in made.model.graph.node if node.op_type == "Cast"}
    assert len(gathered) == 4 * len(SLOTS)
    assert not cast & {*gathered, *bank.bank_names(SLOTS)}


def test_half_the_bytes(file: OnnxFile, ranges: Ranges) -> None:
    floats = [array(tensor) for tensor in file.tensors.values() if array(tensor).dtype == np.float32]
    made = [array(tensor) for tensor in fp16.make(file, ranges).tensors.values()]
    halves = [tensor for tensor in made if tensor.dtype == np.float16]
    assert sum(tensor.nbytes for tensor in halves) > 0.49 * sum(tensor.nbytes for tensor in floats)


@pytest.mark.parametrize("value", ["blocks.1.mlp.fc1.MatMul", "blocks.0.adapter.Add_1"])
def test_whoever_reads_or_gives_a_large_value_stays_float32(file: OnnxFile, ranges: Ranges, value: str) -> None:
    assert value in ranges.largest
    wide = replace(ranges, largest={**ranges.largest, value: fp16.LIMIT * 1.01})
    made = fp16.make(file, wide)
    types = kinds(made)
    readers = [node for node in file.model.graph.node if value in node.input]
    assert types[value] == FLOAT
    assert readers
    assert {types[node.output[0]] for node in readers} == {FLOAT}
    bound = replace(ranges, largest={**ranges.largest, value: fp16.LIMIT * 0.99})
    assert kinds(fp16.make(file, bound))[value] == HALF


def test_a_weight_that_overflows_keeps_its_node_in_float32(file: OnnxFile, ranges: Ranges) -> None:
    name = "blocks.1.mlp.fc1.weight"
    heavy = array(file.tensors[name]).copy()
    heavy[0, 0] = 1e5
    made = fp16.make(OnnxFile(file.model, {**file.tensors, name: heavy}), ranges)
    types = kinds(made)
    assert types[name] == types["blocks.1.mlp.fc1.MatMul"] == FLOAT
    assert types["blocks.0.mlp.fc1.MatMul"] == HALF


@pytest.mark.parametrize(
    ("weight", "expected"),
    [([65504.0], True), ([65520.0], False), ([1e-9], False), ([0.0], True), ([1e-9, 1.0], True), ([-7e4, 1.0], False)],
)
def test_what_float16_holds(weight: list[float], expected: bool) -> None:
    assert fp16.fits(np.array(weight, np.float32)) is expected
