"""engines.onnxruntime.session: what was opened is what was asked for, or one line says why not."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.onnxruntime import placement
from adaptertune_deploy.engines.onnxruntime import providers as ort_providers
from adaptertune_deploy.engines.onnxruntime import session as ort_session
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT, cuda_options, tensorrt_options
from adaptertune_deploy.engines.opening import check_options
from adaptertune_deploy.engines.options import EngineOptions
from tests.engines.onnx_files import field, lookup, model
from tests.engines.onnxruntime.sessions import (
    open_ort,
    refusal,
    with_cuda_that_does_not_load,
    with_tensorrt,
    without_cuda,
)

TEN = np.arange(30, dtype=np.float32).reshape(10, 3)


def test_a_version_that_onnx_runtime_does_not_know_is_one_line() -> None:
    """The walk leaves versions to the engine, whose message then begins with a place in its own source."""
    whole = lookup()
    assert refusal(field(1, 99) + whole.removeprefix(field(1, 10))).startswith(
        "bundle/g.onnx: ONNX Runtime refuses this graph: Unsupported model IR version: 99, max supported"
    )
    newer = whole.replace(field(8, field(2, 20)), field(8, field(2, 99)))
    assert "Opset 99 is under development" in refusal(newer)


@pytest.mark.parametrize("data", [b"", b"garbage", lookup()[:-40], field(1, 10), model(b"")], ids=range(5))
def test_what_is_no_graph_is_one_line(data: bytes) -> None:
    assert "ONNX Runtime refuses this graph: " in refusal(data)


def test_the_files_bytes_are_not_kept() -> None:
    """Neither by the engine nor by ONNX Runtime's session: a large backbone would lie in memory twice."""
    data = lookup() + b""
    before = sys.getrefcount(data)
    engine = open_ort(data, "cpu", 1)
    assert sys.getrefcount(data) == before
    assert engine.run({"table": TEN, "index": np.array([3])})["rows"].tolist() == [[9, 10, 11]]


def test_cuda_is_an_error_where_onnxruntime_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    for ask in (lambda: open_ort(lookup(), "cuda", 0), lambda: check_options(EngineOptions(device="cuda:1"))):
        with pytest.raises(
            EngineError, match=r"has no CUDA provider; .*in a clone of the project: pip install '\.\[gpu\]'"
        ):
            ask()


def test_cuda_is_accepted_where_onnxruntime_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    check_options(EngineOptions(device="cuda:1"))
    check_options(EngineOptions(settings={"provider": "cuda"}))


@pytest.mark.parametrize("device", ["auto", "cuda:0"])
def test_tensorrts_provider_comes_first_and_cuda_takes_what_it_leaves(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    asked = with_tensorrt(monkeypatch, "10.13.3.9", loads=True)
    engine = open_ort(lookup(), device, 0, "tensorrt")
    assert (engine.provider, engine.device) == (TENSORRT, "cuda:0")
    assert engine.limits == ort_providers.TENSORRT_LIMITS
    told = tensorrt_options(lookup(), engine.inputs, Precision.FP32, 0, ort.__version__)
    assert asked == [[(TENSORRT, told), (CUDA, cuda_options(0)), CPU]]
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"


def test_tensorrt_that_is_left_out_silently_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=False)
    with pytest.raises(EngineError, match=rf"asked for {TENSORRT} and loaded only {CPU}; .*\[gpu,tensorrt\]'"):
        open_ort(lookup(), "auto", 0, "tensorrt")


def test_tensorrt_11_is_refused_before_a_session_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_tensorrt(monkeypatch, "11.4.0.106", loads=True)
    options = EngineOptions(settings={"provider": "tensorrt"})
    for ask in (lambda: open_ort(lookup(), "auto", 0, "tensorrt"), lambda: check_options(options)):
        with pytest.raises(EngineError, match=r"^TensorRT 11.4.0.106 is installed, .*or take --engine tensorrt, which"):
            ask()
    assert not asked


def test_tensorrt_is_an_error_where_onnxruntime_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    with pytest.raises(EngineError, match=r"has no TensorRT provider; .*'\.\[gpu,tensorrt\]'"):
        open_ort(lookup(), "auto", 0, "tensorrt")


