"""Which part of a node's inputs one row of its output needs.

`needs(node, pick)` answers for every operator that a Vision Transformer computes row by row; where an operator mixes
rows it answers None, and whoever asks keeps the whole input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import attribute, integers, slice_inputs, static


@dataclass(frozen=True)
class Pick:
    """One index along one axis, counted from 0, of a value; the axis stays, of size 1."""

    axis: int
    index: int


@dataclass(frozen=True)
class Needs:
    """What a node needs to give one row.

    inputs: for each input the row, or None for all of it.
    alias: the input whose row is the answer as it is, without the node; None where the node has to compute.
    """

    inputs: tuple[Pick | None, ...]
    alias: int | None = None


def needs(node: ir.Node, pick: Pick) -> Needs | None:
    """Return what a node needs to give only `pick` of its outputs, None where it needs every row."""
    rule = RULES.get(node.op_type)
    if rule is None or node.domain not in ("", "ai.onnx") or static(node.outputs[0]) is None:
        return None
    return rule(node, pick)


def rank(value: ir.Value | None) -> int:
    """Return the number of axes, -1 where it isn't known."""
    sizes = static(value)
    return -1 if sizes is None else len(sizes)


def _elementwise(node: ir.Node, pick: Pick) -> Needs | None:
    """Every input by its own axis; an input that is broadcast along the axis is needed whole."""
    whole = static(node.outputs[0]) or []
    picks: list[Pick | None] = []
    for value in node.inputs:
        sizes = static(value)
        if sizes is None:
            return None
        axis = pick.axis - (len(whole) - len(sizes))
        if axis < 0 or sizes[axis] == 1:
            picks.append(None)
        elif sizes[axis] is not None and sizes[axis] == whole[pick.axis]:
            picks.append(Pick(axis, pick.index))
        else:
            return None
    return Needs(tuple(picks))


def _first_input(node: ir.Node, pick: Pick) -> Needs:
    return Needs((pick, *[None] * (len(node.inputs) - 1)))


def _along(default: int) -> Callable[[ir.Node, Pick], Needs | None]:
    """The rule of an operator that works along its attribute `axis`, or from there on to the last."""

    def rule(node: ir.Node, pick: Pick) -> Needs | None:
        last = rank(node.inputs[0])
        axis = attribute(node, "axis", default) % last
        later = node.op_type == "LayerNormalization"
        return None if pick.axis == axis or (later and pick.axis > axis) else _first_input(node, pick)

    return rule


def _matmul(node: ir.Node, pick: Pick) -> Needs | None:
    """Rows of the left matrix, which may be a batch of them; the right one whole."""
    left, right = (rank(value) for value in node.inputs)
    out = rank(node.outputs[0])
    if left < 2 or right < 2 or pick.axis != out - 2:
        return None
    return Needs((Pick(left - 2, pick.index), None))


def _transpose(node: ir.Node, pick: Pick) -> Needs | None:
    found = node.attributes.get("perm")
    return None if found is None else Needs((Pick(found.as_ints()[pick.axis], pick.index),))


def _reshape(node: ir.Node, pick: Pick) -> Needs | None:
    """The axis of the same size with as much behind it, where the reshape leaves one alone."""
    before, after = static(node.inputs[0]), static(node.outputs[0]) or []
    behind = after[pick.axis + 1 :]
    if before is None or after[pick.axis] is None or None in behind or integers(node.inputs[1]) is None:
        return None
    volume = math.prod(size for size in behind if size is not None)
    for axis, size in enumerate(before):
        rest = before[axis + 1 :]
        if size == after[pick.axis] and None not in rest and math.prod(part or 0 for part in rest) == volume:
            return Needs((Pick(axis, pick.index), None))
    return None


def _gather(node: ir.Node, pick: Pick) -> Needs | None:
    axis, indices = attribute(node, "axis", 0) % max(1, rank(node.inputs[0])), rank(node.inputs[1])
    if indices < 0 or axis <= pick.axis < axis + indices:
        return None
    return Needs((Pick(pick.axis if pick.axis < axis else pick.axis - indices + 1, pick.index), None))


def _slice(node: ir.Node, pick: Pick) -> Needs | None:
    starts, ends, axes, steps = slice_inputs(node)
    sizes = static(node.inputs[0])
    if starts is None or ends is None or axes is None or sizes is None:
        return None
    axes = [axis % len(sizes) for axis in axes]
    picks: list[Pick | None] = [None] * len(node.inputs)
    if pick.axis not in axes:
        picks[0] = pick
        return Needs(tuple(picks))
    size = sizes[pick.axis]
    if axes != [pick.axis] or steps != [1] or size is None:
        return None
    start = starts[0] + size if starts[0] < 0 else starts[0]
    picks[0] = Pick(pick.axis, start + pick.index)
    return Needs(tuple(picks), alias=0)


def _concat(node: ir.Node, pick: Pick) -> Needs | None:
    if attribute(node, "axis", 0) % rank(node.outputs[0]) != pick.axis:
        return Needs((pick,) * len(node.inputs))
    index = pick.index
    for place, value in enumerate(node.inputs):
        size = (static(value) or [None] * (pick.axis + 1))[pick.axis]
        if size is None:
            return None
        if index < size:
            picks: list[Pick | None] = [None] * len(node.inputs)
            picks[place] = Pick(pick.axis, index)
            return Needs(tuple(picks), alias=place)
        index -= size
    return None


def _unsqueeze(node: ir.Node, pick: Pick) -> Needs | None:
    axes, out = integers(node.inputs[1]), rank(node.outputs[0])
    if axes is None or pick.axis in (made := [axis % out for axis in axes]):
        return None
    return Needs((Pick(pick.axis - sum(axis < pick.axis for axis in made), pick.index), None))


def _mean(node: ir.Node, pick: Pick) -> Needs | None:
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or attribute(node, "keepdims", 1) != 1:
        return None
    return None if pick.axis in [axis % rank(node.inputs[0]) for axis in axes] else _first_input(node, pick)


ELEMENTWISE = (
    "Add", "Cast", "Cos", "Div", "Erf", "Gelu", "Mul", "Neg", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sin", "Sqrt",
    "Sub", "Tanh",
)  # fmt: skip
RULES: dict[str, Callable[[ir.Node, Pick], Needs | None]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "Concat": _concat,
    "Gather": _gather,
    "LayerNormalization": _along(-1),
    "MatMul": _matmul,
    "ReduceMean": _mean,
    "Reshape": _reshape,
    "Slice": _slice,
    "Softmax": _along(-1),
    "Split": _along(0),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
