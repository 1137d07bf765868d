"""export.precision.bf16: bfloat16 for what opset 20 knows it for, and a bank that numpy can fill."""

from __future__ import annotations

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.precision import bf16
from adaptertune_deploy.export.precision.ranges import NONE
from tests.export.conftest import SLOTS
from tests.export.precision.graphs import BRAIN, FLOAT, kinds, nodes_by_output


def test_convolution_norms_and_the_bank_stay_float32(file: OnnxFile) -> None:
    made = bf16.make(file, NONE)
    types, makers = kinds(made), nodes_by_output(made)
    stayed = {makers[name].op_type for name, kind in types.items() if kind == FLOAT and name in makers}
    assert stayed == {"Conv", "LayerNormalization", "Gather", "Cast"}
    assert {types[name] for name in (*bank.bank_names(SLOTS), bank.IMAGES, bank.FEATURES)} == {FLOAT}


def test_a_tasks_tensors_are_cast_after_they_were_gathered(file: OnnxFile) -> None:
    """A Cast of an input would cast every task's tensors in every run."""
    made = bf16.make(file, NONE)
    inputs = {entry.name for entry in made.model.graph.input}
    assert not [node for node in made.model.graph.node if node.op_type == "Cast" and node.input[0] in inputs]
    makers, types = nodes_by_output(made), kinds(made)
    gathers = {node.output[0] for node in made.model.graph.node if node.op_type == "Gather" and node.input[0] in inputs}
    assert len(gathers) == 4 * len(SLOTS)
    casts = [node for node in made.model.graph.node if node.op_type == "Cast" and node.input[0] in gathers]
    assert len(casts) == len(gathers)
    assert {types[node.output[0]] for node in casts} == {BRAIN}
    assert makers["blocks.1.adapter.MatMul"].op_type == "MatMul"
    assert types["blocks.1.adapter.MatMul"] == BRAIN
