"""export.precision.cast: each node in its type, each value cast once, each weight stored as it is read."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile, array
from adaptertune_deploy.export.precision.cast import cast
from tests.export.precision.graphs import BRAIN, FLOAT, HALF, kinds, make_file, model_of, nodes_by_output, random


def make() -> OnnxFile:
    """x -> x w + b, twice, the second time with the same weight; sums of both go out."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["first"]),
        helper.make_node("Add", ["first", "b"], ["biased"]),
        helper.make_node("MatMul", ["biased", "w"], ["second"]),
        helper.make_node("Add", ["second", "biased"], ["y"]),
    ]
    return make_file(nodes, {"w": random((4, 4)), "b": random((4,), seed=1)}, {"x": ["N", 4]}, "y", ["N", 4])


@pytest.mark.parametrize(("kind", "error"), [(HALF, 4e-3), (BRAIN, 4e-2)])
def test_all_of_a_graph_in_a_shorter_type(kind: int, error: float) -> None:
    file, x = make(), random((3, 4), seed=2)
    made = cast(file, kind, kept=())
    types = kinds(made)
    assert [types[name] for name in ("x", "y", "first", "biased", "second")] == [FLOAT, FLOAT, kind, kind, kind]
    assert [node.op_type for node in made.model.graph.node] == ["Cast", "MatMul", "Add", "MatMul", "Add", "Cast"]
    (exact,) = ReferenceEvaluator(model_of(file)).run(None, {"x": x})
    (found,) = ReferenceEvaluator(model_of(made)).run(None, {"x": x})
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() / np.abs(exact).max() < error


def test_a_node_that_stays_is_surrounded_by_casts_made_once() -> None:
    made = cast(make(), HALF, kept={"second"})
    made_by = nodes_by_output(made)
    assert list(made_by["second"].input) == ["biased.fp32", "w"]
    assert list(made_by["y.fp16"].input) == ["second.fp16", "biased"]
    assert [node.output[0] for node in made.model.graph.node if node.op_type == "Cast"] == [
        "x.fp16",
        "biased.fp32",
        "second.fp16",
        "y",
    ]
    types = kinds(made)
    assert (types["w"], types["w.fp16"], types["second"]) == (FLOAT, HALF, FLOAT)
    np.testing.assert_array_equal(array(made.tensors["w.fp16"]), array(make().tensors["w"]).astype(np.float16))


def test_a_weight_that_is_read_in_one_type_is_stored_in_it_under_its_name() -> None:
    made = cast(make(), BRAIN, kept={"biased"})
    types = kinds(made)
    assert made.tensors.keys() == {"w", "b"}
    assert (types["w"], types["b"]) == (BRAIN, FLOAT)
    raw = onnx_file.read(onnx_file.write(made, "small"), "small")
    stored = numpy_helper.to_array(model_of(raw).graph.initializer[0])
    assert stored.astype(np.float32) == pytest.approx(array(make().tensors["w"]), rel=2**-8)


def test_an_input_may_take_the_type() -> None:
    made = cast(make(), HALF, kept=(), inputs={"x"})
    assert kinds(made)["x"] == HALF
    assert [node.op_type for node in made.model.graph.node] == ["MatMul", "Add", "MatMul", "Add", "Cast"]


def test_the_graph_that_is_cast_stays_as_it_is() -> None:
    file = make()
    before = onnx_file.write(file, "small")
    cast(file, HALF, kept={"first"})
    assert onnx_file.write(file, "small") == before
