"""engines.engine: the table, choosing an engine, and finding out one that is not what was asked for."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from adaptertune_deploy.core.bundle.graph_facts import PRECISION_KEY
from adaptertune_deploy.core.errors import EngineError, FormatError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import engine
from adaptertune_deploy.engines.engine import EngineEntry, lacks
from adaptertune_deploy.engines.options import EngineOptions, settings_of
from tests.engines.onnx_files import ROWS, graph, lookup, model, node

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


@dataclass(frozen=True)
class EchoSettings:
    """What echo takes.

    sound: How it comes back.
    """

    sound: Literal["loud", "low"] = "loud"


class Echo:
    """Stands for an engine's module: opens what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.checked: list[Any] = []
        self.closed = 0
        self.opened = SimpleNamespace(metadata={}, precision=FP32, device="cpu", close=self.close)

    def open_graph(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        return self.opened

    def check_installed(self, *arguments: Any) -> None:
        self.checked.append(arguments)

    def close(self) -> None:
        self.closed += 1


ENTRY = EngineEntry("Echo", "echo", "json", EchoSettings, ("auto", "cpu", "cuda"), derives=frozenset({BF16}))


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    module = Echo()
    monkeypatch.setitem(engine.ENGINES, "echo", ENTRY)
    monkeypatch.setitem(sys.modules, "echo", module)
    return module


def test_every_engine_of_the_table_keeps_the_entrys_promises() -> None:
    assert "onnxruntime" in engine.ENGINES
    for entry in engine.ENGINES.values():
        assert entry.module.startswith("adaptertune_deploy.engines.")
        assert set(entry.everywhere) <= set(entry.devices) <= {"auto", "cpu", "cuda"}
        assert FP32 not in entry.derives
        for setting in settings_of(entry.settings).values():
            assert setting.meaning.endswith("."), setting
        try:
            module = importlib.import_module(entry.module)
        except EngineError:  # its library is an extra of its own
            continue
        assert [*inspect.signature(module.open_graph).parameters] == ["graph", "where", "options", "settings"]
        assert [*inspect.signature(module.check_installed).parameters] == ["options", "settings"]


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
    for ask in (lambda: engine.open_engine(lookup(), "g.onnx", options), lambda: engine.check_options(options)):
        with pytest.raises(UsageError, match=message):
            ask()
    assert echo.asked == echo.checked == []


def test_the_opener_gets_what_the_caller_chose(echo: Echo) -> None:
    options = EngineOptions("echo", "cpu", FP32, 3, {"sound": "low"})
    assert engine.open_engine(lookup(), "bundle/backbone.onnx", options) is echo.opened
    assert engine.open_engine(lookup(), "g.onnx", EngineOptions("echo")) is echo.opened
    usual = (EngineOptions("echo"), EchoSettings())
    assert echo.asked == [
        (lookup(), "bundle/backbone.onnx", options, EchoSettings("low")),
        (lookup(), "g.onnx", *usual),
    ]


def test_no_engine_sees_a_graph_that_is_not_plain(echo: Echo) -> None:
    loop = model(graph(node("Loop", (), "rows"), inputs=(), outputs=(ROWS,)))
    with pytest.raises(EngineError, match=r"bundle/backbone\.onnx: holds the operator 'Loop'"):
        engine.open_engine(loop, "bundle/backbone.onnx", EngineOptions("echo"))
    assert echo.asked == []


def asked(**changes: Any) -> EngineOptions:
    return replace(EngineOptions("echo"), **changes)


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
    assert engine.open_engine(lookup(), "g.onnx", options) is echo.opened
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
        engine.open_engine(lookup(), "g.onnx", options)
    assert echo.closed == 1


def test_a_precision_that_nobody_knows_is_refused_and_closed(echo: Echo) -> None:
    echo.opened.metadata = {PRECISION_KEY: "fp3"}
    with pytest.raises(FormatError, match=r"^g\.onnx: is in precision 'fp3', this release knows fp32, "):
        engine.open_engine(lookup(), "g.onnx", EngineOptions("echo"))
    assert echo.closed == 1


def test_the_graph_to_take_is_the_one_that_the_engine_makes_the_precision_of(echo: Echo) -> None:
    wanted = {precision: engine.graph_precision(asked(precision=precision)) for precision in Precision}
    assert {precision for precision, graph in wanted.items() if graph is not precision} == {BF16}
    assert wanted[BF16] is FP32


def test_options_fit_a_graph_of_any_precision(echo: Echo) -> None:
    assert engine.fitting(asked(threads=2), INT8) == asked(threads=2, precision=INT8)
    assert engine.fitting(asked(precision=INT8), FP32) == asked()
    for of in (FP32, BF16):
        assert engine.fitting(asked(precision=BF16), of) == asked(precision=BF16)
    assert engine.fitting(asked(precision=BF16), FP16) == asked(precision=FP16)


def test_the_engine_is_asked_only_where_installations_differ(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    for device in ("auto", "cpu"):
        engine.check_options(asked(device=device))
    assert echo.checked == []
    engine.check_options(asked(device="cuda:1"))
    engine.check_options(asked(settings={"sound": "low"}))
    monkeypatch.setitem(engine.ENGINES, "echo", replace(ENTRY, library="no_such_library"))
    engine.check_options(asked())
    assert [options for options, _ in echo.checked] == [
        asked(device="cuda:1"),
        asked(settings={"sound": "low"}),
        asked(),
    ]
    assert [settings.sound for _, settings in echo.checked] == ["loud", "low", "loud"]


def test_the_usual_devices_are_checked_without_importing_onnx_runtime() -> None:
    code = (
        "import sys; from adaptertune_deploy.engines.engine import check_options;"
        "from adaptertune_deploy.engines.options import ON_CPU;"
        "check_options(ON_CPU); print({'onnxruntime', 'numpy'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "device", "precision", "words"),
    [
        ("onnxruntime", "cpu", Precision.BF16, "ONNX Runtime runs no bf16 graphs on a CPU"),
        ("onnxruntime", "auto", Precision.BF16, "ONNX Runtime runs no bf16 graphs on a CPU"),
        ("onnxruntime", "cuda:1", Precision.BF16, None),
        ("onnxruntime", "cpu", Precision.INT8, None),
        ("openvino", "cpu", Precision.FP16, "OpenVINO runs no fp16 graphs on a CPU"),
        ("openvino", "cpu", Precision.INT8, "OpenVINO runs no int8 graphs on a CPU"),
        ("openvino", "cpu", Precision.INT8_QDQ, None),
        ("openvino", "cpu", Precision.BF16, None),
    ],
)
def test_what_an_engine_does_not_run(name: str, device: str, precision: Precision, words: str | None) -> None:
    assert lacks(EngineOptions(name, device), precision) == words
