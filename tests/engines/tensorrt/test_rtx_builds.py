"""TensorRT-RTX, which builds plans on a CPU, takes every form of graph: its parser and builder are TensorRT's own.

A plan can't be run here, or even loaded; what is asserted is what the parser made of a graph and that the builder took
it, for each of the GPUs that it builds for. What it is known to refuse has to stay refused: then the engine may do
without its own refusal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank import packed as packed_bank
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.tensorrt import engine, library
from adaptertune_deploy.engines.tensorrt.build import build, numpy_type
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from adaptertune_deploy.engines.tensorrt.shapes import Capacity
from tests.engines.tensorrt import api_lists
from tests.engines.tensorrt.used_names import Walker

trt = pytest.importorskip("tensorrt_rtx")
CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
SLOTS, WIDTH = (0, 1, 2), 32
SHARED, MERGED = Capacity(32, 8, 64, 16, len(SLOTS)), Capacity(32, 8, 0, 0, 0)
# Layers that the parser makes: a form that computes shapes has hundreds more.
LAYERS = {"packed": 263, "merged": 207}


@pytest.fixture(scope="module")
def packed(shared: bytes) -> bytes:
    layout = packed_bank.PackedBank.of(onnx_signature.read(shared, "g").inputs, SLOTS, "g")
    return packed_bank.pack(shared, layout, "g")


def parse(graph: bytes) -> tuple[Any, Any, list[str]]:
    """Return the network, its parser, which must outlive it, and the parser's complaints."""
    log = library.message_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    parser.parse(graph)
    return network, (builder, parser), [parser.get_error(index).desc() for index in range(parser.num_errors)]


@pytest.mark.parametrize("sm", CAPABILITIES)
@pytest.mark.parametrize("form", ["packed", "merged"])
def test_every_form_builds_for_every_gpu(form: str, sm: str, packed: bytes, merged: bytes) -> None:
    graph, capacity = (packed, SHARED) if form == "packed" else (merged, MERGED)
    plan, _ = build(trt, graph, BuildRequest(capacity, sm), b"", "g")
    assert len(plan) > 100_000


def test_the_graph_of_a_bundle_is_read_as_it_is_too(shared: bytes) -> None:
    """For those who give our files to TensorRT themselves."""
    network, _, complaints = parse(shared)
    assert not complaints
    found = {network.get_input(index).name for index in range(network.num_inputs)}
    assert found == {bank.IMAGES, bank.IMAGE, bank.TASK, *bank.bank_names(SLOTS)}


def test_the_packed_graph_has_its_inputs_and_output(packed: bytes) -> None:
    network, _, complaints = parse(packed)
    assert not complaints
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    assert {entry.name: (numpy_type(trt, entry.dtype), tuple(entry.shape)) for entry in inputs} == {
        bank.IMAGES: (np.float32, (-1, 3, 32, 32)),
        bank.IMAGE: (np.int64, (-1,)),
        bank.TASK: (np.int64, (-1,)),
        packed_bank.WEIGHTS: (np.float32, (-1, -1, WIDTH)),
        packed_bank.DOWN: (np.float32, (-1, -1)),
        packed_bank.UP: (np.float32, (-1, WIDTH)),
    }
    (output,) = [network.get_output(index) for index in range(network.num_outputs)]
    assert (output.name, tuple(output.shape)) == (bank.FEATURES, (-1, WIDTH))


@pytest.mark.parametrize("form", LAYERS)
def test_no_shape_is_computed(form: str, packed: bytes, merged: bytes) -> None:
    network, _, _ = parse(packed if form == "packed" else merged)
    assert network.num_layers == LAYERS[form]


def test_a_dropped_input_is_found(packed: bytes) -> None:
    """An input with a value of its own is dropped by the parser, which the engine refuses before and after."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(packed)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2, np.int64), bank.TASK))
    network, _, complaints = parse(model.SerializeToString())
    assert not complaints
    assert bank.TASK not in {network.get_input(index).name for index in range(network.num_inputs)}
    with pytest.raises(EngineError, match="input 'task' has a value in the file"):
        build(trt, model.SerializeToString(), BuildRequest(SHARED, "8.6"), b"", "g")


def quantised(kind: int, zero: int) -> bytes:
    """Return x [B, 4] -> QuantizeLinear -> DequantizeLinear -> MatMul -> y, with this type and zero point."""
    onnx = pytest.importorskip("onnx")
    helper, make = pytest.importorskip("onnx.helper"), pytest.importorskip("onnx.numpy_helper")
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    tensors = [
        make.from_array(np.float32(0.1), "scale"),
        make.from_array(np.array(zero, dtype), "zero"),
        make.from_array(np.ones((4, 4), np.float32), "weight"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("MatMul", ["d", "weight"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["B", 4]) for name in "xy")
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    data: bytes = made.SerializeToString()
    return data


def test_int8_is_taken_symmetric_and_refused_otherwise() -> None:
    onnx = pytest.importorskip("onnx")
    assert not parse(quantised(onnx.TensorProto.INT8, 0))[2]
    assert any("zero point" in complaint.lower() for complaint in parse(quantised(onnx.TensorProto.UINT8, 128))[2])


def test_dynamic_quantisation_stays_refused() -> None:
    """The engine names another precision before it comes to this."""
    onnx = pytest.importorskip("onnx")
    helper = pytest.importorskip("onnx.helper")
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["B", 4])
    q = helper.make_tensor_value_info("q", onnx.TensorProto.UINT8, ["B", 4])
    made = helper.make_model(
        helper.make_graph([node], "g", [x], [q]), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    assert parse(made.SerializeToString())[2]


def test_float32_stays_refused_on_turing(merged: bytes) -> None:
    with pytest.raises(EngineError, match="can't build a plan"):
        build(trt, merged, BuildRequest(MERGED, "7.5"), b"", "g")


def test_a_gpu_that_it_does_not_build_for_is_refused_by_name(merged: bytes) -> None:
    with pytest.raises(EngineError, match=r"^tensorrt_rtx \S+ does not build for SM 9.0; take --engine tensorrt$"):
        build(trt, merged, BuildRequest(MERGED, "9.0"), b"", "g")


def test_every_name_that_a_run_uses_is_there_too() -> None:
    """No plan can be loaded here, so the names of running are looked up."""
    used = set[str]()
    for file in Path(engine.__file__).parent.glob("*.py"):
        walker = Walker(api_lists.read("11.4"))
        walker.walk(file.read_text())
        used |= walker.used
    pairs = [name.split(".") for name in used]
    assert len(pairs) > 40
    lacking = {name for of, name in pairs if not hasattr(trt if of == "trt" else getattr(trt, of), name)}
    assert not lacking
    assert "strategy: " in trt.ICudaEngine.create_execution_context.__doc__


def test_without_a_driver_the_real_library_is_not_asked(merged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime would return an object that ends this process."""
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(EngineError, match="no NVIDIA driver here"):
        engine.open_graph(merged, "g", EngineOptions(engine="tensorrt-rtx"), TensorrtSettings())
