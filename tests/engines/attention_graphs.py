"""A small Vision Transformer's attention as ONNX graphs of plain operators, in the form of export and in others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

WIDTH, HEADS, EACH, TOKENS = 12, 3, 4, 5
FLOATS = onnx.TensorProto.FLOAT


@dataclass
class Drawing:
    """A graph while it is put together: nodes and initialisers, weights drawn from a fixed seed."""

    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)
    draw: Any = field(default_factory=lambda: np.random.default_rng(0))

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, *sizes: int) -> str:
        return self.constant(self.draw.normal(size=sizes, scale=0.3).astype(np.float32))

    def constant(self, array: Any) -> str:
        name = f"constant.{len(self.tensors)}"
        self.tensors[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def model(self, result: str, opset: int = 20, extra: tuple[Any, ...] = ()) -> bytes:
        """Return a model x [B, 5, 12] -> `result`."""
        x = helper.make_tensor_value_info("x", FLOATS, ["B", TOKENS, WIDTH])
        y = helper.make_tensor_value_info(result, FLOATS, None)
        graph = helper.make_graph(self.nodes, "test", [x, *extra], [y], list(self.tensors.values()))
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        made.metadata_props.add(key="about", value="attention")
        data: bytes = made.SerializeToString()
        return data


@dataclass(frozen=True)
class Form:
    """How one attention is written; the defaults are export's form.

    bias, scale: whether there are these.
    norm: whether q and k are normalised.
    rotary: whether q and k are turned by position; `positions`: whether scores get a bias by position.
    row: the tokens that ask, None for all.
    order: of the axes after [B, S, 3, heads, d].
    axis: of the softmax.
    number: the scale's value. tokens: what the first Reshape says.
    spread: whether the heads are wider than the model.
    """

    bias: bool = True
    bias_first: bool = False
    scale: bool = True
    norm: bool = False
    rotary: bool = False
    positions: bool = False
    row: tuple[int, ...] | None = None
    order: tuple[int, ...] = (2, 0, 3, 1, 4)
    axis: int = -1
    number: float = 0.5
    tokens: int = TOKENS
    spread: int = 1
    picked: tuple[int, int, int] = (0, 1, 2)


def attention(graph: Drawing, x: str, form: Form = Form()) -> str:
    """Add one attention over x [B, S, D] with its projection and residual, as timm computes it."""
    inner = HEADS * EACH * form.spread
    total = graph.add("MatMul", x, graph.weight(WIDTH, 3 * inner))
    if form.bias:
        pair = (total, graph.weight(3 * inner))
        total = graph.add("Add", *(pair[::-1] if form.bias_first else pair))
    sizes = np.array([-1, form.tokens, 3, HEADS, EACH * form.spread])
    heads = graph.add("Transpose", graph.add("Reshape", total, graph.constant(sizes)), perm=form.order)
    asking = heads if form.row is None else graph.add("Gather", heads, graph.constant(np.array(form.row)), axis=3)
    sources = (asking, heads, heads)
    q, k, v = (
        graph.add("Gather", source, graph.constant(np.int64(index)), axis=0)
        for source, index in zip(sources, form.picked, strict=True)
    )
    if form.norm:
        q, k = (graph.add("LayerNormalization", value, graph.weight(EACH), axis=-1) for value in (q, k))
    if form.rotary:
        q, k = (graph.add("Mul", value, graph.weight(TOKENS, EACH)) for value in (q, k))
    if form.scale:
        q = graph.add("Mul", q, graph.constant(np.float32(form.number)))
    scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=(0, 1, 3, 2)))
    if form.positions:
        scores = graph.add("Add", scores, graph.weight(HEADS, TOKENS, TOKENS))
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=form.axis), v)
    asked = form.tokens if form.row is None else len(form.row)
    back = graph.add("Transpose", mixed, perm=(0, 2, 1, 3))
    flat = graph.add("Reshape", back, graph.constant(np.array([-1, asked, inner])))
    out = graph.add("Add", graph.add("MatMul", flat, graph.weight(inner, WIDTH)), graph.weight(WIDTH))
    own = x if form.row is None else graph.add("Gather", x, graph.constant(np.array(form.row)), axis=1)
    return graph.add("Add", own, out)
