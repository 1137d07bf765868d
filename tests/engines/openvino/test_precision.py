from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.openvino.precision import HINTS, computed, floats, kept
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import EngineOptions

FP32, BF16, INT8, INT8_QDQ = Precision.FP32, Precision.BF16, Precision.INT8, Precision.INT8_QDQ


class Value:
    """Stands for what OpenVINO wraps values in."""

    def __init__(self, text: str) -> None:
        self.text = text

    def astype(self, kind: type) -> str:
        assert kind is str
        return self.text

    def to_string(self) -> str:
        return self.text


def compiled(hint: str, *operators: tuple[str, ...]) -> Any:
    """Return a model of operators (type, what it runs in, its name), as far as it is asked about itself."""
    held = [
        SimpleNamespace(
            get_rt_info=lambda of=(kind, runs): {"layerType": Value(of[0]), "runtimePrecision": Value(of[1])},
            get_friendly_name=lambda name=name: name,
        )
        for kind, runs, name in (operator if len(operator) == 3 else (*operator, "") for operator in operators)
    ]
    model = SimpleNamespace(get_ops=lambda: held)
    return SimpleNamespace(get_runtime_model=lambda: model, get_property=lambda name: Value(hint))


ADAPTER = ("MatMul", "f32", "blocks.3.adapter.MatMul")
F32, HALF, BYTE = ("FullyConnected", "f32"), ("FullyConnected", "bf16"), ("FullyConnected", "i8")
REST = [("Gather", "bf16"), ("Softmax", "bf16"), ("Reorder", "i8"), ("Input", "f32")]


@pytest.mark.parametrize(
    ("hint", "operators", "said", "expected"),
    [
        ("f32", [F32, F32, *REST], FP32, FP32),
        ("bf16", [HALF, ("MatMul", "bf16"), F32], FP32, BF16),
        ("bf16", [F32, ("MatMul", "f32"), *REST], FP32, FP32),  # the hint alone proves nothing
        ("f32", [BYTE, BYTE, ("MatMul", "u8"), F32], INT8_QDQ, INT8_QDQ),
        ("f32", [BYTE], INT8, INT8),
        ("f32", [ADAPTER, ADAPTER, BYTE], INT8_QDQ, INT8_QDQ),
        ("f32", [ADAPTER, ADAPTER, BYTE], FP32, FP32),
        ("f32", [F32, F32, BYTE], INT8, FP32),
        ("f32", [BYTE], FP32, INT8),  # quantised without a word
        ("bf16", REST, FP32, BF16),
        ("f32", [], FP32, FP32),
        ("f16", [("MatMul", "f16")], Precision.FP16, Precision.FP16),
    ],
)
def test_a_model_is_in_what_most_of_its_products_run_in(
    hint: str, operators: list[tuple[str, ...]], said: Precision, expected: Precision
) -> None:
    assert computed(compiled(hint, *operators), said) is expected
    assert kept(compiled(hint)) == hint


def test_what_has_no_name_is_refused() -> None:
    with pytest.raises(EngineError, match=r"^OpenVINO computes in nf4, which is none of f32, f16, bf16$"):
        computed(compiled("f32", ("MatMul", "nf4")), FP32)


def test_what_float_operators_are_asked_to_compute_in() -> None:
    usual, rest = OpenVinoSettings(), OpenVinoSettings(rest="bf16")
    for precision, expected in ((FP32, FP32), (BF16, BF16), (INT8, FP32), (INT8_QDQ, FP32)):
        assert floats(EngineOptions("openvino", precision=precision), usual) is expected
    assert floats(EngineOptions("openvino", precision=INT8_QDQ), rest) is BF16
    for precision in (FP32, BF16):
        with pytest.raises(
            UsageError, match=r"^-E rest=bf16: only a graph in int8 has a rest; choose --precision bf16$"
        ):
            floats(EngineOptions("openvino", precision=precision), rest)
    assert HINTS[BF16] == "bf16"
