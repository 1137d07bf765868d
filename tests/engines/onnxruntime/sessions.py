"""Sessions of ONNX Runtime as other machines give them: without CUDA, with CUDA or TensorRT that loads or not."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Literal

import onnxruntime as ort
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnxruntime import providers as ort_providers
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine, open_graph
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.options import EngineOptions
from tests.engines import cuda_double

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
Parts = Sequence[tuple[str, Sequence[str]]]


def open_ort(graph: bytes, device: str, threads: int, provider: Provider = "auto") -> OrtEngine:
    options = EngineOptions(device=device, threads=threads)
    return open_graph(graph, "bundle/g.onnx", options, OrtSettings(provider))


def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])


def with_cuda_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """Do what onnxruntime-gpu does without its libraries: list CUDA, then quietly make a session on the CPU."""
    asked: list[list[Any]] = []
    real = ort.InferenceSession

    def session(graph: bytes, options: Any, providers: list[Any], **rest: Any) -> Any:
        asked.append(providers)
        return real(graph, options, providers=[CPU], **rest)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(ort, "preload_dlls", lambda: print("could not load libcudart"), raising=False)
    return asked


def refusal(data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        open_ort(data, "cpu", 1)
    text = str(caught.value)
    assert text.startswith("bundle/g.onnx: ")
    check_message(text)
    return text


def check_message(text: str) -> None:
    """Assert that a message is one line without anything of ONNX Runtime's insides."""
    assert text.isprintable()
    for inside in ("[ONNXRuntimeError]", "onnxruntime_src", ".cc", ".h:", "::", "const "):
        assert inside not in text


def assignment(parts: Parts) -> list[Any]:
    """Return what get_provider_graph_assignment_info does for these (provider, operators)."""

    def part(provider: str, operators: Sequence[str]) -> Any:
        nodes = [SimpleNamespace(op_type=operator, name=operator, domain="") for operator in operators]
        return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

    return [part(*entry) for entry in parts]


def with_tensorrt(
    monkeypatch: pytest.MonkeyPatch,
    version: str | None,
    loads: bool,
    parts: Parts | None = ((TENSORRT, ["Gather"]),),
    gpu: str = "0",
) -> list[list[Any]]:
    """Have ONNX Runtime offer TensorRT's provider, and give a session with it or, silently, without.

    Args:
        monkeypatch: undoes it.
        version: of the TensorRT that is installed.
        loads: whether the session has the provider.
        parts: which nodes the session's providers take; None for a release that does not tell.
        gpu: which one the session says that it runs on.
    """
    asked: list[list[Any]] = []
    real = ort.InferenceSession

    class Session(real):  # type: ignore[misc, valid-type]
        def __init__(self, graph: bytes, options: Any, providers: list[Any], **rest: Any) -> None:
            asked.append(providers)
            super().__init__(graph, options, providers=[CPU], **rest)
            if loads:
                self.get_providers = lambda: [TENSORRT, CUDA, CPU]
                self.get_provider_options = lambda: {TENSORRT: {"device_id": gpu}, CUDA: {"device_id": gpu}, CPU: {}}
            self.get_provider_graph_assignment_info = None if parts is None else lambda: assignment(parts)

    cuda_double.install(monkeypatch)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort_providers, "tensorrt_version", lambda: version)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    return asked
