"""Attention as one operator of ONNX Runtime's own, derived from the plain graph when it is opened on a CPU.

A bundle's graphs consist of standard operators, which every engine reads; ONNX Runtime does not fuse their attention
itself. Here each attention of exactly the form that export writes becomes com.microsoft.Attention, which holds the
product with the weights of q, k and v too and spares the transposes between. Where only one token asks (the class token
in the last block), neither q, k nor v of the others is computed. Where q, k and v come of anything else, of an int8
product or of one without a bias, com.microsoft.MultiHeadAttention takes them as they come. What has norms on q and k,
rotary or relative positions or a mask stays as it is.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict

from adaptertune_deploy.engines.onnx.nodes import FLOAT, INT64, Changes, WireGraph, WireNode, WireTensor
from adaptertune_deploy.engines.onnxruntime.fused_attention import DOMAIN, PREFIX, SIZES, Attention, nodes_of

HEADS_FIRST, TOKENS_LAST, TOKENS_FIRST = (2, 0, 3, 1, 4), (0, 1, 3, 2), (0, 2, 1, 3)

logger = logging.getLogger(__name__)


class _DifferentError(Exception):
    """This is not the attention that export writes."""


def fusing(graph: WireGraph) -> Changes | None:
    """Return what gives a graph fused attention, None where there is none of export's form.

    Args:
        graph: as it was read; see engines.onnxruntime.derived for what holds of it.
    """
    found = _Values(graph).attentions()
    logger.debug("attention: %d fused", len(found))
    if not found:
        return None
    instead: dict[int, list[WireNode]] = {}
    for number, attention in enumerate(found):
        instead |= {index: [] for index in attention.inner}
        instead[attention.inner[-1]] = nodes_of(attention, f"{PREFIX}attention.{number}")
    read = {name for nodes in instead.values() for node in nodes for name in node.inputs}
    named = sorted(name for name in read if name.startswith(PREFIX + SIZES))
    constants = {name: [int(size) for size in name.removeprefix(PREFIX + SIZES).split(",")] for name in named}
    return Changes(instead, constants, DOMAIN)


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
        shared = self._node(heads).outputs[0]
        _check(all(self._node(index).inputs[0] == shared for index in (first, key, value)))
        _check([self._number(index) for index in (query, key, value)] == [0, 1, 2])
        for index, order in ((heads, HEADS_FIRST), (turned, TOKENS_LAST), (back, TOKENS_FIRST)):
            _check(self._node(index).attributes.get("perm") == order)
        _check(self._node(softmax).attributes.get("axis", -1) in (-1, 3))
        return self._described(split, scaled, flat, one, (
            split, heads, *([] if one is None else [one]), query, key, value,
            scaled, turned, scores, softmax, mixed, back, flat,
        ))  # fmt: skip

    def _described(self, split: int, scaled: int, flat: int, one: int | None, inner: tuple[int, ...]) -> Attention:
        """Return the attention whose nodes these are, once its constants fit together."""
        sizes = self._integers(self._node(split).inputs[1])
        _check(len(sizes) == 5 and sizes[0] == -1 and sizes[2] == 3 and min(sizes[1:]) > 0)
        _, tokens, _, heads, each = sizes
        width, asked = heads * each, tokens if one is None else 1
        _check(self._integers(self._node(flat).inputs[1]) == (-1, asked, width))
        factor = self._node(scaled).inputs[1]
        scale = self._constant(factor)
        _check(scale.kind == FLOAT and scale.dims == () and scale.values is not None)
        number = float((scale.values or (0.0,))[0])
        _check(math.isfinite(number) and number > 0)  # 0 would mean: choose one
        row = None if one is None else self._node(one).inputs[1]
        result = self._node(flat).outputs[0]
        product = self._product(split, width)
        if product is None:
            _check(row is None)
            source = self._node(split).inputs[0]
            return Attention(source, None, None, tokens, heads, width, factor, number, row, result, inner)
        (source, weight), bias = self._node(product[0]).inputs, self._node(product[1]).inputs[1]
        inner = (*product, *inner)
        return Attention(source, weight, bias, tokens, heads, width, factor, number, row, result, inner)

    def _product(self, split: int, width: int) -> tuple[int, int] | None:
        """Return the product with the weights of q, k and v and the Add of their biases, None where it isn't those."""
        try:
            summed = self._maker(split, 0, "Add")
            product = self._maker(summed, 0, "MatMul")
            weight, bias = self._node(product).inputs[1], self._node(summed).inputs[1]
            for name, dims in ((weight, (width, 3 * width)), (bias, (3 * width,))):
                _check(self._constant(name).kind == FLOAT and self._constant(name).dims == dims)
        except _DifferentError:
            return None
        return product, summed

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
