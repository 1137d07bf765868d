"""A learned query stays one row until it meets the images' tokens.

Attention pooling (SigLIP's MAP, PE) expands its query to the batch's size at once, which takes shape arithmetic (Shape,
Concat, Expand), and then projects equal rows. A product with the keys broadcasts by itself: the same numbers, and an
engine can compute the query when it loads the graph.
"""

from __future__ import annotations

import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import attribute, constant, drop_unused, integers, static

BROADCASTING = ("Add", "Div", "MatMul", "Mul", "Sub")
ROWWISE = ("Gelu", "LayerNormalization", "Softmax")


def late_batch(model: ir.Model) -> None:
    """Leave out every Expand of a constant along the first axis whose readers get along with one row."""
    for node in list(model.graph):
        if node.op_type == "Expand" and _adds_only_a_batch(node):
            narrow = _reach(node.outputs[0])
            token = node.inputs[0]
            if narrow is None or token is None:
                continue
            for value in narrow:
                value.shape = ir.Shape([1, *(value.shape or ())[1:]])
            node.outputs[0].replace_all_uses_with(token)
    drop_unused(model.graph)


def _adds_only_a_batch(expand: ir.Node) -> bool:
    token, sizes = constant(expand.inputs[0]), static(expand.outputs[0])
    return token is not None and sizes is not None and token.shape[:1] == (1,) and list(token.shape[1:]) == sizes[1:]


def _reach(start: ir.Value) -> list[ir.Value] | None:
    """Return the values that become one row when `start` does, None where a reader needs the batch.

    A reader that takes the batch from its other input ends the search: its output is what it was.
    """
    narrow = [start]
    for value in narrow:
        if value.is_graph_output():
            return None
        for reader in value.consumers():
            ends = _meets_the_batch(reader, narrow)
            if not ends and not _keeps_rows(reader, value):
                return None
            if not ends and reader.outputs[0] not in narrow:
                narrow.append(reader.outputs[0])
    return narrow


def _meets_the_batch(reader: ir.Node, narrow: list[ir.Value]) -> bool:
    """Whether an operator that broadcasts has another, computed input with as many axes."""
    if reader.op_type not in BROADCASTING:
        return False
    out = static(reader.outputs[0])
    others = [value for value in reader.inputs if value not in narrow and constant(value) is None]
    shapes = [static(value) for value in others]
    return any(
        shape is not None and out is not None and len(shape) == len(out) and shape[0] is None for shape in shapes
    )


def _keeps_rows(reader: ir.Node, value: ir.Value) -> bool:
    """Whether a node treats the rows of its first axis one by one, all of its other inputs being constants."""
    others = [other for other in reader.inputs if other is not value]
    axes, out = static(value) or [], static(reader.outputs[0]) or []
    if len(reader.outputs) != 1 or any(constant(other) is None for other in others):
        return False
    if reader.op_type == "Reshape":
        return (integers(reader.inputs[1]) or [0])[0] == -1 and axes[0] is out[0] is None
    if reader.op_type == "Transpose":
        permutation = reader.attributes.get("perm")
        return permutation is not None and permutation.as_ints()[0] == 0
    if reader.op_type in BROADCASTING:
        return len(axes) == len(out) and reader.inputs[0] is value
    return reader.op_type in ROWWISE and attribute(reader, "axis", -1) != 0
