"""engines.openvino.padding: answers are those of the model without padding, and products have the rows that go well."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core import cores
from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.onnx import signature
from adaptertune_deploy.engines.openvino import model as openvino_model
from adaptertune_deploy.engines.openvino import padding
from adaptertune_deploy.engines.openvino.compiling import compile_model
from adaptertune_deploy.engines.openvino.library import operators as op
from adaptertune_deploy.engines.openvino.library import ov
from adaptertune_deploy.engines.openvino.padding import pad_tokens, tokens_more
from tests.engines.golden import golden_graph

TOKENS, WIDTH, HEADS, CLASSES = 37, 16, 2, 5
BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(autouse=True)
def three_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padding, "tokens_more", lambda tokens: 3)


@pytest.mark.parametrize(
    ("tokens", "more"),
    [(50, 0), (65, 0), (101, 1), (145, 2), (197, 1), (198, 0), (201, 3), (257, 1), (261, 3), (577, 0), (1370, 0)],
)
def test_tokens_of_usual_image_sizes(tokens: int, more: int) -> None:
    assert tokens_more(tokens) == more


@pytest.mark.parametrize("tokens", range(1, 301))
def test_padding_ends_at_the_first_number_that_divides(tokens: int) -> None:
    """Or there is none among the next four, and nothing is padded."""
    going_well = [more for more in range(5) if any((tokens + more) % rows == 0 for rows in range(33, 67))]
    assert tokens_more(tokens) == (going_well[0] if going_well else 0)


@pytest.mark.parametrize("task", [None, "birds"])
def test_a_graph_of_export_answers_as_without(task: str | None) -> None:
    """Both forms, images and tasks mixed."""
    graph = golden_graph(task)
    layout = openvino_model.bank_of(signature.read(graph, "g"), "g")

    def read() -> Any:
        return openvino_model.read_model(ov.Core(), graph, layout, False, "g")

    plain, padded = read(), read()
    assert pad_tokens(padded) == 3
    for images in (1, 2, 5):
        given = feeds(plain, images)
        np.testing.assert_allclose(answers(padded, given), answers(plain, given), rtol=0, atol=1e-5)
        if BF16:
            half = answers(plain, given, "bf16")
            np.testing.assert_allclose(answers(padded, given, "bf16"), half, rtol=0, atol=1e-2 * np.abs(half).max())
    tokens = rows(plain)
    assert rows(padded) == {count + 3 if count == max(tokens) else count for count in tokens}


@pytest.mark.parametrize(
    ("cpuinfo", "pads"),
    [("flags : avx512_bf16 avx512_vnni\n", True), ("flags : avx512_bf16 amx_tile amx_bf16\n", False), (None, True)],
)
def test_where_there_is_amx_nothing_is_padded(monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, pads: bool) -> None:
    monkeypatch.setattr(cores, "read_small", lambda path: cpuinfo)
    monkeypatch.setattr(openvino_model, "pays_here", padding.pays_here.__wrapped__)
    found, usual = openvino_model.read_model(ov.Core(), golden_graph("birds"), None, True, "g"), golden_graph("birds")
    assert (rows(found) != rows(ov.Core().read_model(usual))) is pads


def test_export_opens_padded_graphs_where_products_are_not_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_model, "pays_here", lambda: True)
    graph = golden_graph("birds")
    read = openvino_model.read_model
    plain, half, whole = (
        read(ov.Core(), graph, None, bfloat16, "g", quantised)
        for bfloat16, quantised in ((False, False), (True, False), (False, True))
    )
    assert rows(half) == rows(whole) == {count + 3 if count == max(rows(plain)) else count for count in rows(plain)}


@pytest.mark.parametrize("pool", ["class", "average", "last", "attention"])
def test_whatever_sees_all_tokens_sees_the_image_s_own_alone(pool: str) -> None:
    plain, padded = transformer(pool), transformer(pool)
    assert pad_tokens(padded) == 3
    given = feeds(plain)
    np.testing.assert_allclose(answers(padded, given), answers(plain, given), rtol=0, atol=1e-5)
    if BF16:
        half = answers(plain, given, "bf16")
        np.testing.assert_allclose(answers(padded, given, "bf16"), half, rtol=0, atol=1e-2 * np.abs(half).max())
    assert TOKENS + 3 in rows(padded)
    assert TOKENS not in rows(padded)


def test_attention_has_a_mask_and_no_cut() -> None:
    model = transformer("class")
    pad_tokens(model)
    kinds = [node.get_type_name() for node in model.get_ordered_ops()]
    assert "Slice" not in kinds
    masks = [
        node.get_data()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant" and list(node.get_output_shape(0)) == [1, 1, 1, TOKENS + 3]
    ]
    assert [mask.reshape(-1).tolist() for mask in masks] == 2 * [[False] * TOKENS + 3 * [True]]


def seen_twice(scores: Any) -> Any:
    """Attention to attention: more than one operator takes the weights."""
    return op.add(scores, op.softmax(scores, -1))


@pytest.mark.parametrize("scores", [seen_twice, lambda scores: op.multiply(scores, op.constant(np.float32(0.5)))])
def test_other_attention_gets_the_image_s_own_keys_and_values(scores: Callable[[Any], Any]) -> None:
    plain, padded = transformer("class", scores=scores), transformer("class", scores=scores)
    assert pad_tokens(padded) == 3
    assert [node.get_type_name() for node in padded.get_ordered_ops()].count("Slice") == 4
    given = feeds(plain)
    np.testing.assert_allclose(answers(padded, given), answers(plain, given), rtol=0, atol=1e-5)


def test_padding_that_attention_looked_at_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that equal answers mean something."""
    planned = padding._planned

    def without_masks(*arguments: Any) -> Any:
        plan = planned(*arguments)
        plan.masked.clear()
        return plan

    plain, padded = transformer("class"), transformer("class")
    monkeypatch.setattr(padding, "_planned", without_masks)
    assert pad_tokens(padded) == 3
    given = feeds(plain)
    assert np.abs(answers(padded, given) - answers(plain, given)).max() > 1e-3


