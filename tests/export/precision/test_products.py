"""export.precision.products: which products int8 is worth, and weights in int8."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.precision.products import LEVELS, products, quantised
from tests.export.precision.graphs import make_file, random

WEIGHTS = arrays.arrays(np.float32, (5, 3), elements=st.floats(-1e3, 1e3, width=32))


def test_the_products_of_a_backbone_are_its_linear_layers(file: OnnxFile) -> None:
    found = products(file)
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert sorted(found.weights.values()) == sorted(f"blocks.{n}.{layer}.weight" for n in range(3) for layer in layers)
    assert found.only == set(found.weights.values())


def test_small_and_computed_factors_are_left_and_a_weight_that_is_read_elsewhere_is_kept() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "few"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("MatMul", ["c", "v"], ["d"]),
        helper.make_node("Add", ["d", "v"], ["y"]),
    ]
    tensors = {"w": random((32, 32)), "v": random((32, 32)), "few": random((32, 31))}
    tensors["few"] = random((32, 32))[:, :31]
    nodes[1] = helper.make_node("MatMul", ["a", "x"], ["b"])
    file = make_file(nodes, tensors, {"x": [32, 32]}, "y", [32, 32])
    found = products(file)
    assert found.weights == {"a": "w", "c": "w", "d": "v"}
    assert found.only == {"w"}


@given(WEIGHTS)
def test_a_weight_in_int8_is_off_by_half_a_step_at_most(weight: Array) -> None:
    made = quantised("w", weight)
    assert made.values.dtype == np.int8
    assert np.abs(made.values.astype(int)).max() <= LEVELS
    assert (made.scale > 0).all()
    assert made.scale.shape == (3,)
    error = np.abs(made.values * made.scale.astype(np.float64) - weight)
    assert (error <= made.scale * 0.5001 + 1e-30).all()


def test_each_output_channel_has_its_own_scale() -> None:
    made = quantised("w", np.array([[1, 100], [-2, 50], [0, 0]], np.float32))
    np.testing.assert_allclose(made.scale, [2 / LEVELS, 100 / LEVELS])
    np.testing.assert_array_equal(made.values, [[64, 127], [-127, 64], [0, 0]])
