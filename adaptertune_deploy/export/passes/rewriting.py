"""The small verbs that every rewrite of a graph is made of."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from adaptertune_deploy.export.onnx_file import SMALL

AnyArray = npt.NDArray[Any]
MADE = "#"  # in the name of a constant that a rewrite has made, between what it is and a number


def constant(value: ir.Value | None) -> AnyArray | None:
    """Return what a value holds in every run, None where it is computed or handed over."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def integers(value: ir.Value | None) -> list[int] | None:
    """Return a constant of few integers as a list, None for anything else."""
    if value is None or value.const_value is None or value.const_value.size > SMALL:
        return None
    array = constant(value)
    return None if array is None or array.dtype != np.int64 else array.reshape(-1).tolist()


def static(value: ir.Value | None) -> list[int | None] | None:
    """Return a value's shape with None for each dynamic size, or None where not even its rank is known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def attribute(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.as_int()


def slice_inputs(node: ir.Node) -> tuple[list[int] | None, ...]:
    """Return a Slice's starts, ends, axes and steps, None for each that is computed; left out, they are ONNX's own."""
    found = [integers(value) for value in node.inputs[1:]]
    count = len(found[0] or ())
    return (*found, *(list(range(count)), [1] * count)[len(found) - 2 :])


def add_constant(graph: ir.Graph, array: AnyArray, hint: str = "") -> ir.Value:
    """Register an initialiser and return its value; passes.names gives it the name that the file shows.

    Args:
        graph: to hold it.
        array: what it holds.
        hint: what it is, for its name.
    """
    names = (f"{hint}{MADE}{number}" for number in itertools.count())
    name = next(name for name in names if name not in graph.initializers)
    tensor = ir.Tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def insert(
    after: ir.Node,
    operator: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, Any],
    shape: Sequence[int | str | ir.SymbolicDim | None],
    scope: ir.Node | None = None,
) -> ir.Value:
    """Put a new float32 node behind `after` and return its output.

    Args:
        after: the node that it follows.
        operator: its type, of the default domain.
        inputs: its inputs.
        attributes: its attributes.
        shape: its output's shape.
        scope: the node whose place in the network it shares, for its name; `after` by default.
    """
    graph = after.graph
    assert graph is not None  # a node of a model is in its graph
    node = ir.node(operator, list(inputs), dict(attributes), num_outputs=1)
    node.metadata_props.update((scope or after).metadata_props)
    output = node.outputs[0]
    output.shape, output.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
    graph.insert_after(after, node)
    return output


def drop_unused(graph: ir.Graph) -> None:
    """Remove every node whose outputs nobody reads, and every initialiser that is left over."""
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
