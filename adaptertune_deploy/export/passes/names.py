"""Names that say what a tensor is: weights as timm calls them, small constants by their content, values by their place.

A file is read by people, compared between versions and edited by name (precision lists, refit):
`blocks.0.attn.qkv.weight` tells more than `val_24`, which is what tracing leaves of a weight that it has transposed.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from adaptertune_deploy.export.passes.rewriting import MADE, AnyArray

SCOPES = "pkg.torch.onnx.name_scopes"  # of torch's exporter: the modules around a node, then its own name
BACKBONE = "backbone."  # where a traced network holds the timm model
FEW = 16  # elements of a constant that its content can name
PREFIX = 8  # elements that tell most weights apart

Key = tuple[tuple[int, ...], bytes]


@dataclass(frozen=True)
class Known:
    """The timm model's weights, to be found by what they hold.

    index: shape and first elements -> (name, weight) of all that have these, transposes among them.
    """

    index: Mapping[Key, Sequence[tuple[str, AnyArray]]]

    @classmethod
    def of(cls, weights: Mapping[str, AnyArray]) -> Known:
        """Index weights and their transposes."""
        index: dict[Key, list[tuple[str, AnyArray]]] = defaultdict(list)
        for name, array in weights.items():
            index[_key(array)].append((name, array))
            if array.ndim == 2:
                index[_key(array.T)].append((name, array.T))
        return cls(index)

    def find(self, array: AnyArray, scope: str) -> tuple[str, AnyArray] | None:
        """Return the weight that equals an array, None where there is none.

        Fresh networks hold many equal tensors (zeros, ones), so those of the module that reads it come first.
        """
        found = sorted(self.index.get(_key(array), ()), key=lambda entry: not entry[0].startswith(scope))
        return next(((name, view) for name, view in found if np.array_equal(view, array)), None)


def name_all(model: ir.Model, weights: Mapping[str, AnyArray]) -> None:
    """Name every initialiser, value and node; equal small constants become one.

    Args:
        model: its inputs and outputs keep their names.
        weights: the timm model's state_dict; a constant that equals one of them, or its transpose, becomes a view of
            it, so that no second copy is held.
    """
    graph = model.graph
    taken = {str(value.name) for value in (*graph.inputs, *graph.outputs)}
    _name_constants(graph, Known.of(weights), taken)
    for node in graph:
        node.name = _free(f"{_scope(node)}{node.op_type}", taken)
        for place, output in enumerate(node.outputs):
            if not output.is_graph_output():
                output.name = node.name if place == 0 else _free(f"{node.name}.{place}", taken)


def _name_constants(graph: ir.Graph, known: Known, taken: set[str]) -> None:
    hints = [(value, str(value.name).partition(MADE)) for value in graph.initializers.values()]
    words = {value: word for value, (word, made, _) in hints if made}
    for number, value in enumerate(list(graph.initializers.values())):
        value.name = f"{MADE}{MADE}{number}"
    small: dict[str, ir.Value] = {}
    for value, (reader, place) in _first_readers(graph).items():
        assert value.const_value is not None  # an initialiser holds its tensor
        array = value.const_value.numpy()
        if array.size == 1 or (array.dtype == np.int64 and array.size <= FEW):
            name = _content(array)
            if small.setdefault(name, value) is not value:
                value.replace_all_uses_with(small[name])
                del graph.initializers[str(value.name)]
                continue
        elif (weight := known.find(array, _scope(reader))) is not None:
            name, view = weight
            value.const_value = ir.Tensor(view)
        else:
            name = _bias_name(reader, place) or f"{_scope(reader)}{words.get(value) or 'constant'}"
        value.name = _free(name, taken)
        value.const_value.name = value.name


def _first_readers(graph: ir.Graph) -> dict[ir.Value, tuple[ir.Node, int]]:
    """Return each initialiser, in the graph's order, with the node that reads it first and its place there."""
    found: dict[ir.Value, tuple[ir.Node, int]] = {}
    for node in graph:
        for place, value in enumerate(node.inputs):
            if value is not None and value.is_initializer():
                found.setdefault(value, (node, place))
    return found


def _bias_name(reader: ir.Node, place: int) -> str | None:
    """Return the name of a bias that timm puts together itself: what is added to a product with a named weight."""
    other = reader.inputs[1 - place] if reader.op_type == "Add" else None
    product = other.producer() if other is not None else None
    if product is None or product.op_type != "MatMul" or product.inputs[1] is None:
        return None
    weight = str(product.inputs[1].name)
    return f"{weight.removesuffix('.weight')}.bias" if weight.endswith(".weight") else None


def _key(array: AnyArray) -> Key:
    return array.shape, np.asarray(array.flat[:PREFIX]).tobytes()


def _content(array: AnyArray) -> str:
    """Return "int64.0" for a scalar, "int64.[0,2]" for a list of one axis, and so on."""
    text = ",".join(map(str, array.reshape(-1)))
    return f"{array.dtype}.{'[' * array.ndim}{text}{']' * array.ndim}"


def _scope(node: ir.Node) -> str:
    """Return the module that a node belongs to, with a dot behind it, or "" outside of any."""
    found = node.metadata_props.get(SCOPES)
    scopes: list[str] = ast.literal_eval(found) if found else []
    inner = scopes[-2] if len(scopes) > 1 else ""
    inner = inner if not inner.startswith("_") else ""
    return f"{inner.removeprefix(BACKBONE)}." if inner and inner != BACKBONE[:-1] else ""


def _free(name: str, taken: set[str]) -> str:
    """Return the name, with a number behind it where it is taken, and take it."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
