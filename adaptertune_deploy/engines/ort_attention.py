"""Attention as one operator of ONNX Runtime's own, derived from the plain graph when it is opened on a CPU.

A bundle's graphs consist of standard operators, which every engine reads; ONNX Runtime does not fuse their attention
itself. Here each attention of exactly the form that export writes becomes com.microsoft.Attention, which holds the
product with the weights of q, k and v too and spares the transposes between. Where only one token asks (the class token
in the last block), the others' q is not computed: com.microsoft.MultiHeadAttention. Anything else stays as it is:
without biases, with norms on q and k, rotary or relative positions, a mask. The file on disk is never changed.

Operators: github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass

from adaptertune_deploy.engines import onnx_wire
from adaptertune_deploy.engines.onnx_wire import FLOAT, INT64, WireGraph, WireNode, WireTensor

DOMAIN = "com.microsoft"
OPSETS = range(18, 23)  # Split has num_outputs; Softmax, Reshape and the others mean the same in all of these
PREFIX = "atd."  # of every name that is added
HEADS_FIRST, TOKENS_LAST, TOKENS_FIRST = (2, 0, 3, 1, 4), (0, 1, 3, 2), (0, 2, 1, 3)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attention:
    """One attention that was found.

    source: the value [B, S, D] that the weights are multiplied with.
    weight, bias: initialisers [D, 3D] and [3D].
    row: the initialiser [1] that says which token asks, None where all do.
    result: the value [B, S, D], or [B, 1, D] of one token.
    inner: indices of all nodes, the one that makes the result last.
    """

    source: str
    weight: str
    bias: str
    tokens: int
    heads: int
    width: int
    scale: float
    row: str | None
    result: str
    inner: tuple[int, ...]


class _DifferentError(Exception):
    """This is not the attention that export writes."""


def fuse(data: bytes) -> bytes:
    """Return the graph with fused attention, or `data` itself where there is nothing to fuse.

    Args:
        data: the bytes of an ONNX file that engines.plain_graph accepts.
    """
    try:
        graph = onnx_wire.read(data)
    except ValueError:
        return data  # whoever reads it next says what is wrong
    if graph.opset not in OPSETS or DOMAIN in graph.domains or _taken(graph):
        return data
    found = _Values(graph).attentions()
    logger.debug("attention: %d fused", len(found))
    if not found:
        return data
    instead: dict[int, list[WireNode]] = {}
    for number, attention in enumerate(found):
        instead |= {index: [] for index in attention.inner}
        instead[attention.inner[-1]] = _nodes(attention, f"{PREFIX}attention.{number}")
    constants = {_sizes(attention): (-1, attention.tokens, attention.width) for attention in found}
    return onnx_wire.replace(graph, instead, constants, DOMAIN)


def _taken(graph: WireGraph) -> bool:
    names = {name for node in graph.nodes for name in (node.name, *node.outputs)}
    return any(name.startswith(PREFIX) for name in names | graph.inputs | graph.tensors.keys())


def _sizes(attention: Attention) -> str:
    return f"{PREFIX}sizes.{attention.tokens}.{attention.width}"


def _nodes(attention: Attention, name: str) -> list[WireNode]:
    """Return the operators that compute the same.

    The Reshape repeats what the plain form says of the number of tokens, and costs nothing.
    """
    source, given = f"{name}.x", {"num_heads": attention.heads, "scale": attention.scale}
    nodes = [WireNode("Reshape", (attention.source, _sizes(attention)), (source,), name=source)]
    if attention.row is None:
        inputs = (source, attention.weight, attention.bias)
        return [*nodes, WireNode("Attention", inputs, (attention.result,), DOMAIN, name, given)]
    weights, products = (tuple(f"{name}.{part}.{kind}" for part in "qkv") for kind in ("weight", "product"))
    row = f"{name}.row"
    nodes.append(WireNode("Gather", (source, attention.row), (row,), "", row, {"axis": 1}))
    nodes.append(WireNode("Split", (attention.weight,), weights, "", f"{name}.weights", {"axis": 1, "num_outputs": 3}))
    for asked, weight, product in zip((row, source, source), weights, products, strict=True):
        nodes.append(WireNode("MatMul", (asked, weight), (product,), name=product))
    asked_with = (*products, attention.bias)
    return [*nodes, WireNode("MultiHeadAttention", asked_with, (attention.result,), DOMAIN, name, given)]


class _Values:
    """A graph's values: who makes each and who reads it."""

    def __init__(self, graph: WireGraph) -> None:
        self.graph = graph
        self.makers = {name: index for index, node in enumerate(graph.nodes) for name in node.outputs}
        self.readers: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(graph.nodes):
            for name in node.inputs:
                self.readers[name].append(index)

    def attentions(self) -> list[Attention]:
        """Return every attention of the canonical form."""
        found = []
        for index, node in enumerate(self.graph.nodes):
            if node.operator == "Softmax":
                try:
                    found.append(self._attention(index))
                except _DifferentError:
                    continue
        return found

    def _attention(self, softmax: int) -> Attention:
        scores = self._maker(softmax, 0, "MatMul")
        scaled, turned = self._maker(scores, 0, "Mul"), self._maker(scores, 1, "Transpose")
        query, key = self._maker(scaled, 0, "Gather"), self._maker(turned, 0, "Gather")
        mixed = self._reader(softmax, "MatMul")
        value, back = self._maker(mixed, 1, "Gather"), self._reader(mixed, "Transpose")
        flat = self._reader(back, "Reshape")
        one = self._one_row(query)
        first = query if one is None else one
        heads = self._maker(first, 0, "Transpose", readers=3)
        split = self._maker(heads, 0, "Reshape")
        summed = self._maker(split, 0, "Add")
        product = self._maker(summed, 0, "MatMul")
        shared = self._node(heads).outputs[0]
        _check(all(self._node(index).inputs[0] == shared for index in (first, key, value)))
        _check([self._number(index) for index in (query, key, value)] == [0, 1, 2])
        for index, order in ((heads, HEADS_FIRST), (turned, TOKENS_LAST), (back, TOKENS_FIRST)):
            _check(self._node(index).attributes.get("perm") == order)
        _check(self._node(softmax).attributes.get("axis", -1) in (-1, 3))
        return self._described(product, summed, split, scaled, flat, one, (
            product, summed, split, heads, *([] if one is None else [one]), query, key, value,
            scaled, turned, scores, softmax, mixed, back, flat,
        ))  # fmt: skip

    def _described(
        self, product: int, summed: int, split: int, scaled: int, flat: int, one: int | None, inner: tuple[int, ...]
    ) -> Attention:
        """Return the attention whose nodes these are, once its constants fit together."""
        source, weight = self._node(product).inputs
        bias = self._node(summed).inputs[1]
        sizes = self._integers(self._node(split).inputs[1])
        _check(len(sizes) == 5 and sizes[0] == -1 and sizes[2] == 3 and min(sizes[1:]) > 0)
        _, tokens, _, heads, each = sizes
        width, asked = heads * each, tokens if one is None else 1
        for name, dims in ((weight, (width, 3 * width)), (bias, (3 * width,))):
            _check(self._constant(name).kind == FLOAT and self._constant(name).dims == dims)
        _check(self._integers(self._node(flat).inputs[1]) == (-1, asked, width))
        scale = self._constant(self._node(scaled).inputs[1])
        _check(scale.kind == FLOAT and scale.dims == () and scale.values is not None)
        number = float((scale.values or (0.0,))[0])
        _check(math.isfinite(number) and number > 0)  # 0 would mean: choose one
        row = None if one is None else self._node(one).inputs[1]
        result = self._node(flat).outputs[0]
        return Attention(source, weight, bias, tokens, heads, width, number, row, result, inner)

    def _one_row(self, query: int) -> int | None:
        """Return the Gather that picks one token of [3, B, heads, S, d] before q is taken, None where there is none."""
        index = self.makers.get(self._node(query).inputs[0])
        if index is None or self._node(index).operator != "Gather":
            return None
        index = self._maker(query, 0, "Gather")
        _check(self._node(index).attributes.get("axis") == 3)
        picked = self._constant(self._node(index).inputs[1])
        _check(picked.kind == INT64 and picked.dims == (1,))
        return index

    def _node(self, index: int) -> WireNode:
        return self.graph.nodes[index]

    def _maker(self, index: int, place: int, operator: str, readers: int = 1) -> int:
        """Return the node that makes an input of another one, which is read by so many nodes alone."""
        name = self._node(index).inputs[place] if place < len(self._node(index).inputs) else ""
        maker = self.makers.get(name, -1)
        _check(maker >= 0 and self._is(maker, operator, readers))
        return maker

    def _reader(self, index: int, operator: str) -> int:
        """Return the one node that reads another one's output, as its first input."""
        outputs = self._node(index).outputs
        readers = self.readers[outputs[0]] if outputs else []
        _check(self._is(index, self._node(index).operator, 1) and self._node(readers[0]).inputs[0] == outputs[0])
        _check(self._node(readers[0]).operator == operator and not self._node(readers[0]).domain)
        return readers[0]

    def _is(self, index: int, operator: str, readers: int) -> bool:
        node = self._node(index)
        return (
            (node.operator, node.domain, len(node.outputs)) == (operator, "", 1)
            and len(node.inputs) == (1 if operator in ("Transpose", "Softmax") else 2)
            and node.outputs[0] not in self.graph.outputs
            and len(self.readers[node.outputs[0]]) == readers
        )

    def _constant(self, name: str) -> WireTensor:
        """Return an initialiser; one that is an input too is no constant."""
        tensor = self.graph.tensors.get(name)
        _check(tensor is not None and name not in self.graph.inputs)
        assert tensor is not None  # checked
        return tensor

    def _integers(self, name: str) -> tuple[int, ...]:
        tensor = self._constant(name)
        _check(tensor.kind == INT64 and len(tensor.dims) == 1 and tensor.values is not None)
        return tuple(map(int, tensor.values or ()))

    def _number(self, gather: int) -> int:
        """Return which entry of the first axis a Gather takes."""
        node = self._node(gather)
        tensor = self._constant(node.inputs[1])
        _check(node.attributes.get("axis", 0) == 0 and tensor.kind == INT64 and tensor.dims == ())
        return int((tensor.values or (-1,))[0])


def _check(holds: bool) -> None:
    if not holds:
        raise _DifferentError
