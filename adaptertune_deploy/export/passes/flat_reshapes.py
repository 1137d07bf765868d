"""No Reshape to [-1] of what has one axis already; torch's index_select leaves one before each Gather."""

from __future__ import annotations

import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import drop_unused, integers, static


def flat_reshapes(model: ir.Model) -> None:
    """Read the input of every such Reshape instead of its output."""
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        if node.op_type != "Reshape" or source is None or node.outputs[0].is_graph_output():
            continue
        if len(static(source) or ()) == 1 and integers(node.inputs[1]) == [-1]:
            node.outputs[0].replace_all_uses_with(source)
    drop_unused(model.graph)
