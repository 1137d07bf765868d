"""export.passes.rows: what one row of an operator's output needs, checked by computing that row alone."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from adaptertune_deploy.export.passes.rewriting import constant
from adaptertune_deploy.export.passes.rows import Needs, Pick, needs
from tests.export.passes.graphs import AnyArray, answer, draw, parse

# body -> the row that is asked for; the graph's first input is x [2, 3, 5, 4], and y is one operator's output
ALONE = {
    "y = Gelu(x)": Pick(2, 3),
    "y = Add(x, w)": Pick(2, 3),
    "y = Mul(w, x)": Pick(1, 2),
    "y = Add(x, p)": Pick(2, 1),
    "y = Softmax<axis = -1>(x)": Pick(2, 4),
    "y = LayerNormalization<axis = -1>(x, w)": Pick(1, 0),
    "y = MatMul(x, m)": Pick(2, 2),
    "y = Transpose<perm = [0, 2, 1, 3]>(x)": Pick(1, 3),
    "y = Reshape(x, joined)": Pick(2, 3),
    "y = Gather<axis = 1>(x, one)": Pick(1, 2),
    "y = Gather<axis = 0>(x, many)": Pick(2, 2),
    "y = Slice(x, one_, two_, last)": Pick(2, 3),
    "y = Slice(x, one_, two_, third)": Pick(2, 0),
    "y = Concat<axis = -1>(x, x)": Pick(2, 1),
    "y = Concat<axis = 2>(p, x)": Pick(2, 7),
    "y = Unsqueeze(x, one_)": Pick(3, 4),
    "y = ReduceMean(x, last)": Pick(2, 2),
}
MIXED = {
    "y = Softmax<axis = 2>(x)": Pick(2, 0),
    "y = LayerNormalization<axis = 2>(x, square)": Pick(2, 0),
    "y = MatMul(x, m)": Pick(3, 0),
    "y = MatMul(m4, x)": Pick(3, 1),
    "y = Reshape(x, flat)": Pick(1, 0),
    "y = Gather<axis = 2>(x, many)": Pick(2, 0),
    "y = ReduceMean(x, third)": Pick(2, 0),
    "y = Unsqueeze(x, one_)": Pick(1, 0),
    "y = CumSum(x, one)": Pick(2, 0),
}
CONSTANTS: dict[str, AnyArray] = {
    "w": draw(4, seed=1), "p": draw(2, 3, 5, 4, seed=2), "m": draw(4, 6, seed=3), "one": np.array(1),
    "many": np.array([1, 0, 1]), "one_": np.array([1]), "two_": np.array([2]), "last": np.array([-1]),
    "third": np.array([2]), "joined": np.array([6, 1, 5, 4]), "flat": np.array([2, 60]), "square": draw(5, 4, seed=4),
    "m4": draw(2, 5, seed=5),
}  # fmt: skip


def model_of(body: str) -> ir.Model:
    read = {name.strip(" )") for name in body.partition("(")[2].split(",")}
    rank = 2 if "flat" in body else 5 if "Unsqueeze" in body else 3 if "(x, one)" in body and "Gather" in body else 4
    axes = ", ".join(f"d{axis}" for axis in range(rank))
    constants = {name: value for name, value in CONSTANTS.items() if name in read}
    return parse(f"agraph (float[2, 3, 5, 4] x) => (float[{axes}] y) {{ {body} }}", **constants)


def taken(array: AnyArray, pick: Pick) -> AnyArray:
    return np.take(array, [pick.index], axis=pick.axis)


@pytest.mark.parametrize("body", ALONE)
def test_a_row_can_be_had_from_what_is_said_to_be_needed(body: str) -> None:
    """Whatever else is in the inputs, replaced by other numbers here, doesn't matter."""
    model, pick = model_of(body), ALONE[body]
    (node,) = model.graph
    found = needs(node, pick)
    assert found is not None
    feeds = {"x": draw(2, 3, 5, 4, seed=7)}
    wanted = taken(answer(model, feeds)[0], pick)
    if found.alias is not None:
        (part,) = (place for place in found.inputs if place is not None)
        source = node.inputs[found.alias]
        whole = feeds["x"] if source is model.graph.inputs[0] else constant(source)
        assert whole is not None
        np.testing.assert_array_equal(taken(whole, part), wanted)
        return
    other = draw(2, 3, 5, 4, seed=8)
    picks = {place for value, place in zip(node.inputs, found.inputs, strict=True) if value is model.graph.inputs[0]}
    (part,) = picks
    assert part is not None
    index = tuple(slice(part.index, part.index + 1) if axis == part.axis else slice(None) for axis in range(4))
    other[index] = feeds["x"][index]
    np.testing.assert_array_equal(taken(answer(model, {"x": other})[0], pick), wanted)


@pytest.mark.parametrize("body", MIXED)
def test_an_operator_that_mixes_rows_says_so(body: str) -> None:
    (node,) = model_of(body).graph
    assert needs(node, MIXED[body]) is None


def test_what_is_broadcast_is_needed_whole() -> None:
    (node,) = model_of("y = Add(x, w)").graph
    assert needs(node, Pick(2, 3)) == Needs((Pick(2, 3), None))
    (node,) = model_of("y = Add(x, p)").graph
    assert needs(node, Pick(2, 3)) == Needs((Pick(2, 3), Pick(2, 3)))
