"""engines.cuda.runtime on a double whose memory is host memory, and its names in NVIDIA's own bindings."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.cuda import runtime as cuda
from adaptertune_deploy.engines.cuda.runtime import DeviceMemory, PinnedArray, Stream
from tests.engines import cuda_double
from tests.engines.cuda_double import GARBAGE, CudaDouble, cudaError_t

FLOAT = np.dtype(np.float32)


@pytest.fixture
def gpu() -> Iterator[CudaDouble]:
    yield from cuda_double.installed()


def test_bytes_go_to_the_gpu_and_come_back_when_it_is_the_streams_turn(gpu: CudaDouble) -> None:
    there, sent, back = DeviceMemory(12), PinnedArray((3,), FLOAT), PinnedArray((3,), FLOAT)
    stream = Stream()
    sent.array[:] = [1, 2, 3]
    stream.to_device(there.address, sent.address, 12)
    stream.to_host(back.address, there.address, 12)
    assert not back.array.any()
    stream.wait()
    assert back.array.tolist() == [1, 2, 3]


def test_memory_is_zero_at_first(gpu: CudaDouble) -> None:
    assert gpu.cudaMalloc(4)[1] in gpu.live
    assert GARBAGE in gpu.view(*gpu.live.keys(), 4)
    assert not PinnedArray((4,), FLOAT).array.any()
    memory = DeviceMemory(8)
    assert not gpu.view(memory.address, 8).any()


def test_memory_is_freed_with_its_object_or_before(gpu: CudaDouble) -> None:
    held = [DeviceMemory(8), PinnedArray((2,), FLOAT)]
    assert len(gpu.live) == 2
    held[0].close()
    assert len(gpu.live) == 1
    held.clear()
    gc.collect()
    assert not gpu.live


def test_a_graph_replays_work_at_the_addresses_of_its_capture(gpu: CudaDouble) -> None:
    there, pinned = DeviceMemory(4), PinnedArray((1,), FLOAT)
    stream = Stream()
    graph = stream.capture(lambda: stream.to_device(there.address, pinned.address, 4))
    stream.wait()
    assert not gpu.view(there.address, 4).any(), "a capture runs nothing"
    for value in (1.0, 2.0):
        pinned.array[0] = value
        graph.launch()
        stream.wait()
        assert gpu.view(there.address, 4).view(np.float32).tolist() == [value]
    del graph
    gc.collect()
    assert not gpu.graphs


def test_what_can_not_be_captured_is_an_error_and_leaves_the_stream_usable(gpu: CudaDouble) -> None:
    stream, pinned, there = Stream(), PinnedArray((1,), FLOAT), DeviceMemory(4)
    with pytest.raises(EngineError, match="running on the GPU: error cudaErrorStreamCaptureUnsupported"):
        stream.capture(stream.wait)
    with pytest.raises(ValueError, match="own"):
        stream.capture(lambda: (_ for _ in ()).throw(ValueError("own")).__next__())
    assert not gpu.graphs
    pinned.array[0] = 3
    stream.to_device(there.address, pinned.address, 4)
    stream.wait()
    assert gpu.view(there.address, 4).view(np.float32).tolist() == [3]


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            "cudaMalloc",
            cudaError_t.cudaErrorMemoryAllocation,
            "allocating 8 bytes on the GPU: the GPU is out of memory; ",
        ),
        ("cudaMallocHost", cudaError_t.cudaErrorMemoryAllocation, "pinning 8 bytes of host memory: the GPU is out of "),
        (
            "cudaStreamCreateWithFlags",
            cudaError_t.cudaErrorInvalidValue,
            "making a CUDA stream: error cudaErrorInvalid",
        ),
        (
            "cudaSetDevice",
            cudaError_t.cudaErrorInsufficientDriver,
            "using cuda:0: the NVIDIA driver is too old for thes",
        ),
    ],
)
def test_a_call_that_fails_is_one_line(gpu: CudaDouble, function: str, error: cudaError_t, message: str) -> None:
    gpu.failing[function] = error
    with pytest.raises(EngineError) as caught:
        cuda.use_device(0), DeviceMemory(8), PinnedArray((2,), FLOAT), Stream()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_bindings_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(
        EngineError, match=r"^NVIDIA's CUDA bindings can't be imported .* pip install 'cuda-bindings>=13,<14'"
    ):
        cuda.runtime()


def test_every_name_is_one_of_nvidias_bindings() -> None:
    """Of the double too, so that it stands for nothing that is not there."""
    real = pytest.importorskip("cuda.bindings.runtime")
    tree = ast.parse(Path(cuda.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("cuda")}
    used |= {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and str(node.value)[:10] == "cudaMemcpy"
    }
    known = {*dir(real), *dir(real.cudaMemcpyKind), *dir(real.cudaStreamCaptureMode)}
    assert len(used) > 15
    assert used <= known
    assert {name for name in vars(CudaDouble().module()) if name.startswith("cuda")} <= known
    for kind in (cuda_double.cudaError_t, cuda_double.cudaMemcpyKind, cuda_double.cudaStreamCaptureMode):
        assert {member.name: member.value for member in kind}.items() <= {
            member.name: member.value for member in getattr(real, kind.__name__)
        }.items()


def test_the_real_bindings_say_that_there_is_no_driver_without_ending_the_process() -> None:
    real = pytest.importorskip("cuda.bindings.runtime")
    error, _ = real.cudaGetDeviceCount()
    if int(error) == 0:
        pytest.skip("there is a GPU")
    with pytest.raises(EngineError, match=r"^using cuda:0: "):
        cuda.use_device(0)
