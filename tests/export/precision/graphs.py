"""Small graphs for the precisions, and how they are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import AnyArray, OnnxFile

FLOAT, HALF, BRAIN = int(TensorProto.FLOAT), int(TensorProto.FLOAT16), int(TensorProto.BFLOAT16)


def make_file(
    nodes: Sequence[onnx.NodeProto],
    tensors: Mapping[str, AnyArray],
    inputs: Mapping[str, Sequence[int | str]],
    output: str,
    shape: Sequence[int | str],
) -> OnnxFile:
    """Return a graph of float32 inputs and one float32 output."""
    given = [helper.make_tensor_value_info(name, FLOAT, sizes) for name, sizes in inputs.items()]
    graph = helper.make_graph(nodes, "small", given, [helper.make_tensor_value_info(output, FLOAT, shape)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", onnx_file.OPSET)])
    model.ir_version = onnx_file.IR_VERSION
    return onnx_file.read(onnx_file.write(OnnxFile(model, dict(tensors)), "small"), "small")


def nodes_by_output(file: OnnxFile) -> dict[str, onnx.NodeProto]:
    return {name: node for node in file.model.graph.node for name in node.output}


def kinds(file: OnnxFile) -> dict[str, int]:
    """Return the element type of every value of a graph."""
    model = onnx.shape_inference.infer_shapes(onnx_file.without_weights(file), strict_mode=True)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return found | {entry.name: entry.data_type for entry in model.graph.initializer}


def random(shape: Sequence[int], scale: float = 1.0, seed: int = 0) -> AnyArray:
    return (np.random.default_rng(seed).normal(size=tuple(shape)) * scale).astype(np.float32)


def model_of(file: OnnxFile) -> onnx.ModelProto:
    """Return a graph as the onnx package holds it, weights included."""
    return onnx.load_from_string(onnx_file.write(file, "small"))
