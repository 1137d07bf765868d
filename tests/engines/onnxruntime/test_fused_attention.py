"""engines.onnxruntime.fused_attention: which operators take an attention's place, by what was found of it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import pytest

from adaptertune_deploy.engines.onnxruntime.fused_attention import DOMAIN, PREFIX, Attention, Quantised, nodes_of

INT8 = Quantised("x.int8", "x.scale", "x.zero", "w.scale")
WHOLE = Attention("x", "w", "b", 5, 3, 12, "factor", 0.5, None, "y", (1, 2, 3))


def test_a_product_with_constants_is_held_by_the_operator() -> None:
    *_, made = nodes_of(WHOLE, "atd.attention.0")
    assert (made.operator, made.domain) == ("Attention", DOMAIN)
    assert made.inputs[1:] == ("w", "b")
    assert made.attributes == {"num_heads": 3, "scale": 0.5}


def test_any_other_product_gives_q_k_and_v() -> None:
    regrouped, cut, made = nodes_of(replace(WHOLE, source="qkv", weight=None, bias=None), "atd.attention.0")
    assert regrouped.inputs == ("qkv", "atd.sizes.-1,5,36")
    assert (cut.operator, cut.attributes) == ("Split", {"axis": 2, "num_outputs": 3})
    assert (made.operator, made.domain, made.inputs) == ("MultiHeadAttention", DOMAIN, cut.outputs)
    assert made.attributes == {"num_heads": 3, "scale": 0.5}


def test_an_int8_product_is_held_with_its_scales() -> None:
    regrouped, made = nodes_of(replace(WHOLE, quantised=INT8), "atd.attention.0")
    assert regrouped.inputs == ("x.int8", "atd.sizes.-1,5,12")
    assert (made.operator, made.domain, made.attributes) == ("QAttention", DOMAIN, {"num_heads": 3})
    assert made.inputs == (*regrouped.outputs, "w", "b", "x.scale", "w.scale", "", "x.zero")


def test_one_token_asks_by_standard_operators_alone() -> None:
    made = nodes_of(replace(WHOLE, row="row"), "atd.attention.0")
    assert {node.domain for node in made} == {""}
    assert "factor" in {name for node in made for name in node.inputs}


@pytest.mark.parametrize(
    "change",
    [{}, {"weight": None, "bias": None}, {"row": "row"}, {"quantised": INT8}, {"row": "row", "quantised": INT8}],
)
def test_what_is_added_has_names_of_ours_and_the_result_keeps_its_own(change: dict[str, Any]) -> None:
    made = nodes_of(replace(WHOLE, **change), f"{PREFIX}attention.0")
    assert made[-1].outputs == ("y",)
    assert all(name.startswith(PREFIX) for node in made[:-1] for name in node.outputs)
    known = {
        "x",
        "w",
        "b",
        "row",
        "factor",
        "",
        *dataclasses.astuple(INT8),
        *(name for node in made for name in node.outputs),
    }
    assert all(name in known or name.startswith(f"{PREFIX}sizes.") for node in made for name in node.inputs)
