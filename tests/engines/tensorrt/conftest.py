"""A machine with a GPU that is a double, a TensorRT that is one, and the small bundle's graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.tensorrt import engine
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.engine import TensorrtEngine
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from tests.engines import cuda_double
from tests.engines.cuda_double import CudaDouble
from tests.engines.golden import golden_graph
from tests.engines.tensorrt import api_lists, double
from tests.engines.tensorrt.double import Faults

Open = Callable[..., TensorrtEngine]


@pytest.fixture(scope="session")
def shared() -> bytes:
    return golden_graph(None)


@pytest.fixture(scope="session")
def merged() -> bytes:
    return golden_graph("birds")


@pytest.fixture
def gpu() -> Iterator[CudaDouble]:
    yield from cuda_double.installed()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture(params=api_lists.VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each of the versions whose names are known."""
    return str(request.param)


@pytest.fixture
def trt(gpu: CudaDouble, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorRT 10.3 as a double, installed."""
    return install(gpu, faults, monkeypatch, "10.3")


def install(gpu: CudaDouble, faults: Faults, patch: pytest.MonkeyPatch, version: str) -> Any:
    """Install a double of TensorRT; plans are built in this process, in another one by tests of `child`."""
    made = double.make(version, gpu, faults)
    double.install(patch, made)

    def build_here(name: str, graph: bytes, request: BuildRequest, timing: bytes, where: str) -> tuple[bytes, bytes]:
        return build(made, graph, request, timing, where)

    patch.setattr(engine, "build_in_child", build_here)
    return made


@pytest.fixture
def open_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trt: Any) -> Iterator[Open]:
    """Open a graph on the double, with an empty cache; closed after the test."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    opened: list[TensorrtEngine] = []

    def open_bytes(graph: bytes, device: str = "auto", **settings: Any) -> TensorrtEngine:
        options = EngineOptions(engine="tensorrt", device=device)
        opened.append(engine.open_graph(graph, "graph.onnx", options, TensorrtSettings(**settings)))
        return opened[-1]

    yield open_bytes
    for held in opened:
        held.close()
