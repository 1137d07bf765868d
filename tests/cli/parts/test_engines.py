from __future__ import annotations

import pytest

from adaptertune_deploy.cli.parts.engines import asked, can_verify, precisions_named
from adaptertune_deploy.core.errors import AtdError, EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import EngineOptions


def test_what_was_typed_is_what_is_asked() -> None:
    options = asked("onnxruntime", "cpu", ["provider=cpu"], "int8", 3)
    assert options == EngineOptions("onnxruntime", "cpu", Precision.INT8, 3, {"provider": "cpu"})
    assert asked("onnxruntime", "auto") == EngineOptions()


@pytest.mark.parametrize(
    ("typed", "kind", "message"),
    [
        (("onnxruntme", "auto"), UsageError, "--engine: no engine 'onnxruntme', only "),
        (("onnxruntime", "gpu"), UsageError, "--engine onnxruntime --device gpu: ONNX Runtime has no device 'gpu'"),
        (("onnxruntime", "cuda:1"), EngineError, "--engine onnxruntime --device cuda:1: this onnxruntime "),
        (("onnxruntime", "auto", ["provider=gpu"]), UsageError, "-E provider=gpu: expected auto, cpu, cuda or "),
        (("onnxruntime", "cuda", ["provider=cpu"]), UsageError, "-E provider=cpu: does not run on --device cuda"),
        (("onnxruntime", "auto", ["provider"]), UsageError, "-E provider: expected NAME=VALUE"),
        (("onnxruntime", "auto", [], "pf32"), UsageError, "--precision: no precision 'pf32', only fp32, fp16, "),
        (("onnxruntime", "auto", [], "fp32", -1), UsageError, "--threads -1: expected 0 to 1024"),
    ],
)
def test_a_wrong_option_is_called_by_its_name(
    typed: tuple[str, str], kind: type[AtdError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(kind) as refused:
        asked(*typed)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("typed", ["int8", "fp32,int8-qdq", " fp16 , bf16,"])
def test_several_precisions_at_once(typed: str) -> None:
    assert [str(precision) for precision in precisions_named(typed)] == typed.strip(" ,").replace(" ", "").split(",")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("fp32,int9", r"--precision: no precision 'int9', only fp32, fp16, .* Did you mean 'int8'\?"),
        ("int8,int8", "--precision int8,int8: expected one or more of fp32, .*, each once"),
        (",", "--precision ,: expected one or more of "),
    ],
)
def test_a_list_of_precisions_that_says_something_else_is_refused(typed: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        precisions_named(typed)


def test_the_usual_engine_may_be_absent_where_nobody_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_verify("onnxruntime")
    monkeypatch.setattr(table, "is_installed", lambda name: False)
    assert not can_verify("onnxruntime")
    assert can_verify("another")
