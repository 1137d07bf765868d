"""export.passes.qkv_gather: one Gather for each of q, k, v, and nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.export.passes.qkv_gather import qkv_gather
from tests.export.passes.graphs import answer, draw, operators, parse

SLICES = """
agraph (float[3, N, 2, 4] x) => (float[N, 2, 4] y) {
    q = Slice(x, zero, one, zero, one)
    k = Slice(x, one, two, zero, one)
    v = Slice(x, minus, last, zero)
    a = Squeeze(q, zero)
    b = Squeeze(k, zero)
    c = Squeeze(v, zero)
    d = Mul(a, b)
    y = Sub(d, c)
}
"""
SPLIT = """
agraph (float[3, N, 2, 4] x) => (float[N, 2, 4] y) {
    q, k, v = Split<axis = 0, num_outputs = 3>(x)
    a = Squeeze(q, zero)
    b = Squeeze(k, zero)
    c = Squeeze(v, zero)
    d = Mul(a, b)
    y = Sub(d, c)
}
"""
ONES = {
    "zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "minus": np.array([-1]),
    "last": np.array([2**62]),
}  # fmt: skip


@pytest.mark.parametrize("body", [SLICES, SPLIT], ids=["slice", "split"])
def test_three_gathers_give_the_same_bytes(body: str) -> None:
    model = parse(body, **{name: value for name, value in ONES.items() if name in body})
    feeds = {"x": draw(3, 5, 2, 4)}
    (before,) = answer(model, feeds)
    qkv_gather(model)
    assert operators(model) == {"Gather": 3, "Mul": 1, "Sub": 1}
    assert [node.inputs[1].const_value.numpy().shape for node in model.graph if node.op_type == "Gather"] == [()] * 3  # type: ignore[union-attr]
    (after,) = answer(model, feeds)
    np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(after, feeds["x"][0] * feeds["x"][1] - feeds["x"][2])


@pytest.mark.parametrize(
    "body",
    [
        "agraph (float[3, N, 4] x) => (float[3, N] y) { a = Slice(x, zero, one, two)  y = Squeeze(a, two) }",
        "agraph (float[N, 3] x) => (float[3] y) { a = Slice(x, zero, one, zero)  b = Squeeze(a, zero)  y = Neg(b) }",
        "agraph (float[4, 3] x) => (float[2, 3] y) { a = Slice(x, zero, two, zero)  y = Neg(a) }",
        "agraph (float[1, 3] x) => (float[3] y) { a = Neg(x)  b = Squeeze(a, zero)  y = Neg(b) }",
    ],
    ids=["another axis", "a dynamic axis", "two rows", "no slice"],
)
def test_anything_else_stays(body: str) -> None:
    model = parse(body, **{name: value for name, value in ONES.items() if name in body.partition("=>")[2]})
    before = operators(model)
    qkv_gather(model)
    assert operators(model) == before
