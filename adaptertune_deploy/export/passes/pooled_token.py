"""Nothing but the class token after the last block's attention, where the backbone pools by it.

A Gather takes one token of [B, S, D] at the end. This rewrite moves it up through every node that treats tokens one by
one (norms, sums, products with weights, activations, the softmax of one query's scores, an adapter's branch): keys
and values need all tokens, the query, its attention and all that follows only one. It stops by itself where a node
mixes tokens or where somebody else reads the others too: average pooling, attention pooling and several class tokens
stay as they are. The numbers are the same, up to the order in which an engine sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import (
    add_constant,
    attribute,
    constant,
    drop_unused,
    insert,
    integers,
)
from adaptertune_deploy.export.passes.rows import Needs, Pick, needs, rank

# What a node asks of each of its inputs: one row, everything (None), or nothing at all.
Demand = Pick | str | None
NOTHING = "nothing"


@dataclass(frozen=True)
class Plan:
    """One node's part: the row that it shall give, and what it needs for it."""

    pick: Pick
    needs: Needs


def pooled_token(model: ir.Model) -> None:
    """Move every Gather of one token as far up as tokens stay apart."""
    graph = model.graph
    plans = _plan(graph)
    made: dict[tuple[ir.Value, Pick], ir.Value] = {}
    for node, plan in plans.items():
        for place, pick in enumerate(plan.needs.inputs):
            value = node.inputs[place]
            if pick is not None and value is not None and value.producer() not in plans:
                if (value, pick) not in made:
                    made[value, pick] = _picked(graph, value, pick)
                node.replace_input_with(place, made[value, pick])
        _narrow(graph, node, plan)
    drop_unused(graph)


def _plan(graph: ir.Graph) -> dict[ir.Node, Plan]:
    """Return the nodes that shall compute one row, or none at all, in the graph's order, with what they need.

    Nodes are asked from the last to the first, so that everybody who reads a value has spoken before its maker.
    """
    plans: dict[ir.Node, Plan] = {}
    unread: set[ir.Node] = set()
    for node in reversed(list(graph)):
        if _takes_a_token(node):
            pick = Pick(1, (integers(node.inputs[1]) or [0])[0])
            plans[node] = Plan(pick, Needs((pick, None)))
            continue
        wanted = set(_demands(node, plans, unread))
        if wanted == {NOTHING}:
            unread.add(node)
        elif len(wanted := wanted - {NOTHING}) == 1:
            plan = _ask(node, wanted.pop())
            if plan is not None:
                plans[node] = plan
    idle = [node for node in plans if _takes_a_token(node) and _maker(node) not in plans]
    return {node: plan for node, plan in reversed(plans.items()) if node not in idle}


def _takes_a_token(node: ir.Node) -> bool:
    """Whether a node takes one constant index of the middle axis of [B, S, D]."""
    if node.op_type != "Gather" or attribute(node, "axis", 0) != 1 or rank(node.inputs[0]) != 3:
        return False
    index = constant(node.inputs[1])
    return index is not None and index.ndim == 0 and int(index) >= 0


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the node that makes a node's first input."""
    source = node.inputs[0]
    return None if source is None else source.producer()


def _demands(node: ir.Node, plans: dict[ir.Node, Plan], unread: set[ir.Node]) -> Iterator[Demand]:
    """Yield what everybody who reads a node's outputs asks for."""
    for output in node.outputs:
        if output.is_graph_output():
            yield None
        for reader, place in output.uses():
            plan = plans.get(reader)
            if reader in unread or (plan is not None and plan.needs.alias not in (None, place)):
                yield NOTHING
            else:
                yield None if plan is None else plan.needs.inputs[place]


def _ask(node: ir.Node, wanted: Demand) -> Plan | None:
    """Return how a node gives one row, None where it can't, or where one of the graph's own inputs would be cut."""
    found = needs(node, wanted) if isinstance(wanted, Pick) else None
    if found is None or not isinstance(wanted, Pick):
        return None
    cut = [value for value, pick in zip(node.inputs, found.inputs, strict=True) if pick is not None]
    return None if any(value is None or value.is_graph_input() for value in cut) else Plan(wanted, found)


def _picked(graph: ir.Graph, value: ir.Value, pick: Pick) -> ir.Value:
    """Return one row of a value that is whole, its axis kept."""
    array = constant(value)
    if array is not None:
        return add_constant(graph, np.take(array, [pick.index], axis=pick.axis), "row")
    shape = list(value.shape or ())
    shape[pick.axis] = 1
    maker = value.producer()
    assert maker is not None  # _ask leaves the graph's inputs alone
    return insert(maker, "Gather", [value, add_constant(graph, np.array([pick.index]))], {"axis": pick.axis}, shape)


def _narrow(graph: ir.Graph, node: ir.Node, plan: Plan) -> None:
    """Let a node whose inputs are one row compute one row."""
    if _takes_a_token(node):
        node.replace_input_with(1, add_constant(graph, np.array(0)))
        return
    if plan.needs.alias is not None:
        source = node.inputs[plan.needs.alias]
        assert source is not None  # it is what the row is taken from
        node.outputs[0].replace_all_uses_with(source)
        return
    for output in node.outputs:
        shape = list(output.shape or ())
        shape[plan.pick.axis] = 1
        output.shape = ir.Shape(shape)
    if node.op_type == "Reshape":
        sizes = integers(node.inputs[1]) or []
        sizes[plan.pick.axis] = min(1, sizes[plan.pick.axis]) or 1  # -1 stays
        node.replace_input_with(1, add_constant(graph, np.array(sizes)))
