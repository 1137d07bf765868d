"""engines.onnxruntime.fused_attention: which operators take an attention's place, by what was found of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adaptertune_deploy.engines.onnxruntime.fused_attention import DOMAIN, PREFIX, Attention, nodes_of

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


def test_one_token_asks_by_standard_operators_alone() -> None:
    made = nodes_of(replace(WHOLE, row="row"), "atd.attention.0")
    assert {node.domain for node in made} == {""}
    assert "factor" in {name for node in made for name in node.inputs}


@pytest.mark.parametrize("change", [{}, {"weight": None, "bias": None}, {"row": "row"}])
def test_what_is_added_has_names_of_ours_and_the_result_keeps_its_own(change: dict[str, str | None]) -> None:
    made = nodes_of(replace(WHOLE, **change), f"{PREFIX}attention.0")  # type: ignore[arg-type]
    assert made[-1].outputs == ("y",)
    assert all(name.startswith(PREFIX) for node in made[:-1] for name in node.outputs)
    known = {"x", "w", "b", "row", "factor", *(name for node in made for name in node.outputs)}
    assert all(name in known or name.startswith(f"{PREFIX}sizes.") for node in made for name in node.inputs)
