"""Queries, keys and values by one Gather each.

torch takes q, k, v from [3, B, H, S, d] by Slice and Squeeze, or Split and Squeeze; TensorRT turns each such Slice into
some twenty layers of index arithmetic. Gather(axis 0, scalar) is one layer, and the same bytes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import (
    add_constant,
    attribute,
    drop_unused,
    insert,
    integers,
    slice_inputs,
    static,
)


def qkv_gather(model: ir.Model) -> None:
    """Replace every Squeeze of one index of a leading axis by a Gather of that index."""
    graph = model.graph
    for node in list(graph):
        found = _leading_index(node) if node.op_type == "Squeeze" else None
        if found is None:
            continue
        source, index = found
        (squeezed,) = node.outputs
        output = insert(
            node, "Gather", [source, add_constant(graph, np.array(index))], {"axis": 0}, list(squeezed.shape or ())
        )
        squeezed.replace_all_uses_with(output)
    drop_unused(graph)


def _leading_index(squeeze: ir.Node) -> tuple[ir.Value, int] | None:
    """Return the value that a Squeeze takes one index of, and the index; None where it does something else."""
    (squeezed,) = squeeze.outputs
    part = squeeze.inputs[0]
    cut = part.producer() if part is not None else None
    axes = integers(squeeze.inputs[1]) if len(squeeze.inputs) > 1 else None
    if axes != [0] or cut is None or squeezed.shape is None or squeezed.is_graph_output():
        return None
    source = cut.inputs[0]
    sizes = static(source)
    if source is None or not sizes or sizes[0] is None:
        return None
    if cut.op_type == "Slice":
        start = _slice_of_one(cut, sizes[0])
    elif cut.op_type == "Split" and attribute(cut, "axis", 0) == 0 and len(cut.outputs) == sizes[0]:
        start = cut.outputs.index(part)
    else:
        return None
    return None if start is None else (source, start)


def _slice_of_one(node: ir.Node, size: int) -> int | None:
    """Return the index that a Slice cuts out of axis 0, None where it cuts more, or another axis."""
    starts, ends, axes, steps = slice_inputs(node)
    if not starts or not ends or axes != [0] or steps != [1] or len(starts) != 1:
        return None
    start, end = (value + size if value < 0 else min(value, size) for value in (starts[0], ends[0]))
    return start if end == start + 1 else None
