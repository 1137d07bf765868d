"""export.passes.names: readable names, found by what tensors hold."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from adaptertune_deploy.export.passes.names import SCOPES, name_all
from adaptertune_deploy.export.passes.rewriting import add_constant
from tests.export.passes.graphs import AnyArray, answer, draw, parse

BODY = """
agraph (float[N, 20] images) => (float[N, 20] features) {
    val_1 = MatMul(images, val_2)
    val_3 = Add(val_1, val_4)
    val_5 = MatMul(val_3, val_6)
    val_7 = Add(val_5, val_8)
    val_9 = Mul(val_7, val_10)
    val_11 = Mul(val_9, val_12)
    val_13 = Add(val_11, val_14)
    val_16 = Mul(val_13, val_17)
    features = Reshape(val_16, val_15)
}
"""
QKV, PROJ, BIAS = draw(20, 20, seed=1), draw(20, 20, seed=2), draw(20, seed=3)
# What timm holds, [out, in]; another tensor begins as `qkv` does, and two are equal.
WEIGHTS: dict[str, AnyArray] = {
    "blocks.0.attn.trap.weight": np.concatenate([QKV.T[:-1], PROJ[:1]]),
    "blocks.0.attn.qkv.weight": QKV.T.copy(),
    "blocks.0.attn.proj.weight": PROJ.T.copy(),
    "blocks.0.attn.proj.bias": np.zeros(20, np.float32),
    "norm.bias": np.zeros(20, np.float32),
}
CONSTANTS: dict[str, AnyArray] = {
    "val_2": QKV, "val_4": BIAS, "val_6": PROJ, "val_8": np.zeros(20, np.float32), "val_10": np.array(0.1, np.float32),
    "val_12": np.array(0.1, np.float32), "val_14": np.zeros(20, np.float32), "val_15": np.array([-1, 20]),
    "val_17": draw(20, seed=4),
}  # fmt: skip
MODULES = ["blocks.0.attn.qkv"] * 2 + ["blocks.0.attn.proj"] * 2 + ["blocks.0.attn"] * 2 + ["norm", "norm", ""]


def named() -> ir.Model:
    model = parse(BODY, **CONSTANTS)
    for node, module in zip(model.graph, MODULES, strict=True):
        node.metadata_props[SCOPES] = str(["", f"backbone.{module}" if module else "", "val_1"])
    name_all(model, WEIGHTS)
    return model


def test_weights_get_their_timm_names_and_the_rest_names_that_read_well() -> None:
    model = named()
    assert [name for name in model.graph.initializers] == [
        "blocks.0.attn.qkv.weight",
        "blocks.0.attn.qkv.bias",  # put together by timm: equal to no weight, added to a product with one
        "blocks.0.attn.proj.weight",
        "blocks.0.attn.proj.bias",
        "float32.0.1",  # once, though it was there twice
        "norm.bias",  # equal to the projection's, and told apart by who reads it
        "norm.constant",  # of no weight
        "int64.[-1,20]",
    ]
    assert [node.name for node in model.graph] == [
        "blocks.0.attn.qkv.MatMul",
        "blocks.0.attn.qkv.Add",
        "blocks.0.attn.proj.MatMul",
        "blocks.0.attn.proj.Add",
        "blocks.0.attn.Mul",
        "blocks.0.attn.Mul_1",
        "norm.Add",
        "norm.Mul",
        "Reshape",
    ]
    assert [node.outputs[0].name for node in model.graph][:-1] == [node.name for node in model.graph][:-1]
    assert (model.graph.inputs[0].name, model.graph.outputs[0].name) == ("images", "features")


def test_the_answers_are_the_same_and_no_weight_is_held_twice() -> None:
    model = named()
    feeds = {"images": draw(2, 20, seed=9)}
    np.testing.assert_array_equal(answer(model, feeds)[0], answer(parse(BODY, **CONSTANTS), feeds)[0])
    for name in ("blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight"):
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        assert np.shares_memory(tensor.numpy(), WEIGHTS[name])


def test_the_names_are_the_same_every_time() -> None:
    first, second = (ir.to_proto(named()).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_what_a_rewrite_has_made_is_called_what_it_is() -> None:
    model = parse("agraph (float[N, 20] x) => (float[N, 20] y) { y = Add(x, w) }", w=BIAS)
    (node,) = model.graph
    for _ in range(2):
        node.replace_input_with(1, add_constant(model.graph, draw(20, seed=5), "tokens"))
    name_all(model, {})
    assert str(node.inputs[1].name) == "tokens"  # type: ignore[union-attr]
