"""Class, distillation and register tokens by Pad and one Add.

torch expands such a token to the batch's size and concatenates it with the patches': Shape, Concat, Expand, Concat.
That is shape arithmetic on the host, which keeps an engine from capturing the graph once and replaying it. Rows of
zeros beside the patches' tokens (Pad), plus a constant [1, S, D] that holds the tokens, are the same numbers; the
constant takes in the position embedding where its Add comes just after or just before.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import (
    AnyArray,
    add_constant,
    attribute,
    constant,
    drop_unused,
    insert,
    static,
)


def class_token(model: ir.Model) -> None:
    """Replace every Concat of expanded constant tokens and computed ones, [B, S, D] along S."""
    for node in list(model.graph):
        if node.op_type == "Concat":
            _rewrite(model.graph, node)
    drop_unused(model.graph)


def _rewrite(graph: ir.Graph, concat: ir.Node) -> None:
    (joined,) = concat.outputs
    sizes = static(joined)
    parts = [_token(value) for value in concat.inputs]
    computed = [value for value, part in zip(concat.inputs, parts, strict=True) if part is None]
    if sizes is None or len(sizes) != 3 or attribute(concat, "axis", 0) not in (1, -2) or len(computed) != 1:
        return
    patches = computed[0]
    inner = static(patches)
    count, width = inner[1] if inner else None, sizes[2]
    if patches is None or len(parts) == 1 or count is None or width is None or joined.is_graph_output():
        return
    before = [part is None for part in parts].index(True)
    rows = [np.zeros((1, count, width), np.float32) if part is None else part for part in parts]
    tokens = np.concatenate(rows, axis=1)
    lead = sum(row.shape[1] for row in rows[:before])
    tail = tokens.shape[1] - lead - count
    last, target = concat, joined
    after = _following_add(joined)
    if after is not None:
        last, added = after
        target = last.outputs[0]
        tokens = (tokens + added).astype(np.float32)
    else:
        patches, added = _preceding_add(patches)
        tokens[:, lead : lead + count] += added
    pads = add_constant(graph, np.array([0, lead, 0, 0, tail, 0]))
    padded = insert(concat, "Pad", [patches, pads], {}, list(joined.shape or ()))
    scope = last if after is not None else concat
    made = insert(
        _maker(padded), "Add", [padded, add_constant(graph, tokens, "tokens")], {}, list(joined.shape or ()), scope
    )
    target.replace_all_uses_with(made)


def _maker(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None  # it was made by a node that was just put there
    return node


def _token(value: ir.Value | None) -> AnyArray | None:
    """Return the constant [1, n, D] that a value holds for every image of a batch, None where it is computed."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Expand":
        return None
    token, sizes = constant(node.inputs[0]), static(value)
    if token is None or sizes is None or token.ndim > 3 or token.dtype != np.float32:
        return None
    token = token.reshape((1,) * (3 - token.ndim) + token.shape)
    return token if token.shape[0] == 1 and list(token.shape[1:]) == sizes[1:] else None


def _following_add(value: ir.Value) -> tuple[ir.Node, AnyArray] | None:
    """Return the Add of a constant that alone reads a value, with the constant."""
    uses = list(value.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add" or uses[0].node.outputs[0].is_graph_output():
        return None
    added = _added(uses[0].node, value)
    return None if added is None else (uses[0].node, added)


def _preceding_add(value: ir.Value) -> tuple[ir.Value, AnyArray]:
    """Return what an Add of a constant adds to, and the constant; the value itself and 0 where there is none."""
    node = value.producer()
    if node is not None and node.op_type == "Add" and len(list(value.uses())) == 1:
        for source in node.inputs:
            added = _added(node, source) if source is not None else None
            if source is not None and added is not None and static(source) == static(value):
                return source, added
    return value, np.zeros(1, np.float32)


def _added(node: ir.Node, value: ir.Value) -> AnyArray | None:
    """Return the constant that an Add adds to [B, S, D], None where it is computed or would make that larger."""
    others = [other for other in node.inputs if other is not value]
    added = constant(others[0]) if len(others) == 1 else None
    if added is None or added.ndim > 3 or (added.ndim == 3 and added.shape[0] != 1):
        return None
    return added
