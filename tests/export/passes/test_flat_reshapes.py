"""export.passes.flat_reshapes: what has one axis is not flattened again."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.export.passes.flat_reshapes import flat_reshapes
from tests.export.passes.graphs import answer, draw, operators, parse

BODY = """
agraph (float[N, 3] x, int64[B] index, int64[B, 1] column) => (float[B, 3] y) {
    flat = Reshape(index, minus)
    other = Reshape(column, minus)
    a = Gather<axis = 0>(x, flat)
    b = Gather<axis = 0>(x, other)
    y = Sub(a, b)
}
"""


def test_only_a_reshape_that_changes_nothing_goes() -> None:
    model = parse(BODY, minus=np.array([-1]))
    feeds = {"x": draw(4, 3), "index": np.array([3, 0]), "column": np.array([[1], [2]])}
    (before,) = answer(model, feeds)
    flat_reshapes(model)
    assert operators(model) == {"Reshape": 1, "Gather": 2, "Sub": 1}
    np.testing.assert_array_equal(answer(model, feeds)[0], before)
    np.testing.assert_array_equal(before, feeds["x"][[3, 0]] - feeds["x"][[1, 2]])
