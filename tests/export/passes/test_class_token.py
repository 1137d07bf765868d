"""export.passes.class_token: Pad and one Add instead of Shape, Expand and Concat."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.export.passes.class_token import class_token
from tests.export.passes.graphs import AnyArray, answer, draw, operators, parse

HEAD = """
agraph (float[N, 5, 4] x) => (float[N, S, 4] y) {
    n = Shape<start = 0, end = 1>(x)
    s = Concat<axis = 0>(n, k, d)
"""
CONSTANTS = {"cls": draw(1, 1, 4, seed=1), "reg": draw(1, 3, 4, seed=2), "k": np.array([1]), "d": np.array([4])}
POSITION = draw(1, 6, 4, seed=3)
CASES = {
    "class token": ("e = Expand(cls, s)  c = Concat<axis = 1>(e, x)  y = Neg(c)", {}),
    "then the position": ("e = Expand(cls, s)  c = Concat<axis = 1>(e, x)  a = Add(c, p)  y = Neg(a)", {"p": POSITION}),
    "position from the left": (
        "e = Expand(cls, s)  c = Concat<axis = 1>(e, x)  a = Add(p, c)  y = Neg(a)", {"p": POSITION[0]}
    ),
    "position first": (
        "a = Add(x, p)  e = Expand(cls, s)  c = Concat<axis = 1>(e, a)  y = Neg(c)", {"p": POSITION[:, :5]}
    ),
    "registers": (
        "r = Concat<axis = 0>(n, three, d)  e = Expand(cls, s)  f = Expand(reg, r)  "
        "c = Concat<axis = 1>(e, f, x)  y = Neg(c)",
        {"three": np.array([3])},
    ),
    "behind the patches": ("e = Expand(cls, s)  c = Concat<axis = -2>(x, e)  y = Neg(c)", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_tokens_become_a_pad_and_one_add(case: str) -> None:
    body, more = CASES[case]
    model = parse(f"{HEAD}  {body} }}", **chosen(body, more))
    feeds = {"x": draw(3, 5, 4)}
    (before,) = answer(model, feeds)
    class_token(model)
    assert operators(model) == {"Pad": 1, "Add": 1, "Neg": 1}
    np.testing.assert_array_equal(answer(model, feeds)[0], before)


def test_a_position_that_others_read_too_is_left_where_it_is() -> None:
    body = "a = Add(x, p)  m = ReduceMean(a, k)  e = Expand(cls, s)  c = Concat<axis = 1>(e, a)  y = Sub(c, m)"
    model = parse(f"{HEAD}  {body} }}", **chosen(body, {"p": POSITION[:, :5]}))
    feeds = {"x": draw(3, 5, 4)}
    (before,) = answer(model, feeds)
    class_token(model)
    assert operators(model) == {"Add": 2, "Pad": 1, "ReduceMean": 1, "Sub": 1}
    np.testing.assert_array_equal(answer(model, feeds)[0], before)


@pytest.mark.parametrize(
    "body",
    [
        "e = Expand(cls, s)  f = Neg(e)  c = Concat<axis = 1>(f, x)  y = Neg(c)",
        "e = Expand(cls, s)  c = Concat<axis = 1>(e, x, x)  y = Neg(c)",
        "e = Expand(cls, s)  y = Concat<axis = 1>(e, x)",
    ],
    ids=["a computed token", "two computed parts", "the graph's output"],
)
def test_anything_else_stays(body: str) -> None:
    model = parse(f"{HEAD}  {body} }}", **chosen(body, {}))
    before = operators(model)
    class_token(model)
    assert operators(model) == before


def chosen(body: str, more: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Return the constants that a body reads, and those of its shapes."""
    return {name: value for name, value in CONSTANTS.items() if name in ("k", "d") or f"({name}" in body} | more
