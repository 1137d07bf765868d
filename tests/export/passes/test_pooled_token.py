"""export.passes.pooled_token: one token where only one is read, and the same answers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from adaptertune_deploy.export.passes.pooled_token import pooled_token
from tests.export.passes.graphs import AnyArray, answer, draw, operators, parse

S, D, H = 5, 6, 2
# One block with an adapter of each row's own, on tokens x [N, S, D], and the row's image chosen in the middle of it.
BLOCK = """
    x = Neg(images)
    n = LayerNormalization<axis = -1>(x, scale, shift)
    m = MatMul(n, qkv)
    b = Add(m, qkv_bias)
    r = Reshape(b, parts)
    t = Transpose<perm = [2, 0, 3, 1, 4]>(r)
    q = Gather<axis = 0>(t, i0)
    k = Gather<axis = 0>(t, i1)
    v = Gather<axis = 0>(t, i2)
    qs = Mul(q, half)
    kt = Transpose<perm = [0, 1, 3, 2]>(k)
    scores = MatMul(qs, kt)
    biased = Add(scores, relative)
    p = Softmax<axis = -1>(biased)
    o = MatMul(p, v)
    ot = Transpose<perm = [0, 2, 1, 3]>(o)
    joined = Reshape(ot, tokens)
    proj = MatMul(joined, out)
    one = Add(x, proj)
    rows = Gather<axis = 0>(one, image)
    n2 = LayerNormalization<axis = -1>(rows, scale, shift)
    mlp = MatMul(n2, out)
    act = Gelu(mlp)
    two = Add(rows, act)
    hidden = MatMul(two, down)
    branch = MatMul(hidden, up)
    three = Add(two, branch)
    final = LayerNormalization<axis = -1>(three, scale, shift)
"""
ENDS = {
    "class token": "y = Gather<axis = 1>(final, i0)",
    "another token": "y = Gather<axis = 1>(final, i2)",
    "mean": "y = ReduceMean<keepdims = 0>(final, middle)",
    "two class tokens": "a = Gather<axis = 1>(final, i0)  c = Gather<axis = 1>(final, i1)  y = Add(a, c)",
    "also a mean": "a = Gather<axis = 1>(final, i0)  c = ReduceMean<keepdims = 0>(final, middle)  y = Sub(a, c)",
}
CONSTANTS: dict[str, AnyArray] = {
    "scale": draw(D, seed=1), "shift": draw(D, seed=2), "qkv": draw(D, 3 * D, seed=3), "qkv_bias": draw(3 * D, seed=4),
    "out": draw(D, D, seed=5), "relative": draw(1, H, S, S, seed=6), "half": np.array(0.5, np.float32),
    "parts": np.array([-1, S, 3, H, D // H]), "tokens": np.array([-1, S, D]),
    "i0": np.array(0), "i1": np.array(1), "i2": np.array(2), "middle": np.array([1]),
}  # fmt: skip


def block(end: str) -> ir.Model:
    inputs = f"float[N, {S}, {D}] images, int64[B] image, float[B, {D}, 2] down, float[B, 2, {D}] up"
    constants = {name: value for name, value in CONSTANTS.items() if name != "middle" or name in ENDS[end]}
    return parse(f"agraph ({inputs}) => (float[B, {D}] y) {{ {BLOCK}  {ENDS[end]} }}", **constants)


def feeds() -> dict[str, AnyArray]:
    return {
        "images": draw(3, S, D, seed=10), "image": np.array([2, 0, 0, 1]), "down": draw(4, D, 2, seed=11),
        "up": draw(4, 2, D, seed=12),
    }  # fmt: skip


def sizes(model: ir.Model) -> Counter[tuple[str, int]]:
    """Return how many nodes of a type give so many tokens, by the shapes that the pass keeps."""
    axes = {"Softmax": 2, "MatMul": -2, "LayerNormalization": 1, "Gelu": 1}
    found = [(node.op_type, node.outputs[0].shape[axes[node.op_type]]) for node in model.graph if node.op_type in axes]  # type: ignore[index]
    return Counter(found)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", ["class token", "another token"])
def test_after_the_keys_only_one_token_is_computed(end: str) -> None:
    model = block(end)
    (before,) = answer(model, feeds())
    operators_before = operators(model)
    pooled_token(model)
    (after,) = answer(model, feeds())
    assert np.abs(after - before).max() < 1e-6
    assert operators(model) - operators_before == {"Gather": 2}  # the query's, and the residual sum's
    assert not operators_before - operators(model)
    assert sizes(model) == {
        ("LayerNormalization", S): 1, ("MatMul", S): 1,  # for keys and values
        ("Softmax", 1): 1, ("Gelu", 1): 1, ("LayerNormalization", 1): 2, ("MatMul", 1): 6,
    }  # fmt: skip
    relative = [value for value in model.graph.initializers.values() if list(value.shape or ()) == [1, H, 1, S]]
    assert len(relative) == 1  # the position bias of one query, cut here and not in every run


@pytest.mark.parametrize("end", ["mean", "two class tokens", "also a mean"])
def test_a_pooling_that_reads_more_stays(end: str) -> None:
    model = block(end)
    before = [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph]
    pooled_token(model)
    assert [(node.op_type, [value.name for value in node.inputs if value]) for node in model.graph] == before


def test_rotary_positions_that_the_class_token_has_no_part_in_are_left_out() -> None:
    """EVA and DINOv3 turn the patches' queries only: the class token's is cut out of what is put before them."""
    body = f"""
    agraph (float[N, {S}, {D}] x) => (float[N, {D}] y) {{
        front = Slice(x, zero, one, one)
        rest = Slice(x, one, many, one)
        turned = Mul(rest, angles)
        joined = Concat<axis = 1>(front, turned)
        mixed = MatMul(weights, joined)
        q = Neg(joined)
        s = Add(q, mixed)
        y = Gather<axis = 1>(s, i0)
    }}"""
    constants = {
        "zero": np.array([0]), "one": np.array([1]), "many": np.array([2**62]), "angles": draw(S - 1, D, seed=1),
        "weights": draw(S, S, seed=2), "i0": np.array(0),
    }  # fmt: skip
    model = parse(body, **constants)
    given = {"x": draw(2, S, D, seed=3)}
    (before,) = answer(model, given)
    pooled_token(model)
    assert np.abs(answer(model, given)[0] - before).max() < 1e-6
    negated = next(node for node in model.graph if node.op_type == "Neg")
    assert list(negated.outputs[0].shape or ())[1] == 1


def test_a_graph_without_tokens_stays() -> None:
    model = parse("agraph (float[N, 3] x) => (float[N] y) { a = Neg(x)  y = Gather<axis = 1>(a, i0) }", i0=np.array(0))
    pooled_token(model)
    assert operators(model) == {"Neg": 1, "Gather": 1}
