"""export.passes.late_batch: a learned query without the batch's size."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.export.passes.late_batch import late_batch
from tests.export.passes.graphs import AnyArray, answer, draw, operators, parse

HEAD = """
agraph (float[N, 2, 5, 3] k) => (float[N, A, B, C] y) {
    n = Shape<start = 0, end = 1>(k)
    s = Concat<axis = 0>(n, one, six)
"""
QUERY = """
    e = Expand(latent, s)
    p = MatMul(e, w)
    b = Add(p, bias)
    h = Reshape(b, heads)
    q = Transpose<perm = [0, 2, 1, 3]>(h)
    z = Mul(q, scale)
"""
KEYS = "t = Transpose<perm = [0, 1, 3, 2]>(k)"
CONSTANTS: dict[str, AnyArray] = {
    "latent": draw(1, 1, 6, seed=1), "w": draw(6, 6, seed=2), "bias": draw(6, seed=3), "one": np.array([1]),
    "six": np.array([6]), "heads": np.array([-1, 1, 2, 3]), "scale": np.array(0.5, np.float32),
}  # fmt: skip


def test_a_query_meets_the_keys_as_one_row() -> None:
    model = parse(f"{HEAD}  {QUERY}  {KEYS}  y = MatMul(z, t) }}", **CONSTANTS)
    feeds = {"k": draw(3, 2, 5, 3)}
    (before,) = answer(model, feeds)
    late_batch(model)
    assert operators(model) == {"MatMul": 2, "Add": 1, "Reshape": 1, "Transpose": 2, "Mul": 1}
    (after,) = answer(model, feeds)
    np.testing.assert_array_equal(after, before)
    assert after.shape == (3, 2, 1, 5)


@pytest.mark.parametrize(
    "end",
    ["y = Neg(z)", "y = Mul(z, z)", f"{KEYS}  m = MatMul(z, t)  g = ReduceMean(z)  y = Add(m, g)"],
    ids=["the batch's size is an answer", "both sides are the query", "a mean over all rows"],
)
def test_a_query_that_needs_the_batch_keeps_it(end: str) -> None:
    model = parse(f"{HEAD}  {QUERY}  {end} }}", **CONSTANTS)
    before = operators(model)
    late_batch(model)
    assert operators(model) == before