def rotated(tokens: Any) -> Any:
    return op.multiply(tokens, op.constant(np.ones((1, TOKENS, WIDTH), np.float32)))


@pytest.mark.parametrize("between", [rotated, lambda tokens: op.reverse_sequence(tokens, np.full(2, TOKENS), 0, 1)])
def test_where_a_block_takes_its_own_number_of_tokens_alone_nothing_is_padded(between: Callable[[Any], Any]) -> None:
    """Its products and those behind it would have no more rows, for the price of a cut."""
    plain, left = transformer("class", between), transformer("class", between)
    before = [node.get_type_name() for node in left.get_ordered_ops()]
    assert pad_tokens(left) == 0
    assert [node.get_type_name() for node in left.get_ordered_ops()] == before
    assert rows(left) == rows(plain)


def test_tokens_that_go_out_are_not_padded() -> None:
    model = transformer("none")
    assert pad_tokens(model) == 0
    assert model.outputs[0].get_partial_shape()[1].get_length() == TOKENS


def test_without_positions_or_without_need_nothing_is_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    given = op.parameter([-1, TOKENS, WIDTH], np.float32)
    assert pad_tokens(ov.Model([op.relu(given)], [given])) == 0
    monkeypatch.setattr(padding, "tokens_more", lambda tokens: 0)
    assert pad_tokens(transformer("class")) == 0


def as_it_is(tensor: Any) -> Any:
    return tensor


def transformer(pool: str, between: Callable[[Any], Any] = as_it_is, scores: Callable[[Any], Any] = as_it_is) -> Any:
    """Return two blocks [B, TOKENS, WIDTH] -> [B, CLASSES], with the same weights each time.

    Args:
        pool: "class", "last", "average", "attention", or "none", which gives all tokens.
        between: done to what attention reads.
        scores: done to the products of queries and keys.
    """
    draw = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        return op.constant(draw.normal(size=shape).astype(np.float32))

    def linear(tokens: Any, wide: int, out: int) -> Any:
        return op.add(op.matmul(tokens, weight(wide, out), False, False), weight(out))

    def normalised(tokens: Any) -> Any:
        return op.multiply(op.mvn(tokens, np.array([-1]), True, 1e-6, "inside_sqrt"), weight(WIDTH))

    def attention(tokens: Any) -> Any:
        heads = op.reshape(linear(tokens, WIDTH, 3 * WIDTH), np.array([-1, TOKENS, 3, HEADS, WIDTH // HEADS]), False)
        parts = op.split(op.transpose(heads, np.array([2, 0, 3, 1, 4])), np.int64(0), 3).outputs()
        queries, keys, values = (op.squeeze(part, np.array([0])) for part in parts)
        weights = op.softmax(scores(op.matmul(queries, keys, False, True)), -1)
        found = op.transpose(op.matmul(weights, values, False, False), np.array([0, 2, 1, 3]))
        return linear(op.reshape(found, np.array([-1, TOKENS, WIDTH]), False), WIDTH, WIDTH)

    given = op.parameter([-1, TOKENS, WIDTH], np.float32)
    tokens = op.add(given, weight(1, TOKENS, WIDTH))
    for _ in range(2):
        tokens = op.add(tokens, attention(between(normalised(tokens))))
        tokens = op.add(tokens, linear(op.gelu(linear(normalised(tokens), WIDTH, 24), "erf"), 24, WIDTH))
    if pool == "class":
        tokens = op.gather(tokens, np.int64(0), np.int64(1))
    elif pool == "last":
        tokens = op.gather(tokens, np.int64(-1), np.int64(1))
    elif pool == "average":
        tokens = op.reduce_mean(tokens, np.array([1]), False)
    elif pool == "attention":
        weights = op.softmax(op.matmul(weight(1, 1, WIDTH), linear(tokens, WIDTH, WIDTH), False, True), -1)
        tokens = op.squeeze(op.matmul(weights, linear(tokens, WIDTH, WIDTH), False, False), np.array([1]))
    return ov.Model([tokens if pool == "none" else linear(tokens, WIDTH, CLASSES)], [given])


def feeds(model: Any, images: int = 2) -> dict[str, AnyArray]:
    """Return drawn inputs: these images in one row more, of two tasks in turn."""
    draw, given = np.random.default_rng(1), {}
    for place, port in enumerate(model.inputs):
        sizes = [None if size.is_dynamic else size.get_length() for size in port.get_partial_shape()]
        name = next(iter(port.get_names()), str(place))
        if port.get_element_type() != ov.Type.f32:
            given[place] = np.arange(images + 1) % (images if name == "image" else 2)
        else:
            first = images if len(model.inputs) == 1 or name == "images" else 32
            given[place] = draw.normal(size=(first, *(size or 2 for size in sizes[1:]))).astype(np.float32)
    return given  # type: ignore[return-value]


def answers(model: Any, given: dict[str, AnyArray], precision: str = "f32") -> AnyArray:
    (found,) = compile_model(ov.Core(), model, {"INFERENCE_PRECISION_HINT": precision})(given).values()
    return np.array(found)


def rows(model: Any) -> set[int]:
    """Return the numbers of rows that a model's products with constants have, where they are known."""
    shapes = [
        node.input(0).get_source_output().get_partial_shape()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul" and len(node.get_input_partial_shape(1)) == 2
    ]
    return {shape[-2].get_length() for shape in shapes if len(shape) == 3 and not shape[-2].is_dynamic}
