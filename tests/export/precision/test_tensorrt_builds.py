"""TensorRT takes the graphs of every precision that it has operators for, packed and merged.

Its parser and builder are those of TensorRT-RTX, which needs no GPU to build. Nothing of it is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank import packed as packed_bank
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.shapes import Capacity
from adaptertune_deploy.model.backbone import Backbone
from tests.engines.tensorrt import api_lists
from tests.engines.tensorrt.test_operators import PLACES
from tests.export.conftest import SLOTS, merged_of
from tests.export.precision.conftest import InPrecision

TAKEN = (Precision.FP16, Precision.BF16, Precision.INT8_QDQ)
BANK = {Precision.FP16: np.float16, Precision.BF16: np.float32, Precision.INT8_QDQ: np.float32}
TYPES = {1: "FP32", 3: "INT8", 7: "INT64", 10: "FP16", 16: "BF16"}  # TensorProto.DataType -> the table's name


def packed_of(graph: bytes) -> tuple[bytes, packed_bank.PackedBank]:
    layout = packed_bank.PackedBank.of(onnx_signature.read(graph, "g").inputs, SLOTS, "g")
    return packed_bank.pack(graph, layout, "g"), layout


@pytest.fixture(params=["packed", "merged"])
def form(request: pytest.FixtureRequest, backbone: Backbone, held: Sequence[Adapter]) -> Any:
    """Return a function from the shared graph of a precision to the form, with what a plan of it takes."""
    if request.param == "packed":
        return lambda graph: (packed_of(graph)[0], Capacity(8, 4, 16, 8, len(SLOTS)))
    return lambda graph: (merged_of(graph, backbone, held[0]), Capacity(8, 4, 0, 0, 0))


@pytest.mark.parametrize("precision", TAKEN)
def test_it_builds(precision: Precision, in_precision: InPrecision, form: Any) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    graph, capacity = form(in_precision(precision))
    assert graph_facts.precision_of(onnx_signature.read(graph, "g").metadata, "g") is precision
    plan, _ = build(trt, graph, BuildRequest(capacity, "8.6"), b"", "g")
    assert len(plan) > 100_000


@pytest.mark.parametrize("precision", TAKEN)
def test_the_bank_has_the_type_that_the_graph_takes(precision: Precision, in_precision: InPrecision) -> None:
    assert packed_of(in_precision(precision))[1].dtype == BANK[precision]


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8_QDQ])  # ONNX Runtime's CPU has no bf16
def test_a_packed_bank_answers_as_the_plain_one(
    precision: Precision, in_precision: InPrecision, held: Sequence[Adapter], images: Array
) -> None:
    graph = in_precision(precision)
    data, layout = packed_of(graph)
    plain = bank.stack([bank.folded_blocks(adapter) for adapter in held], SLOTS, layout.width)
    packed = {name: np.zeros(shape, layout.dtype) for name, shape in layout.shapes(len(held), 6).items()}
    for task in range(len(held)):
        rows = {name: array.reshape(len(held), -1, *array.shape[1:])[task] for name, array in packed.items()}
        layout.fill(rows, {name: value[task] for name, value in plain.items()})
    asked = {bank.IMAGES: images[:3], bank.IMAGE: np.array([0, 2, 1, 0]), bank.TASK: np.array([0, 1, 2, 2])}
    typed = {name: value.astype(layout.dtype) for name, value in plain.items()}
    one, other = (
        onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"]).run(None, {**asked, **fed})[0]
        for source, fed in ((graph, typed), (data, packed))
    )
    np.testing.assert_allclose(one, other, atol=5e-3 if precision is Precision.FP16 else 1e-5)


@pytest.mark.parametrize("precision", TAKEN)
def test_operators_and_the_types_of_their_weights_are_in_the_table_of_10_1(
    precision: Precision, in_precision: InPrecision, form: Any
) -> None:
    graph = onnx.load_from_string(form(in_precision(precision))[0]).graph
    kinds = {entry.name: TYPES[entry.data_type] for entry in graph.initializer}
    quantisers = ("QuantizeLinear", "DequantizeLinear")  # their zero points and int8 weights are of no type of theirs
    for node in graph.node:
        assert node.op_type in api_lists.operators()
        for place, name in enumerate(node.input):
            if name in kinds and node.op_type not in quantisers and place not in PLACES.get(node.op_type, ()):
                assert kinds[name] in api_lists.operators()[node.op_type]["types"], (node.op_type, name)


def test_zero_points_are_zero(in_precision: InPrecision) -> None:
    """TensorRT takes no others."""
    graph = onnx.load_from_string(in_precision(Precision.INT8_QDQ)).graph
    held = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    zeros = {node.input[2] for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert zeros
    for name in zeros:
        assert held[name].dtype == np.int8
        assert not held[name].any()


def test_dynamic_int8_stays_refused(in_precision: InPrecision, form: Any) -> None:
    """So the engine names the other int8 before anything is built."""
    trt = pytest.importorskip("tensorrt_rtx")
    graph, capacity = form(in_precision(Precision.INT8))
    with pytest.raises(EngineError, match=r"can't read it: DynamicQuantizeLinear 'blocks\.0.*; \d+ in all$"):
        build(trt, graph, BuildRequest(capacity, "8.6"), b"", "g")
