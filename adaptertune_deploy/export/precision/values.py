"""Which values of a graph are float32, and what is known of each operator's types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import onnx
from onnx import TensorProto
from onnx.defs import OpSchema

from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OPSET, OnnxFile

NAMES: dict[int, str] = {
    TensorProto.FLOAT: "tensor(float)",
    TensorProto.FLOAT16: "tensor(float16)",
    TensorProto.BFLOAT16: "tensor(bfloat16)",
}


def float_values(file: OnnxFile) -> frozenset[str]:
    """Return the names of all float32 values: inputs, initialisers and what nodes give."""
    light = onnx_file.without_weights(file)
    graph = onnx.shape_inference.infer_shapes(light, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return frozenset(found | {entry.name for entry in graph.initializer if entry.data_type == TensorProto.FLOAT})


def takes(node: onnx.NodeProto, floats: frozenset[str], kind: int) -> bool:
    """Return whether a node may compute in another float type: the standard's operator takes all its floats in it.

    Args:
        node: of the default domain.
        floats: the graph's float32 values.
        kind: the element type, TensorProto.BFLOAT16 for example.
    """
    if node.op_type == "Cast":
        return False  # its result has the type that its attribute says
    schema = onnx.defs.get_schema(node.op_type, OPSET)
    allowed = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}
    inputs = _declared(node.input, schema.inputs)
    outputs = _declared(node.output, schema.outputs)
    read = [declared for name, declared in inputs if name in floats]
    given = [declared for name, declared in outputs if name in floats]
    return bool(read and given) and all(NAMES[kind] in allowed.get(declared, ()) for declared in (*read, *given))


def _declared(names: Iterable[str], formal: Sequence[OpSchema.FormalParameter]) -> Iterator[tuple[str, str]]:
    """Yield each name with the type that the operator declares for its place; the last place may be many."""
    for place, name in enumerate(names):
        yield name, formal[min(place, len(formal) - 1)].type_str
