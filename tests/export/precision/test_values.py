"""export.precision.values: what is float32, and which operators go with another float type."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from adaptertune_deploy.export.precision.values import float_values, takes
from tests.export.precision.graphs import BRAIN, FLOAT, HALF, make_file, random


def test_floats_are_told_from_shapes_and_indices() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Reshape", ["x", "sizes"], ["same"]),
        helper.make_node("Gather", ["same", "row"], ["y"]),
    ]
    file = make_file(nodes, {"row": np.zeros(1, np.int64), "w": random((64, 64))}, {"x": ["N", 4]}, "y", [1, 4])
    assert float_values(file) == {"x", "same", "y", "w"}


@pytest.mark.parametrize(
    ("operator", "kind", "expected"),
    [
        ("MatMul", HALF, True),
        ("MatMul", BRAIN, True),
        ("Conv", HALF, True),
        ("Conv", BRAIN, False),
        ("Sin", BRAIN, False),
        ("Concat", BRAIN, True),
        ("Gelu", BRAIN, True),
        ("Resize", HALF, False),
    ],
)
def test_the_standard_says_what_goes_with_a_type(operator: str, kind: int, expected: bool) -> None:
    node = helper.make_node(operator, ["a", "b", "c"], ["y"])
    assert takes(node, frozenset("abcy"), kind) is expected


def test_what_computes_no_floats_or_says_its_own_type_stays() -> None:
    assert not takes(helper.make_node("Shape", ["a"], ["y"]), frozenset("a"), HALF)
    assert not takes(helper.make_node("Cast", ["a"], ["y"], to=FLOAT), frozenset("y"), HALF)
    assert not takes(helper.make_node("ConstantOfShape", ["n"], ["y"]), frozenset("y"), HALF)
    assert takes(helper.make_node("Gather", ["a", "n"], ["y"]), frozenset("ay"), int(TensorProto.FLOAT16))
