"""export.passes.rewriting: the small verbs."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.export.passes import rewriting
from tests.export.passes.graphs import operators, parse

BODY = "agraph (float[N, 3] x) => (float[N, 3] y) { a = Neg(x)  b = Abs(a)  c = Slice(a, s, e)  y = Add<k = 3>(a, w) }"
W = np.arange(3, dtype=np.float32)


def test_what_a_value_is_known_to_hold() -> None:
    model = parse("agraph (float[N, 3] x) => (float[N, 3] y) { y = Add(x, w) }", w=W)
    (node,) = model.graph
    x, w = node.inputs
    assert rewriting.constant(x) is None
    np.testing.assert_array_equal(rewriting.constant(w), W)  # type: ignore[arg-type]
    assert rewriting.integers(w) is None  # not int64
    assert (rewriting.static(x), rewriting.static(w), rewriting.static(None)) == ([None, 3], [3], None)
    assert rewriting.attribute(node, "axis", 5) == 5


def test_what_a_slice_leaves_out_is_onnxs_own() -> None:
    body = "agraph (float[4, 3] x) => (float[A, B] y) { y = Slice(x, s, e) }"
    (node,) = parse(body, s=np.array([0, 1]), e=np.array([2, 3])).graph
    assert rewriting.slice_inputs(node) == ([0, 1], [2, 3], [0, 1], [1, 1])
    body = "agraph (float[4, 3] x) => (float[A, B] y) { y = Slice(x, s, e, a) }"
    (node,) = parse(body, s=np.array([0]), e=np.array([2]), a=np.array([-1])).graph
    assert rewriting.slice_inputs(node) == ([0], [2], [-1], [1])


def test_nodes_and_constants_come_and_go() -> None:
    body = "agraph (float[N, 3] x) => (float[N, 3] y) { a = Neg(x)  b = Abs(a)  c = Add(b, w)  y = Neg(a) }"
    model = parse(body, w=W)
    rewriting.drop_unused(model.graph)
    assert operators(model) == {"Neg": 2}
    assert not model.graph.initializers
    first, last = model.graph
    made = [rewriting.add_constant(model.graph, W, "weight") for _ in range(2)]
    assert [value.name for value in made] == ["weight#0", "weight#1"]
    first.metadata_props["scope"] = "here"
    out = rewriting.insert(first, "Add", [first.outputs[0], made[0]], {}, ["N", 3])
    last.replace_input_with(0, out)
    assert [node.op_type for node in model.graph] == ["Neg", "Add", "Neg"]
    assert out.producer().metadata_props == {"scope": "here"}  # type: ignore[union-attr]
