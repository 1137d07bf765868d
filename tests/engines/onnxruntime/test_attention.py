"""engines.onnxruntime.attention: what it fuses answers as before, and what is not export's form is not touched."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.engines.onnxruntime import engine as ort
from adaptertune_deploy.engines.onnxruntime import library, session
from adaptertune_deploy.engines.onnxruntime.derived import derive
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from tests.engines.onnx_files import field, lookup

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
graphs = pytest.importorskip("tests.engines.attention_graphs")
int8, products = (pytest.importorskip(f"adaptertune_deploy.export.precision.{name}") for name in ("int8", "products"))
onnx_file = pytest.importorskip("adaptertune_deploy.export.onnx_file")
NONE = pytest.importorskip("adaptertune_deploy.export.precision.ranges").NONE

ROW = (2,)


def fuse(data: bytes, threads: int = 1) -> bytes:
    return derive(data, "g.onnx", threads=threads).graph


def blocks(*forms: Any) -> bytes:
    """Return a graph of several attentions, one after another."""
    drawing, value = graphs.Drawing(), "x"
    for form in forms:
        value = graphs.attention(drawing, value, form)
    return drawing.model(value)


def operators(data: bytes) -> Counter[str]:
    model = onnx.load_from_string(data)
    return Counter(f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in model.graph.node)


def plain_answer(data: bytes, images: Any) -> Any:
    """Return what the onnx package's own reference computes."""
    (answer,) = reference.ReferenceEvaluator(data).run(None, {"x": images})
    return answer