def test_a_silent_fallback_is_found_out(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    asked = with_cuda_that_does_not_load(monkeypatch)
    with pytest.raises(EngineError, match=f"asked for {CUDA} and loaded only {CPU}; .*--device cpu"):
        open_ort(lookup(), "cuda", 0)
    assert asked == [[(CUDA, cuda_options(0)), CPU]]
    assert open_ort(lookup(), "auto", 0).provider == CPU
    assert [providers[0] for providers in asked[1:]] == [(CUDA, cuda_options(0)), CPU]
    assert capfd.readouterr() == ("", "")


def test_the_session_neither_spins_nor_keeps_patterns_nor_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    real = ort.InferenceSession

    def session(graph: bytes, options: Any, **rest: Any) -> Any:
        made.append((options, rest))
        return real(graph, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", session)
    open_ort(lookup(), "cpu", 3)
    ((options, rest),) = made
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.enable_mem_pattern is False
    assert rest == {"providers": [CPU], "enable_fallback": 0}


@pytest.mark.parametrize(
    ("cpuinfo", "asked"),
    [
        ("flags : avx2 avx512f\n", "1"),
        ("flags : avx2 avx_vnni\n", "0"),
        ("flags : avx2 avx512f avx512_vnni\n", "0"),
        ("flags : avx2 avx512f avx512_vnni amx_int8\n", "0"),
        (None, "1"),
    ],
)
def test_products_of_uint8_are_asked_for_only_where_those_of_int8_may_be_cut_off(
    monkeypatch: pytest.MonkeyPatch, cpuinfo: str | None, asked: str
) -> None:
    """ONNX Runtime has no instruction for u8 x u8 on a processor with one for u8 x s8: they take half as long again."""
    monkeypatch.setattr(cores, "read_small", lambda path: cpuinfo)
    asking = ort_session._adds_int8_exactly.__wrapped__  # what was found for an earlier session is kept
    monkeypatch.setattr(ort_session, "_adds_int8_exactly", asking)
    assert ort_session._options(1, gpu=False).get_session_config_entry("session.x64quantprecision") == asked


def test_sums_of_int8_products_are_exact_on_every_cpu() -> None:
    """Where pairs of them are added in 16 bits, the largest ones overflow."""
    onnx = pytest.importorskip("onnx")
    rows, columns, depth = 3, 5, 64
    draw = np.random.default_rng(0)
    weight = draw.choice(np.array([-128, -127, 127], np.int8), (depth, columns))
    values = draw.choice(np.array([0, 254, 255], np.uint8), (rows, depth))
    made = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["values", "weight"], ["sums"])],
        "products",
        [onnx.helper.make_tensor_value_info("values", onnx.TensorProto.UINT8, ["B", depth])],
        [onnx.helper.make_tensor_value_info("sums", onnx.TensorProto.INT32, ["B", columns])],
        [onnx.numpy_helper.from_array(weight, "weight")],
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    found = open_ort(model.SerializeToString(), "cpu", 1).run({"values": values})["sums"]
    np.testing.assert_array_equal(found, values.astype(np.int32) @ weight.astype(np.int32))


def test_a_session_on_a_gpu_records_its_nodes_and_keeps_weights_out_of_the_arena(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=True)
    with open_ort(lookup(), "cuda", 0, "tensorrt")._open_lanes().take() as lane:
        options = lane.session.get_session_options()
    for name in (placement.RECORD, "session.use_device_allocator_for_initializers"):
        assert options.get_session_config_entry(name) == "1"


def test_another_gpu_than_was_asked_for_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=True, gpu="1")
    with pytest.raises(EngineError) as caught:
        open_ort(lookup(), "cuda:0", 0, "tensorrt")
    assert str(caught.value) == f"bundle/g.onnx: {TENSORRT} runs on GPU 1, 0 was asked for; choose --device cuda:N"


def test_a_provider_that_takes_no_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=True, parts=[(CUDA, ["MatMul", "Add"]), (CPU, ["Shape"])])
    with pytest.raises(EngineError) as caught:
        open_ort(lookup(), "cuda", 0, "tensorrt")
    assert str(caught.value) == (
        f"bundle/g.onnx: {TENSORRT} takes none of the graph's 3 nodes ({CUDA} 2, {CPU} 1); choose another -E provider, "
        "--precision or --device"
    )


def test_what_a_provider_leaves_to_another_one_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=True, parts=[(TENSORRT, ["MatMul", "Conv"]), (CUDA, ["MatMul"])])
    open_ort(lookup(), "cuda", 0, "tensorrt")
    assert caplog.messages == [f"bundle/g.onnx: of 3 matrix products {TENSORRT} leaves 1 to {CUDA}"]


def test_a_release_that_does_not_tell_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_tensorrt(monkeypatch, "10.13.3.9", loads=True, parts=None)
    open_ort(lookup(), "cuda", 0, "tensorrt")
    (said,) = caplog.messages
    assert said.endswith(f"does not tell which nodes {TENSORRT} takes; 1.24 and newer do")


def test_on_a_cpu_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(placement, "placement_of", lambda session: pytest.fail("nobody asked for a GPU"))
    with caplog.at_level(logging.INFO):
        open_ort(lookup(), "cpu", 0)
    assert not caplog.messages
