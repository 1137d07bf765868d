"""engines.table: precisions that an engine runs, makes itself or lacks."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import lacks
from tests.engines.echo import Echo, asked

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


def test_the_graph_to_take_is_the_one_that_the_engine_makes_the_precision_of(echo: Echo) -> None:
    wanted = {precision: table.graph_precision(asked(precision=precision)) for precision in Precision}
    assert {precision for precision, graph in wanted.items() if graph is not precision} == {BF16}
    assert wanted[BF16] is FP32


def test_options_fit_a_graph_of_any_precision(echo: Echo) -> None:
    assert table.fitting(asked(threads=2), INT8) == asked(threads=2, precision=INT8)
    assert table.fitting(asked(precision=INT8), FP32) == asked()
    for of in (FP32, BF16):
        assert table.fitting(asked(precision=BF16), of) == asked(precision=BF16)
    assert table.fitting(asked(precision=BF16), FP16) == asked(precision=FP16)


@pytest.mark.parametrize(
    ("name", "device", "precision", "words"),
    [
        ("onnxruntime", "cpu", Precision.BF16, "ONNX Runtime runs no bf16 graphs on a CPU"),
        ("onnxruntime", "auto", Precision.BF16, "ONNX Runtime runs no bf16 graphs on a CPU"),
        ("onnxruntime", "cuda:1", Precision.BF16, None),
        ("onnxruntime", "cpu", Precision.INT8, None),
        ("openvino", "cpu", Precision.INT8, "OpenVINO runs no int8 graphs on a CPU"),
        ("openvino", "cpu", Precision.INT8_QDQ, None),
        ("openvino", "cpu", Precision.BF16, None),
    ],
)
def test_what_an_engine_does_not_run(name: str, device: str, precision: Precision, words: str | None) -> None:
    assert lacks(EngineOptions(name, device), precision) == words


@pytest.mark.parametrize("has", [True, False])
def test_where_it_depends_on_the_cpu_the_engine_is_asked(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(multiplies=lambda precision: has and precision is FP16)
    monkeypatch.setitem(sys.modules, table.ENGINES["openvino"].module, module)
    monkeypatch.setattr(table, "is_installed", lambda engine: True)
    reason = "OpenVINO runs no fp16 graphs on this CPU, which has no such products"
    assert lacks(EngineOptions("openvino"), FP16) == (None if has else reason)


def test_an_engine_that_is_not_here_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "is_installed", lambda engine: False)
    assert lacks(EngineOptions("openvino"), FP16) is None