def tokens(batch: int) -> Any:
    return np.random.default_rng(batch).normal(size=(batch, graphs.TOKENS, graphs.WIDTH)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("form", ["all tokens", "one token", "both"])
def test_what_is_fused_answers_as_before(form: str, batch: int) -> None:
    every, one = graphs.Form(), graphs.Form(row=ROW)
    data = blocks(*{"all tokens": (every, every), "one token": (one,), "both": (every, every, one)}[form])
    assert fuse(data) is not data
    engine = open_engine(data, "g.onnx", EngineOptions(device="cpu", threads=1))
    (answer,) = engine.run({"x": tokens(batch)}).values()
    expected = plain_answer(data, tokens(batch))
    assert answer.shape == expected.shape
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    assert engine.metadata == {"about": "attention"}


def test_only_attention_is_replaced() -> None:
    data = blocks(graphs.Form(), graphs.Form(row=ROW))
    assert operators(fuse(data)) == Counter(
        {
            "com.microsoft:Attention": 1,
            "Reshape": 8,  # the tokens of both, two of weights, four of the row
            "Split": 2,
            "Gather": 2,  # the row's, before the attention and around it
            "Transpose": 3,  # two of them of weights
            "Mul": 1,
            "Softmax": 1,
            "MatMul": 7,  # five for the row, two projections
            "Add": 6,
        }
    )


def test_the_tensors_are_the_files_own() -> None:
    data = blocks(graphs.Form())
    before, after = (onnx.load_from_string(entry).graph.initializer for entry in (data, fuse(data)))
    assert list(after)[:-1] == list(before)
    assert onnx.numpy_helper.to_array(after[-1]).tolist() == [-1, graphs.TOKENS, graphs.WIDTH]


# what is written otherwise than export writes it -> why it must stay
OTHERS = {
    "norms on q and k": {"norm": True},
    "rotary positions": {"rotary": True},
    "relative positions": {"positions": True},
    "no scale": {"scale": False},
    "a scale of zero": {"number": 0.0},
    "a negative scale": {"number": -0.5},
    "softmax over the heads": {"axis": 1},
    "two tokens ask": {"row": (0, 1)},
    "k before q": {"picked": (1, 0, 2)},
    "v is k": {"picked": (0, 1, 1)},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_attention_stays_as_it_is(kind: str) -> None:
    data = blocks(replace(graphs.Form(), **OTHERS[kind]))
    assert fuse(data) is data


KEPT: dict[str, dict[str, Any]] = {
    "no bias": {"bias": False},
    "bias on the other side": {"bias_first": True},
    "heads wider than the model": {"spread": 2},
}


def takes_q_k_and_v_as_they_come(data: bytes) -> None:
    found = operators(fuse(data))
    assert (found["com.microsoft:MultiHeadAttention"], found["com.microsoft:Attention"]) == (1, 0)
    assert found["MatMul"] == operators(data)["MatMul"] - 2
    for batch in (1, 3):
        (answer, *_) = open_engine(data, "g.onnx", ON_CPU).run({"x": tokens(batch)}).values()
        np.testing.assert_allclose(answer, plain_answer(data, tokens(batch)), atol=1e-5)


@pytest.mark.parametrize("kind", KEPT)
def test_another_product_stays_and_its_attention_is_fused(kind: str) -> None:
    takes_q_k_and_v_as_they_come(blocks(replace(graphs.Form(), **KEPT[kind])))


@pytest.mark.parametrize("kind", KEPT)
def test_another_product_of_which_one_token_asks_stays_whole(kind: str) -> None:
    data = blocks(replace(graphs.Form(row=ROW), **KEPT[kind]))
    assert fuse(data) is data


def in_int8(data: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Return the graph with the products with the weights of q, k and v, the largest ones, in int8."""
    monkeypatch.setattr(products, "LEAST", graphs.WIDTH * 3 * graphs.WIDTH)
    return onnx_file.write(int8.make(onnx_file.read(data, "g.onnx"), NONE), "the graph")


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_an_int8_product_is_held_by_the_operator(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_int8(blocks(graphs.Form(), graphs.Form()), monkeypatch)
    found = operators(fuse(data, graphs.HEADS))
    assert (found["com.microsoft:QAttention"], found["DynamicQuantizeLinear"], found["MatMulInteger"]) == (2, 2, 0)
    (answer,) = open_engine(data, "g.onnx", ON_CPU).run({"x": tokens(batch)}).values()
    np.testing.assert_allclose(answer, plain_answer(data, tokens(batch)), atol=1e-5)


def test_an_int8_product_of_which_one_token_asks_multiplies_its_weights_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = blocks(graphs.Form(row=ROW))
    quantised = in_int8(data, monkeypatch)
    found = operators(fuse(quantised))
    assert [found[name] for name in ("DynamicQuantizeLinear", "MatMulInteger", "com.microsoft:QAttention")] == [0, 0, 0]
    (answer,) = open_engine(quantised, "g.onnx", ON_CPU).run({"x": tokens(3)}).values()
    np.testing.assert_allclose(answer, plain_answer(with_weights_of(quantised, data), tokens(3)), atol=1e-5)


def with_weights_of(quantised: bytes, data: bytes) -> bytes:
    """Return the float32 graph with the values that its int8 weights stand for."""
    held = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(quantised).graph.initializer
    }
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if f"{tensor.name}.int8" in held:
            values = held[f"{tensor.name}.int8"] * held[f"{tensor.name}.scale"]
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))
    result: bytes = model.SerializeToString()
    return result


@pytest.mark.parametrize(
    ("form", "threads"),
    [
        pytest.param(graphs.Form(), graphs.HEADS + 1, id="more threads than heads"),
        pytest.param(graphs.Form(number=0.25), 1, id="another scale"),
    ],
)
def test_another_int8_product_stays_and_its_attention_is_fused(
    form: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = in_int8(blocks(form), monkeypatch)
    found = operators(fuse(data, threads))
    names = ("com.microsoft:MultiHeadAttention", "com.microsoft:QAttention", "MatMulInteger")
    assert [found[name] for name in names] == [1, 0, 1]
    (answer,) = open_engine(data, "g.onnx", EngineOptions(device="cpu", threads=threads)).run({"x": tokens(2)}).values()
    np.testing.assert_allclose(answer, plain_answer(data, tokens(2)), atol=1e-5)


def test_what_measures_tokens_stays_where_somebody_else_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load_from_string(in_int8(blocks(graphs.Form(row=ROW)), monkeypatch))
    (measured,) = (node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear")
    model.graph.node.append(onnx.helper.make_node("Identity", [measured.output[0]], ["again"], name="again"))
    found = operators(fuse(model.SerializeToString()))
    assert (found["DynamicQuantizeLinear"], found["MatMulInteger"]) == (1, 0)


def test_sums_of_a_fused_int8_product_are_the_same_where_u8_x_s8_may_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_int8(blocks(graphs.Form(), graphs.Form(row=ROW)), monkeypatch)
    answers = []
    for exact in (True, False):
        monkeypatch.setattr(session, "_adds_int8_exactly", lambda exact=exact: exact)
        answers += open_engine(data, "g.onnx", EngineOptions(device="cpu", threads=1)).run({"x": tokens(4)}).values()
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-6)


def test_another_attention_does_not_keep_one_of_exports_form_from_being_fused() -> None:
    data = blocks(graphs.Form(norm=True), graphs.Form())
    assert operators(fuse(data))["com.microsoft:Attention"] == 1
    (answer,) = open_engine(data, "g.onnx", ON_CPU).run({"x": tokens(2)}).values()
    np.testing.assert_allclose(answer, plain_answer(data, tokens(2)), atol=1e-5)


def read_by_two(name: str) -> bytes:
    """Return export's form with one more reader of the value that the first node of this operator makes."""
    drawing = graphs.Drawing()
    result = graphs.attention(drawing, "x")
    made = next(node.output[0] for node in drawing.nodes if node.op_type == name)
    drawing.add("Identity", made)
    return drawing.model(result)


def test_a_product_that_somebody_else_reads_stays() -> None:
    takes_q_k_and_v_as_they_come(read_by_two("MatMul"))


@pytest.mark.parametrize("name", ["Reshape", "Transpose", "Gather", "Mul", "Softmax"])
def test_a_value_that_somebody_else_reads_stays(name: str) -> None:
    data = read_by_two(name)
    assert fuse(data) is data


def test_a_value_that_is_an_output_stays() -> None:
    drawing = graphs.Drawing()
    graphs.attention(drawing, "x")
    data = drawing.model(next(node.output[0] for node in drawing.nodes if node.op_type == "Softmax"))
    assert fuse(data) is data


def test_weights_that_a_caller_may_replace_stay() -> None:
    drawing = graphs.Drawing()
    result = graphs.attention(drawing, "x")
    weight = next(node.input[1] for node in drawing.nodes if node.op_type == "MatMul")
    sizes = [graphs.WIDTH, 3 * graphs.WIDTH]
    data = drawing.model(result, extra=(onnx.helper.make_tensor_value_info(weight, graphs.FLOATS, sizes),))
    found = operators(fuse(data))
    assert (found["com.microsoft:MultiHeadAttention"], found["com.microsoft:Attention"]) == (1, 0)
    assert weight in {entry.name for entry in onnx.load_from_string(fuse(data)).graph.input}


@pytest.mark.parametrize("opset", [13, 17, 23])
def test_other_versions_of_the_operators_stay(opset: int) -> None:
    drawing = graphs.Drawing()
    data = drawing.model(graphs.attention(drawing, "x"), opset)
    assert fuse(data) is data


@pytest.mark.parametrize("data", [b"", b"garbage", lookup(), lookup()[:-30]], ids=range(4))
def test_what_holds_no_attention_comes_back(data: bytes) -> None:
    assert fuse(data) is data


def test_a_graph_that_imports_the_domain_already_comes_back() -> None:
    data = blocks(graphs.Form()) + field(8, field(1, "com.microsoft") + field(2, 1))
    assert fuse(data) is data


def test_a_graph_that_uses_our_names_comes_back() -> None:
    drawing = graphs.Drawing()
    result = graphs.attention(drawing, "x")
    drawing.nodes[0].name = "atd.attention.0"
    data = drawing.model(result)
    assert fuse(data) is data


def test_another_number_of_tokens_than_the_graph_says_means_the_same_as_before() -> None:
    """The plain form regroups rows then; so must the fused one."""
    data = blocks(graphs.Form(tokens=1))
    assert operators(fuse(data))["com.microsoft:Attention"] == 1
    (answer,) = open_engine(data, "g.onnx", ON_CPU).run({"x": tokens(1)}).values()
    assert answer.shape == (5, 5, graphs.WIDTH)
    np.testing.assert_allclose(answer, plain_answer(data, tokens(1)), atol=1e-5)


def test_the_plain_graph_is_what_is_checked() -> None:
    """Operators of ONNX Runtime's own are refused in a file, whoever wrote it."""
    fused = fuse(blocks(graphs.Form()))
    with pytest.raises(EngineError, match="holds the operator 'Attention'"):
        check_plain(fused, "g.onnx")


def test_a_build_without_these_operators_runs_the_plain_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    real, opened = ort.ort.InferenceSession, []

    def session(graph: bytes, *rest: Any, **options: Any) -> Any:
        opened.append(graph)
        if b"com.microsoft" in graph:
            raise library.ort_errors.InvalidGraph("com.microsoft:Attention is not a registered function/op")
        return real(graph, *rest, **options)

    monkeypatch.setattr(ort.ort, "InferenceSession", session)
    data = blocks(graphs.Form())
    (answer,) = open_engine(data, "g.onnx", ON_CPU).run({"x": tokens(2)}).values()
    np.testing.assert_allclose(answer, plain_answer(data, tokens(2)), atol=1e-5)
    assert [entry is data for entry in opened] == [False, True]


def test_only_the_cpu_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []

    def session(graph: bytes, *rest: Any, **options: Any) -> Any:
        opened.append(graph)
        raise RuntimeError("stop here")

    monkeypatch.setattr(ort.ort, "InferenceSession", session)
    monkeypatch.setattr(ort.ort, "get_available_providers", lambda: [ort.CUDA, ort.CPU])
    monkeypatch.setattr(ort.ort, "preload_dlls", lambda: None, raising=False)
    data = blocks(graphs.Form())
    with pytest.raises(EngineError, match="stop here"):
        open_engine(data, "g.onnx", EngineOptions(device="cuda"))
    assert opened == [data]
