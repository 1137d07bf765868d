"""Attention as one operator of ONNX Runtime's own, derived from the plain graph when it is opened on a CPU.

A bundle's graphs consist of standard operators, which every engine reads; ONNX Runtime does not fuse their attention
itself. Here each attention of exactly the form that export writes becomes com.microsoft.Attention, which holds the
product with the weights of q, k and v too and spares the transposes between. Where only one token asks (the class token
in the last block), neither q, k nor v of the others is computed. With a product in int8 it becomes
com.microsoft.QAttention, whose work has a part for every row and head: not in a session of more threads than heads,
some of which would have nothing to do with one image. Where q, k and v come of anything else, of a product without a
bias say, com.microsoft.MultiHeadAttention takes them as they come. What has norms on q and k, rotary or relative
positions or a mask stays as it is.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from adaptertune_deploy.engines.onnx.nodes import FLOAT, INT8, INT64, Changes, WireGraph, WireNode, WireTensor
from adaptertune_deploy.engines.onnxruntime.fused_attention import DOMAIN, PREFIX, SIZES, Attention, Quantised, nodes_of

HEADS_FIRST, TOKENS_LAST, TOKENS_FIRST = (2, 0, 3, 1, 4), (0, 1, 3, 2), (0, 2, 1, 3)
INPUTS = {"Transpose": 1, "Softmax": 1, "Cast": 1, "MatMulInteger": 3}  # of an operator; all others have two

logger = logging.getLogger(__name__)


class _DifferentError(Exception):
    """This is not the attention that export writes."""


def fusing(graph: WireGraph, threads: int) -> Changes | None:
    """Return what gives a graph fused attention, None where there is none of export's form.

    Args:
        graph: as it was read; see engines.onnxruntime.derived for what holds of it.
        threads: of the session that runs it.
    """
    found = _Values(graph, threads).attentions()
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


@dataclass(frozen=True)
class _Product:
    """What makes q, k and v; see Attention. nodes: indices of what an operator that holds the weights replaces."""

    source: str
    weight: str | None
    bias: str | None
    nodes: tuple[int, ...]
    quantised: Quantised | None = None


class _Values:
    """A graph's values: who makes each and who reads it."""

    def __init__(self, graph: WireGraph, threads: int) -> None:
        self.graph, self.threads = graph, threads
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
        usual = math.isclose(number, each**-0.5, rel_tol=1e-6)  # the one scale that QAttention knows
        product = self._product(split, width)
        if product is None and (row or (usual and self.threads <= heads)):
            product = self._quantised(split, width, one_row=row is not None)
        if product is None:
            _check(row is None)
            product = _Product(self._node(split).inputs[0], None, None, ())
        return Attention(
            product.source, product.weight, product.bias, tokens, heads, width, factor, number, row, result,
            (*product.nodes, *inner), product.quantised,
        )  # fmt: skip

    def _product(self, split: int, width: int) -> _Product | None:
        """Return the product with the weights of q, k and v and the Add of their biases, None where it isn't those."""
        try:
            summed = self._maker(split, 0, "Add")
            product = self._maker(summed, 0, "MatMul")
            (source, weight), bias = self._node(product).inputs, self._node(summed).inputs[1]
            self._check_held(FLOAT, {weight: (width, 3 * width), bias: (3 * width,)})
        except _DifferentError:
            return None
        return _Product(source, weight, bias, (product, summed))

    def _quantised(self, split: int, width: int, one_row: bool) -> _Product | None:
        """Return the same of int8 weights, in the form of export.precision.int8; one row needs no int8 tokens."""
        try:
            summed = self._maker(split, 0, "Add")
            scaled = self._maker(summed, 0, "Mul")
            cast, scales = self._maker(scaled, 0, "Cast"), self._maker(scaled, 1, "Mul")
            product = self._maker(cast, 0, "MatMulInteger")
            bias, (scale, weight_scale) = self._node(summed).inputs[1], self._node(scales).inputs
            values, weight, zero = self._node(product).inputs
            measured = self.makers.get(values, -1)
            _check(measured >= 0 and self._node(measured).operator == "DynamicQuantizeLinear")
            _check(self._node(measured).outputs == (values, scale, zero))
            self._check_held(FLOAT, {bias: (3 * width,), weight_scale: (3 * width,)})
            self._check_held(INT8, {weight: (width, 3 * width)})
        except _DifferentError:
            return None
        (source,) = self._node(measured).inputs
        unread = one_row and all(len(self.readers[name]) == 1 for name in (values, scale, zero))
        nodes = (*([measured] if unread else []), product, cast, scales, scaled, summed)
        return _Product(source, weight, bias, nodes, Quantised(values, scale, zero, weight_scale))

    def _check_held(self, kind: int, held: Mapping[str, tuple[int, ...]]) -> None:
        for name, dims in held.items():
            _check((self._constant(name).kind, self._constant(name).dims) == (kind, dims))

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
            and len(node.inputs) == INPUTS.get(operator, 2)
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
