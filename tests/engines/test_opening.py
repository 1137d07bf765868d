"""engines.opening: choosing an engine, and finding out one that is not what was asked for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from adaptertune_deploy.core.bundle.graph_facts import PRECISION_KEY
from adaptertune_deploy.core.errors import EngineError, FormatError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import opening, table
from adaptertune_deploy.engines.options import EngineOptions
from tests.engines.echo import ENTRY, Echo, EchoSettings, asked
from tests.engines.onnx_files import ROWS, graph, lookup, model, node

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions("onnxruntme"), r"no engine 'onnxruntme', only .*onnxruntime.* Did you mean 'onnxruntime'\?"),
        (
            EngineOptions(device="cdua"),
            r"ONNX Runtime has no device 'cdua', only auto, cpu, cuda, cuda:N\. Did you mean 'cuda'\?",
        ),
        (EngineOptions(device="cuda:01"), r"ONNX Runtime has no device 'cuda:01', only"),
        (EngineOptions(settings={"x": "1"}), "-E x: onnxruntime has no setting 'x', only provider"),
        (EngineOptions("echo", settings={"sound": "shrill"}), "-E sound=shrill: expected loud or low"),
    ],
)
def test_what_there_is_not_is_refused(echo: Echo, options: EngineOptions, message: str) -> None:
    for ask in (lambda: opening.open_engine(lookup(), "g.onnx", options), lambda: opening.check_options(options)):
        with pytest.raises(UsageError, match=message):
            ask()
    assert echo.asked == echo.checked == []


def test_the_opener_gets_what_the_caller_chose(echo: Echo) -> None:
    options = EngineOptions("echo", "cpu", FP32, 3, {"sound": "low"})
    assert opening.open_engine(lookup(), "bundle/backbone.onnx", options) is echo.opened
    assert opening.open_engine(lookup(), "g.onnx", EngineOptions("echo")) is echo.opened
    usual = (EngineOptions("echo"), EchoSettings())
    assert echo.asked == [
        (lookup(), "bundle/backbone.onnx", options, EchoSettings("low")),
        (lookup(), "g.onnx", *usual),
    ]


def test_no_engine_sees_a_graph_that_is_not_plain(echo: Echo) -> None:
    loop = model(graph(node("Loop", (), "rows"), inputs=(), outputs=(ROWS,)))
    with pytest.raises(EngineError, match=r"bundle/backbone\.onnx: holds the operator 'Loop'"):
        opening.open_engine(loop, "bundle/backbone.onnx", EngineOptions("echo"))
    assert echo.asked == []


@pytest.mark.parametrize(
    ("options", "opened"),
    [
        (asked(), {}),
        (asked(), {"device": "cuda:0"}),
        (asked(device="cuda"), {"device": "cuda:0"}),
        (asked(device="cuda:2"), {"device": "cuda:2"}),
        (asked(precision=BF16), {"precision": BF16}),
        (asked(precision=BF16), {"precision": BF16, "metadata": {PRECISION_KEY: "bf16"}}),
        (asked(precision=FP16), {"precision": FP16, "metadata": {PRECISION_KEY: "fp16"}}),
    ],
)
def test_an_engine_that_is_what_was_asked_for_is_handed_over(
    echo: Echo, options: EngineOptions, opened: dict[str, Any]
) -> None:
    vars(echo.opened).update(opened)
    assert opening.open_engine(lookup(), "g.onnx", options) is echo.opened
    assert echo.closed == 0


@pytest.mark.parametrize(
    ("options", "opened", "message"),
    [
        (asked(device="cpu"), {"device": "cuda:0"}, "Echo runs on cuda:0, cpu was asked for"),
        (asked(device="cuda:1"), {"device": "cuda:0"}, "Echo runs on cuda:0, cuda:1 was asked for"),
        (asked(device="cuda"), {"device": "cuda:1"}, "Echo runs on cuda:1, cuda:0 was asked for"),
        (asked(), {"precision": BF16}, "Echo computes in bf16, fp32 was asked for; .* choose --precision bf16"),
        (asked(precision=BF16), {}, "Echo computes in fp32, bf16 was asked for"),
        (asked(precision=FP16), {"precision": FP16}, "the graph is in fp32, fp16 was asked for; run atd export again"),
        (asked(), {"metadata": {PRECISION_KEY: "int8"}, "precision": INT8}, "the graph is in int8, fp32 was asked for"),
        (asked(precision=BF16), {"metadata": {PRECISION_KEY: "fp16"}, "precision": BF16}, "is in fp16, fp32 was asked"),
    ],
)
def test_a_silent_replacement_is_found_out_and_closed(
    echo: Echo, options: EngineOptions, opened: dict[str, Any], message: str
) -> None:
    vars(echo.opened).update(opened)
    with pytest.raises(EngineError, match=rf"^g\.onnx: .*{message}"):
        opening.open_engine(lookup(), "g.onnx", options)
    assert echo.closed == 1


def test_a_precision_that_nobody_knows_is_refused_and_closed(echo: Echo) -> None:
    echo.opened.metadata = {PRECISION_KEY: "fp3"}
    with pytest.raises(FormatError, match=r"^g\.onnx: is in precision 'fp3', this release knows fp32, "):
        opening.open_engine(lookup(), "g.onnx", EngineOptions("echo"))
    assert echo.closed == 1


def test_the_engine_is_asked_only_where_installations_differ(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("auto", "cpu"):
        opening.check_options(asked(device=device))
    assert echo.checked == []
    opening.check_options(asked(device="cuda:1"))
    opening.check_options(asked(settings={"sound": "low"}))
    monkeypatch.setitem(table.ENGINES, "echo", replace(ENTRY, library="no_such_library"))
    opening.check_options(asked())
    assert [options for options, _ in echo.checked] == [
        asked(device="cuda:1"),
        asked(settings={"sound": "low"}),
        asked(),
    ]
    assert [settings.sound for _, settings in echo.checked] == ["loud", "low", "loud"]


def test_the_usual_devices_are_checked_without_importing_onnx_runtime() -> None:
    code = (
        "import sys; from adaptertune_deploy.engines.opening import check_options;"
        "from adaptertune_deploy.engines.options import ON_CPU;"
        "check_options(ON_CPU); print({'onnxruntime', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
