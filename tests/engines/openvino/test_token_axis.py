"""engines.openvino.token_axis: where tokens are behind each operator, and that the unknown is not guessed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.engines.openvino.library import operators as op
from adaptertune_deploy.engines.openvino.token_axis import axis_after, constant

TOKENS = 37


def tokens(*shape: int) -> Any:
    """Return a tensor with images, whose number is unknown, in place of -1."""
    return op.parameter(list(shape), np.float32)


def values(*shape: int) -> Any:
    return op.constant(np.ones(shape, np.float32))


def after(node: Any, *axes: int | None) -> list[int | None] | None:
    """Return axis_after of a node whose first inputs have tokens in these axes, and the others none."""
    found = axis_after(node, [*axes, *[None] * (len(node.inputs()) - len(axes))], TOKENS)
    return None if found is None else list(found)


X = (-1, TOKENS, 16)
HEADS = (-1, 2, TOKENS, 8)


@pytest.mark.parametrize(
    ("node", "axes", "expected"),
    [
        (lambda: op.gelu(tokens(*X), "erf"), (1,), [1]),
        (lambda: op.add(tokens(*X), values(16)), (1,), [1]),
        (lambda: op.add(tokens(*X), values(1, 1, 16)), (1,), [1]),
        (lambda: op.add(tokens(*X), values(2, 1, 1, 16)), (1,), [2]),
        (lambda: op.add(tokens(*X), tokens(*X)), (1, 1), [1]),
        (lambda: op.add(tokens(*X), values(TOKENS, 16)), (1,), None),
        (lambda: op.add(tokens(*X), tokens(-1, -1, 16)), (1,), None),
        (lambda: op.multiply(tokens(TOKENS, TOKENS), tokens(TOKENS, TOKENS)), (0, 1), None),
        (lambda: op.softmax(tokens(*HEADS), -1), (2,), [2]),
        (lambda: op.softmax(tokens(*HEADS), -2), (2,), None),
        (lambda: op.softmax(tokens(*HEADS), 2), (2,), None),
        (lambda: op.mvn(tokens(*X), np.array([-1]), True, 1e-6, "inside_sqrt"), (1,), [1]),
        (lambda: op.mvn(tokens(*X), np.array([1]), True, 1e-6, "inside_sqrt"), (1,), None),
        (lambda: op.mvn(tokens(*X), np.array([-2, -1]), True, 1e-6, "inside_sqrt"), (1,), None),
        (lambda: op.matmul(tokens(*X), values(16, 4), False, False), (1,), [1]),
        (lambda: op.matmul(tokens(*X), values(4, 16), False, True), (1,), [1]),
        (lambda: op.matmul(tokens(-1, 16, TOKENS), values(16, 4), True, False), (2,), [1]),
        (lambda: op.matmul(tokens(-1, 16, TOKENS), values(TOKENS, 4), False, False), (2,), None),
        (lambda: op.matmul(tokens(*HEADS), tokens(*HEADS), False, True), (2, 2), None),
        (lambda: op.transpose(tokens(*HEADS), np.array([0, 2, 1, 3])), (2,), [1]),
        (lambda: op.transpose(tokens(*HEADS), op.parameter([4], np.int64)), (2,), None),
        (lambda: op.reshape(tokens(*X), np.array([-1, TOKENS, 2, 8]), False), (1,), [1]),
        (lambda: op.reshape(tokens(-1, TOKENS, 2, 8), np.array([-1, TOKENS, 16]), False), (1,), [1]),
        (lambda: op.reshape(tokens(*X), np.array([-1, TOKENS * 16]), False), (1,), None),
        (lambda: op.reshape(tokens(*X), np.array([0, 0, 2, 8]), True), (1,), None),
        (lambda: op.reshape(tokens(-1, TOKENS, TOKENS), np.array([-1, 1, TOKENS, TOKENS]), False), (1,), [2]),
        (lambda: op.reshape(tokens(-1, TOKENS, 2, 8), np.array([-1, 16, TOKENS]), False), (1,), None),
        (lambda: op.gather(tokens(3, *HEADS), np.int64(1), np.int64(0)), (3,), [2]),
        (lambda: op.gather(tokens(*X), op.parameter([-1], np.int64), np.int64(0)), (1,), [1]),
        (lambda: op.gather(tokens(*X), op.parameter([-1, 2], np.int64), np.int64(0)), (1,), [2]),
        (lambda: op.gather(tokens(*X), np.int64(0), np.int64(-1)), (1,), [1]),
        (lambda: op.gather(tokens(*X), np.int64(0), np.int64(1)), (1,), [None]),
        (lambda: op.gather(tokens(*X), np.array([0, TOKENS - 1]), np.int64(1)), (1,), [None]),
        (lambda: op.gather(tokens(*X), np.int64(-1), np.int64(1)), (1,), None),
        (lambda: op.gather(tokens(*X), op.parameter([-1], np.int64), np.int64(1)), (1,), None),
        (lambda: op.squeeze(tokens(1, *HEADS), np.array([0])), (3,), [2]),
        (lambda: op.squeeze(tokens(-1, TOKENS, 1), np.array([-1])), (1,), [1]),
        (lambda: op.split(tokens(3, *HEADS), np.int64(0), 3), (3,), [3, 3, 3]),
        (lambda: op.split(tokens(*X), np.int64(1), TOKENS), (1,), None),
        (lambda: op.reduce_mean(tokens(*X), np.array([1]), False), (1,), None),
        (lambda: op.concat([tokens(*X), tokens(*X)], 1), (1, 1), None),
        (lambda: op.shape_of(tokens(*X)), (1,), None),
    ],
)
def test_where_tokens_are(node: Any, axes: tuple[int | None, ...], expected: list[int | None] | None) -> None:
    assert after(node(), *axes) == expected


def test_constants_are_integers_that_no_input_changes() -> None:
    assert constant(op.constant(np.array([2, 3])).output(0)).tolist() == [2, 3]  # type: ignore[union-attr]
    ends = [op.constant(np.int64(value)) for value in (-2, 0, 1)]
    assert constant(op.range(*ends, "i64").output(0)).tolist() == [-2, -1]  # type: ignore[union-attr]
    assert constant(op.range(ends[0], op.parameter([], np.int64), ends[2], "i64").output(0)) is None
    assert constant(op.constant(np.ones(2, np.float32)).output(0)) is None
    assert constant(op.parameter([2], np.int64).output(0)) is None
